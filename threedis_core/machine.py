"""The machine: its accelerators and its memory. Bytes everywhere."""

from __future__ import annotations

from dataclasses import dataclass

import psutil

from threedis_core.plugin.inspection import MemoryNeed

ACCELERATORS = ("cuda", "xpu")


@dataclass(frozen=True)
class Device:
    """Something to compute on.

    Args:
        name: As torch names it: "cuda:0", "mps", "cpu".
        model: What the maker calls it.
        total: Its memory.
        free: What of it is free; None if the device does not answer.
    """

    name: str
    model: str
    total: int
    free: int | None


@dataclass(frozen=True)
class Machine:
    """The devices of this machine; the last one is always the CPU with the main memory."""

    devices: tuple[Device, ...]

    @property
    def cpu(self) -> Device:
        """The CPU; its memory is the main memory."""
        return self.devices[-1]

    def find(self, name: str) -> Device:
        """The device that a backend calls ``name``; "cuda" is "cuda:0", unknown ones the CPU."""
        for device in self.devices:
            if device.name in (name, f"{name}:0"):
                return device
        return self.cpu

    def fits(self, need: MemoryNeed, device: str) -> bool | None:
        """True if ``need`` is free on ``device`` and in main memory; None if nobody can say."""
        found = self.find(device)
        if self.cpu.free is None or found.free is None:
            return None
        return need.main <= self.cpu.free and (found is self.cpu or need.device <= found.free)


def look_at_machine() -> Machine:
    """Ask torch for accelerators and the operating system for main memory."""
    import torch

    memory = psutil.virtual_memory()
    found = [
        _accelerator(kind, index)
        for kind in ACCELERATORS
        if getattr(torch, kind).is_available()
        for index in range(getattr(torch, kind).device_count())
    ]
    if torch.backends.mps.is_available():  # its memory is the main memory
        found.append(Device("mps", "Apple GPU", memory.total, memory.available))
    cores = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    cpu = Device("cpu", f"{cores} core{'' if cores == 1 else 's'}", memory.total, memory.available)
    return Machine((*found, cpu))


def _accelerator(kind: str, index: int) -> Device:
    import torch

    module = getattr(torch, kind)
    properties = module.get_device_properties(index)
    try:
        free, _ = module.mem_get_info(index)
    except RuntimeError:  # a device whose memory is full has no room for the question
        free = None
    return Device(f"{kind}:{index}", properties.name, properties.total_memory, free)
