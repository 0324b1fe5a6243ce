"""Work on the jobs of a plan: batches, workers, what is written, and going on after a kill."""
