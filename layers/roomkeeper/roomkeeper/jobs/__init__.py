"""The scheduled jobs, and what they share."""
