"""``threedis compare``."""
