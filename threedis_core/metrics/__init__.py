"""The metrics of the core, registered by the same door as every plugin's."""

from __future__ import annotations

from threedis_core.plugin.hookspecs import Register, hookimpl


@hookimpl
def threedis_register_metrics(register: Register) -> None:
    """Register ``coco-mig`` and ``position``."""
    for name, target, summary in (
        ("coco-mig", "coco_mig:CocoMig", "ISR, mIoU and SR as COCO-MIG judges them"),
        ("position", "position:Position", "AP of the boxes, by our own definition"),
    ):
        register(name, f"threedis_core.metrics.{target}", summary)
