"""What an operator does with a deployed stack, in an account or on one machine."""
