"""Parses and authenticates the callbacks that Vonage posts. No I/O."""
