"""Training of the depth stage: text to depth, and the layout adapter."""
