"""A model's files: where they are, whether all are there, what they will take; before loading."""
