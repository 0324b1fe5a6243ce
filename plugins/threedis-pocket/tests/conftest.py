"""Settings of the pocket's tests."""

from __future__ import annotations

import os

# Small models are many times slower on two threads than on one when the machine is busy.
os.environ.setdefault("OMP_NUM_THREADS", "1")
