"""Time that can be compared; ``threedis tune`` measures in the same way."""

from threedis_core.attention.tuning.turns import now, take_turns

__all__ = ["now", "take_turns"]
