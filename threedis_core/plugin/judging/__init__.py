"""Judging: detectors, metrics, and the checks of what they return."""
