"""``threedis render`` and ``threedis sheet``: make runs, and look at them."""
