"""Clients of the management API and of the jobs, for demonstration and tests."""
