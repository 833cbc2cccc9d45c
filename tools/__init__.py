"""Generates files of this repository, audits locked libraries, and computes costs."""
