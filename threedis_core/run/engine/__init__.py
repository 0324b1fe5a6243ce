"""Models that stay loaded between runs, and runs that others wait for."""
