from __future__ import annotations

import pytest
from PIL import Image

from threedis_core import Layout, LayoutError


def test_data_of_strangers_reads_no_file(tmp_path) -> None:
    Image.new("L", (8, 8), 255).save(tmp_path / "mask.png")
    instance = {"prompt": "a cat", "box": [0, 0, 1, 1], "mask": str(tmp_path / "mask.png")}
    layout = {"prompt": "a scene", "instances": [instance]}
    assert Layout.from_dict(layout).instances[0].mask is not None
    with pytest.raises(LayoutError, match=r"instances\[0\].*mask.*the name of a file"):
        Layout.from_dict(layout, folder=None)
