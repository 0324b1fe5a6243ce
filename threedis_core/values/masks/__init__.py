"""Masks: the value, its run-length codes, and the masks of one layout together."""
