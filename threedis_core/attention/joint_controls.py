"""The controls of joint attention: what each of them forbids. A new one is a new rule here.

C cells, N instances; cells and members are those of ``joint_plan``.

Source: 3DIS-FLUX (arXiv 2501.05131), the attention controls of its renderer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from threedis_core.errors import OptionError

CONTROLS = ("i2i", "i2t", "t2i", "t2t")
"""From queries to keys: i is the image, t the text."""

Kind = Literal["text", "padding", "image"]
Bools = NDArray[np.bool_]


def permitted(members: Bools, kinds: Sequence[Kind], controls: frozenset[str]) -> Bools:
    """Whether the tokens of one cell (row) may see those of another, shape (C, C).

    A control that is on keeps queries and keys of the same instance together and parts all
    others; one that is off lifts its own rule and no other.

    - ``i2i``: image tokens inside regions see, of the image, only their own regions (several
      where regions overlap), and no global text.
    - ``i2t``: image tokens inside regions see, of the instances' texts, only their own.
    - ``t2i``: instances' texts see, of the image, only their own region.
    - ``t2t``: instances' texts see, of the text, only their own.

    The global text and the background see everything; padding sees padding, and nobody else does.

    Args:
        members: Which prompts a cell belongs to, shape (C, 1 + N): the global one, the instances'.
        kinds: What each cell is.
        controls: Those that are on.
    Raises:
        OptionError: A control that does not exist.
    """
    check_controls(controls)
    belongs = members.astype(np.int64)
    alike = belongs @ belongs.T > 0
    text, padding, image = (
        np.array([kind == one for kind in kinds]) for one in ("text", "padding", "image")
    )
    everyone = members[:, 0]
    # An instance's own text, and the image tokens that are bound to an instance.
    own, bound = text & ~everyone, image & members.any(1)
    rules = {
        "i2i": (bound, image),
        "i2t": (bound, own),
        "t2i": (own, image),
        "t2t": (own, text),
    }
    allowed = np.ones_like(alike)
    for control in controls:
        part = np.ix_(*rules[control])
        allowed[part] = alike[part]
    if "i2i" in controls:
        allowed[np.ix_(bound, everyone)] = False
    allowed[padding] = allowed[:, padding] = False
    allowed[np.ix_(padding, padding)] = True
    return allowed


def check_controls(controls: frozenset[str]) -> None:
    """Refuse the name of a control that does not exist.

    Raises:
        OptionError: It says which exist.
    """
    unknown = sorted(controls - set(CONTROLS))
    if unknown:
        raise OptionError(
            f"unknown attention control {', '.join(unknown)}; expected some of "
            f"{', '.join(CONTROLS)}"
        )
