"""Torch has one choice of attention kernels for the whole process."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch

from threedis_diffusers.attention_kernel import attention_kernel


def flash_is_on() -> bool:
    return torch.backends.cuda.flash_sdp_enabled()


def started(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_a_thread_that_wants_another_kernel_waits_and_none_is_left_behind() -> None:
    before = flash_is_on()
    inside, leave, seen = threading.Event(), threading.Event(), list[bool]()

    def with_math() -> None:
        with attention_kernel("math"):
            inside.set()
            assert leave.wait(30)

    def with_torchs_choice() -> None:
        with attention_kernel("native"):
            seen.append(flash_is_on())

    first = started(with_math)
    assert inside.wait(30)
    second = started(with_torchs_choice)
    second.join(0.2)
    assert seen == []
    leave.set()
    first.join(30)
    second.join(30)
    assert seen == [before]
    assert flash_is_on() == before


@pytest.mark.parametrize("kernel", ["native", "math"])
def test_threads_that_want_the_same_kernel_work_at_once(kernel) -> None:
    together = threading.Barrier(2, timeout=30)
    reached: list[int] = []

    def work() -> None:
        with attention_kernel(kernel):
            reached.append(together.wait())

    threads = [started(work) for _ in range(2)]
    for thread in threads:
        thread.join(30)
    assert sorted(reached) == [0, 1]


def test_a_thread_does_not_wait_for_itself() -> None:
    before = flash_is_on()
    with attention_kernel("native"), attention_kernel("math"), attention_kernel("flash"):
        pass
    assert flash_is_on() == before


def test_a_failure_inside_lets_the_others_in() -> None:
    def enter() -> None:
        with attention_kernel("native"):
            pass

    with pytest.raises(RuntimeError), attention_kernel("math"):
        raise RuntimeError
    thread = started(enter)
    thread.join(30)
    assert not thread.is_alive()
