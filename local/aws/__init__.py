"""AWS on this machine: MiniStack with IAM enforced, and what it needs to behave as AWS does."""
