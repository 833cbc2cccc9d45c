"""The scheduled jobs, and the code that they share."""
