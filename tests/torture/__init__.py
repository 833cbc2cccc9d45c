"""Tests of the promises on a deployed stack under faults, crashes and hostile input."""
