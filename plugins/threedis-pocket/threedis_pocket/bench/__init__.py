"""What measures the pocket models: detectors, figures, benchmarks and their tables."""
