"""The promises tried hard on the deployed stack: faults, crashes, hostile input, leaks."""
