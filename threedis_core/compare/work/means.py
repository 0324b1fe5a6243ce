"""How the work of a comparison is done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from threedis_core.compare.work.claim import Shard
from threedis_core.errors import OptionError


@dataclass(frozen=True)
class Means:
    """How the work is done; none of it is part of a job's key.

    Args:
        engine: "local", or "ray".
        workers: Worker processes; locally 1 is this process. None: 1, or all that the cluster has
            room for.
        address: Of a Ray cluster; None: one of this machine.
        shard: The share of the jobs to do.
        retry_failed: Try again what failed before.
        wait: Wait for another process that is at work on the same jobs, instead of refusing.

    Raises:
        OptionError: They do not go together.
    """

    engine: Literal["local", "ray"] = "local"
    workers: int | None = None
    address: str | None = None
    shard: Shard = field(default_factory=Shard)
    retry_failed: bool = False
    wait: bool = False

    def __post_init__(self) -> None:
        if self.engine not in ("local", "ray"):
            raise OptionError(
                f"engine is '{self.engine!s:.40}'; expected local or ray",
                code="wrong-value",
                path="engine",
            )
        if self.workers is not None and self.workers < 1:
            raise OptionError(
                f"workers is {self.workers}; expected at least 1",
                code="wrong-value",
                path="workers",
            )
        if self.address is not None and self.engine != "ray":
            raise OptionError(
                "an address is a Ray cluster's; give it with engine ray", path="address"
            )

    @property
    def in_this_process(self) -> bool:
        """Whether this process does the work itself."""
        return self.engine == "local" and self.workers in (None, 1)
