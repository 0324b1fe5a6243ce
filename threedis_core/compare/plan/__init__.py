"""What a comparison is asked, and the frozen plan of its jobs."""
