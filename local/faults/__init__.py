"""Injects faults between the functions and AWS, at the level of HTTP, for any SDK."""
