"""Training: one loop, its log and its launch, for every model of the project that is trained."""
