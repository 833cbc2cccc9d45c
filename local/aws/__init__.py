"""The local AWS: MiniStack with IAM enforced, and patches that make it behave like AWS."""
