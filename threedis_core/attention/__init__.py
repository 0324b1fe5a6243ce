"""The region plan: who may attend to whom, and how much. Importing this imports torch."""

from threedis_core.attention.choice import ChosenLowering, choose_lowering
from threedis_core.attention.fusion import FusionPlan
from threedis_core.attention.joint_attention import JointAttention
from threedis_core.attention.joint_controls import CONTROLS
from threedis_core.attention.joint_phases import Choose, JointPhase, JointPhases, JointRow
from threedis_core.attention.joint_plan import Cell, JointPlan, Site, TokenOrder
from threedis_core.attention.lowering import lower

__all__ = [
    "CONTROLS",
    "Cell",
    "Choose",
    "ChosenLowering",
    "FusionPlan",
    "JointAttention",
    "JointPhase",
    "JointPhases",
    "JointPlan",
    "JointRow",
    "Site",
    "TokenOrder",
    "choose_lowering",
    "lower",
]
