"""The domain model: recordings, sessions, rooms and events. No I/O."""
