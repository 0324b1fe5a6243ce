"""Training of the pocket models: the same commands on a CPU and on a GPU."""
