"""What a layout meets in the models that are to draw it."""
