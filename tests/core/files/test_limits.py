"""The one gate that sizes pass."""

from __future__ import annotations

import pytest

from threedis_core.errors import DepthError
from threedis_core.files.limits import check_size


@pytest.mark.parametrize("size", [(1, 1), (8192, 8192), (16384, 4096), (1, 16384)])
def test_sizes_up_to_8192_squared_pass(size: tuple[int, int]) -> None:
    check_size(*size, DepthError, "a depth map of")


@pytest.mark.parametrize("size", [(0, 5), (5, -1), (16385, 1), (1, 16385), (8193, 8192)])
def test_other_sizes_are_refused_as_the_callers_error(size: tuple[int, int]) -> None:
    with pytest.raises(DepthError, match=r"^a depth map of .* pixels; expected 1 to 16384 pixels"):
        check_size(*size, DepthError, "a depth map of")
