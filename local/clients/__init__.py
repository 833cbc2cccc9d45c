"""Clients of the management API and the jobs, for the demonstration and the tests."""
