"""What can go wrong between the functions and AWS, injected so that any SDK believes it."""
