"""Generates files of this repository, and computes costs."""
