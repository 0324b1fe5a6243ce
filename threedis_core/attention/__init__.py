"""The region plan: who may attend to whom, and how much. Importing this imports torch."""

from threedis_core.attention.fusion import FusionPlan

__all__ = ["FusionPlan"]
