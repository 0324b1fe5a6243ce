"""A run: what it is asked, what it plans, the loop itself, and what it leaves behind."""
