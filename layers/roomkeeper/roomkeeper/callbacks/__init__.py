"""From the bytes that Vonage posts to what they say. No I/O."""
