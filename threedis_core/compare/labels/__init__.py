"""Are the judges right? A second detector, and people who label some instances by hand."""
