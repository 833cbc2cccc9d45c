"""The code of all functions: callbacks, the table, events, the jobs and the management API."""
