"""The conformance suite of renderers on diffusers pipelines: it looks inside. Needs pytest."""

from threedis_diffusers.testing.conformance import DiffusersConformance
from threedis_diffusers.testing.recording import Call, awaken, recorded

__all__ = ["Call", "DiffusersConformance", "awaken", "recorded"]
