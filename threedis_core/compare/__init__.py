"""Comparisons: every renderer on the same layouts, depth maps and seeds, judged and tabled."""
