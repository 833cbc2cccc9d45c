"""Benchmarks of speed and size, each compared with a reference: `make bench`."""
