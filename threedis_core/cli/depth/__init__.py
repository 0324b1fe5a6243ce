"""``threedis depth``: make depth maps."""
