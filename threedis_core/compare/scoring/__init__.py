"""Find the instances in stored pictures, and score them."""
