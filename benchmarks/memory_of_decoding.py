"""The memory that decoding several SDXL pictures takes, against one of them.

    python benchmarks/memory_of_decoding.py --count [--side 1024] [--pictures 4] [--json]
    python benchmarks/memory_of_decoding.py [--side 512] [--pictures 4] [--json]

--count computes nothing: the bytes of all tensors that are alive at once, beside the weights, on
any machine in seconds. Without it the decoding is done, and measured:

SDXL's VAE at full size with random weights, float32, decodes as a render does: through
``frugal_decoding``, one picture after another. Each count of pictures is decoded in a process of
its own; its peak of resident memory, less what it had before it decoded, is what is compared.
"stock" decodes the batch at once, as the pipeline does by itself.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import weakref
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from architectures import VAE
from diffusers import AutoencoderKL
from torch import Tensor, UntypedStorage
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from threedis_diffusers.decoding import frugal_decoding

HEADER = f"{'pictures':>8} {'how':<7} {'peak':>10} {'to one':>7}"


def main() -> None:
    """Parse the command line, measure in other processes, print a table or JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=512, help="of the pictures, in pixels")
    parser.add_argument("--pictures", type=int, default=4)
    parser.add_argument("--count", action="store_true", help="count tensors, compute nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--alone", choices=["frugal", "stock"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        print(peak(arguments.pictures, arguments.side, arguments.alone))
        return
    turns = [(1, "frugal"), (arguments.pictures, "frugal"), (arguments.pictures, "stock")]
    rows: list[dict[str, Any]] = []
    for pictures, how in turns:
        find = counted if arguments.count else measured
        found = find(pictures, arguments.side, how)
        first = rows[0]["bytes"] if rows else found
        rows.append({"pictures": pictures, "how": how, "bytes": found, "ratio": found / first})
    if arguments.json:
        print(json.dumps({"side": arguments.side, "rows": rows}, indent=2))
        return
    print(HEADER)
    for row in rows:
        size = f"{row['bytes'] / 2**20:.0f} MiB"
        print(f"{row['pictures']:8d} {row['how']:<7} {size:>10} {row['ratio']:7.2f}")


class Alive(TorchDispatchMode):
    """Counts the bytes of the tensors that are alive, but those it is told of before."""

    def __init__(self, known: Iterable[UntypedStorage]) -> None:
        super().__init__()
        self.now = self.most = 0
        self._known = {id(one) for one in known}

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        made = function(*args, **(kwargs or {}))
        for value in tree_leaves(made):
            if isinstance(value, Tensor):
                self._note(value.untyped_storage())
        return made

    def _note(self, storage: UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


@torch.no_grad()
def counted(pictures: int, side: int, how: str) -> int:
    """The bytes of all tensors that are alive at once, weights aside."""
    with FakeTensorMode():
        vae: Any = AutoencoderKL(**VAE).eval()
        latents = torch.empty(pictures, vae.config.latent_channels, side // 8, side // 8)
        weights = [one.untyped_storage() for one in vae.parameters()]
        alive = Alive(weights)
        with decoding(vae, how), alive:
            vae.decode(latents)
    return alive.most


def decoding(vae: Any, how: str) -> AbstractContextManager[None]:
    """As a render decodes, or as the pipeline does by itself."""
    if how == "stock":
        return nullcontext()
    return frugal_decoding(SimpleNamespace(vae=vae), tiled=False, movable=True)


def measured(pictures: int, side: int, how: str) -> int:
    """The peak of a process that decodes so many pictures, in bytes."""
    given = ["--pictures", str(pictures), "--side", str(side), "--alone", how]
    done = subprocess.run(
        [sys.executable, __file__, *given], stdout=subprocess.PIPE, check=True, text=True
    )
    return int(done.stdout)


@torch.no_grad()
def peak(pictures: int, side: int, how: str) -> int:
    """What decoding takes beside weights and libraries, at most at any time."""
    torch.set_num_threads(1)
    vae: Any = AutoencoderKL(**VAE).eval()
    latents = torch.randn(pictures, vae.config.latent_channels, side // 8, side // 8)
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    with decoding(vae, how):
        vae.decode(latents)
    return resident("VmHWM") - before


def resident(which: str) -> int:
    """Bytes of resident memory now (VmRSS) or at most (VmHWM), on Linux."""
    lines = Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith(f"{which}:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
