"""Helpers of tests and benchmarks: builders of inputs, the template, AWS in this process."""
