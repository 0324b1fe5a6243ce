"""The three stages of a run: depth, regions, pictures."""
