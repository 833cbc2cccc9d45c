"""The layer that all functions share: what Vonage sends, what we keep, what we publish."""
