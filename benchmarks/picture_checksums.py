"""Checksums of pocket depth maps and pictures, to see that a change kept them bit for bit.

python benchmarks/picture_checksums.py > before.txt
# change something
python benchmarks/picture_checksums.py | diff before.txt -
"""

from __future__ import annotations

import argparse
import os
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # pixels depend on the number of threads

import torch

import threedis_core as threedis
from threedis_pocket.layouts import sample_layouts

RENDERERS: dict[str, dict[str, Any]] = {
    "pocket-sd15": {"steps": 8},
    "pocket-sd15@all": {
        "steps": 6,
        "control_cn": True,
        "low_pass": True,
        "background_weight": 0.5,
    },
    "pocket-sd21": {"steps": 6},
    "pocket-sdxl": {"steps": 6},
    "pocket-flux": {"steps": 8},
    "pocket-flux@segments": {"steps": 6, "attention": "segments", "tokens_per_prompt": "auto"},
}


def main() -> None:
    """Render and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--layouts", type=int, default=3)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    registry = threedis.load_plugins()
    for refiner in ("boxes", "depth-edges"):
        for number, layout in enumerate(sample_layouts("test", chosen.layouts)):
            run = threedis.render(
                layout,
                renderers=RENDERERS,
                seeds=(1, 2),
                region_refiner=refiner,
                depth_seed=number,
                depth_cache=False,
                registry=registry,
            )
            print(refiner, number, "depth", run.depth.checksum())
            for image in run.images:
                checksum = image.provenance["pixel_checksum"]
                print(refiner, number, image.renderer, image.seed, checksum, flush=True)


if __name__ == "__main__":
    main()
