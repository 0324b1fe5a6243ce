"""``threedis new-plugin``: a package to start from, one file of texts for each kind."""
