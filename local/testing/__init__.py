"""What tests and benchmarks share: builders of inputs, the template, AWS in this process."""
