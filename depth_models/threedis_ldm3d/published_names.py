"""What the weights of a layout adapter are called in the published checkpoint."""

from __future__ import annotations

from threedis_ldm3d.layout_adapter import LayoutAdapter

IN_LAYER = ".processor.migc."
"""What stands between a layer's path and the name inside the adapter."""
GATE = "gamma"
PUBLISHED = {
    "gate": GATE,
    "norm": "norm",
    "box_encoder.network": "pos_net.linears_position",
    "enhancement.query": "ea.to_q",
    "enhancement.key": "ea.to_k",
    "enhancement.value": "ea.to_v",
    "enhancement.out": "ea.to_out.0",
    "layout_attention.query": "la.to_q",
    "layout_attention.key": "la.to_k",
    "layout_attention.value": "la.to_v",
    "layout_attention.out": "la.to_out.0",
    "aggregation.score": "sac.conv2",
    "aggregation.slot_gate.0": "sac.cbam2.ChannelGate.mlp.1",
    "aggregation.slot_gate.2": "sac.cbam2.ChannelGate.mlp.3",
    "aggregation.place_gate": "sac.cbam2.SpatialGate.spatial.conv",
}
"""Our names of a layer's modules, and the published ones."""


def published_names(adapter: LayoutAdapter) -> dict[str, str]:
    """The published name of every weight of ``adapter``, by our name."""
    names: dict[str, str] = {}
    for own in adapter.state_dict():
        layer, name = own.removeprefix("layers.").split(".", 1)
        module = next(known for known in PUBLISHED if name == known or name.startswith(f"{known}."))
        published = PUBLISHED[module] + name.removeprefix(module)
        names[own] = layer.replace("/", ".") + IN_LAYER + published
    return names


def published_shapes(adapter: LayoutAdapter) -> dict[str, tuple[int, ...]]:
    """The shape of every weight of ``adapter``, by published name."""
    own = adapter.state_dict()
    return {name: tuple(own[ours].shape) for ours, name in published_names(adapter).items()}
