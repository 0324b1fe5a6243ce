"""What a run tells of itself: provenance, versions, times, paths that tell no folder."""
