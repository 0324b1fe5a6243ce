"""Which lowering is fastest here: measured on this machine, and kept in the user's cache folder."""

from threedis_core.attention.tuning.race import Race, Setting, machine_of, phase_name
from threedis_core.attention.tuning.records import Records

__all__ = ["Race", "Records", "Setting", "machine_of", "phase_name"]
