"""`make demo`: the main job for real, from callbacks to a subscriber, shown and checked."""
