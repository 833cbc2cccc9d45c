"""What recordings, rooms and events are. No I/O."""
