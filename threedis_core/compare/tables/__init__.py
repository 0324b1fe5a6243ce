"""The tables of a comparison, for machines and for papers."""
