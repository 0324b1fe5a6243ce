"""Which of torch's attention kernels computes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def attention_kernel(name: str) -> Iterator[None]:
    """Use one of torch's attention kernels inside; "native" lets torch choose.

    diffusers' own ``set_attention_backend`` has no effect on a U-Net, whose stock processor calls
    torch directly. Layers the kernel cannot serve use the "math" kernel. The choice is the
    process's: threads that want the same one work at once, others wait in turn.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel

    kernels = {
        "cudnn": SDPBackend.CUDNN_ATTENTION,
        "efficient": SDPBackend.EFFICIENT_ATTENTION,
        "flash": SDPBackend.FLASH_ATTENTION,
        "math": SDPBackend.MATH,
    }
    with _turns.taken(name):
        if name == "native":
            yield
            return
        with sdpa_kernel([kernels[name], SDPBackend.MATH]):
            yield


class _Turns:
    """Lets those in who want the same as those inside, in the order they came.

    A thread that is inside may go in again, for anything: it would wait for itself.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._inside: dict[int, int] = {}
        self._wanted = ""

    @contextmanager
    def taken(self, wanted: str) -> Iterator[None]:
        """Wait for a turn with ``wanted``, and have it inside."""
        thread = threading.get_ident()
        self._enter(thread, wanted)
        try:
            yield
        finally:
            with self._changed:
                self._inside[thread] -= 1
                if not self._inside[thread]:
                    del self._inside[thread]
                self._changed.notify_all()

    def _enter(self, thread: int, wanted: str) -> None:
        with self._changed:
            if thread not in self._inside:
                ticket = object()
                self._waiting.append(ticket)
                try:
                    self._changed.wait_for(
                        lambda: (
                            self._waiting[0] is ticket
                            and (not self._inside or self._wanted == wanted)
                        )
                    )
                    self._wanted = wanted
                finally:
                    self._waiting.remove(ticket)
                    self._changed.notify_all()
            self._inside[thread] = self._inside.get(thread, 0) + 1


_turns = _Turns()
