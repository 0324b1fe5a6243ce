"""Pictures of layouts, for people."""
