"""The interface of benchmarks: sets of layouts under a name, for comparisons."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from threedis_core.plugin.interfaces import Backend
from threedis_core.values.layout import Layout


class Benchmark(Backend):
    """A set of layouts that people compare renderers on. Making one is cheap."""

    kind = "benchmark"

    @abstractmethod
    def layouts(self) -> Sequence[Layout]:
        """All its layouts in order; the same options always give the same ones.

        Raises:
            InputError: An option that does not fit, or a file that is not there.
        """
