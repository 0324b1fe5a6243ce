"""What a machine lacks is not blamed on the files: the cause is named, and one thing to try."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from threedis_core.errors import RenderError, WeightsError
from threedis_diffusers.machine_failures import machine_failure, machine_failures_told
from threedis_diffusers.model_files.sources import ModelSource
from threedis_diffusers.readable import readable

MIB = "Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 7.79 GiB"
FAILURES: list[tuple[Exception, str, str]] = [
    (RuntimeError(f"CUDA out of memory. {MIB}"), "device's memory", "offload=group"),
    (RuntimeError("CUDA error: out of memory"), "device's memory", "offload=group"),
    (RuntimeError("MPS backend out of memory (MPS allocated: 9.1 GB)"), "device's", "offload"),
    (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), "device's", "offload"),
    (MemoryError(), "main memory", "close other programs"),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "main memory", "close other"),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), "main memory", "close other programs"),
    (RuntimeError("unable to mmap 9 bytes from file <x>"), "main memory", "close other programs"),
    (OSError(errno.ENOSPC, "No space left on device"), "disk is full", "HF_HOME"),
    (RuntimeError("No CUDA GPUs are available"), "not there", "device=cpu"),
    (RuntimeError("Found no NVIDIA driver on your system."), "driver", "device=cpu"),
    (AssertionError("Torch not compiled with CUDA enabled"), "cannot use a GPU", "device=cpu"),
    (RuntimeError("CUDA error: no kernel image is available"), "no code for this GPU", "install"),
    (RuntimeError("CUDA error: an illegal memory access"), "the device failed", "new process"),
]


@pytest.mark.parametrize(("error", "cause", "advice"), FAILURES)
def test_a_failure_of_the_machine_while_loading_is_told_as_such(
    error: Exception, cause: str, advice: str
) -> None:
    loading = machine_failures_told("loading 'sd15'")
    with pytest.raises(RenderError) as caught, loading, readable(ModelSource("me/model")):
        raise error
    said = str(caught.value)
    assert said.startswith("loading 'sd15' failed: ")
    assert cause in said
    assert advice in caught.value.hint
    assert "damaged" not in said
    assert "\n" not in said


def test_a_failure_that_a_library_wraps_is_found() -> None:
    wrapped = ValueError("could not load")
    wrapped.__cause__ = MemoryError()
    assert machine_failure(wrapped) is not None
    assert machine_failure(RuntimeError("size mismatch for conv_in.weight")) is None


def test_damaged_files_are_still_blamed_whatever_a_library_raises() -> None:
    class LibraryError(Exception):
        pass

    for error in (LibraryError("Merges text file invalid"), RuntimeError("size mismatch")):
        with pytest.raises(WeightsError, match="damaged"), readable(ModelSource("me/model")):
            raise error


@pytest.fixture(scope="module")
def renderer() -> Any:
    from threedis_core.plugin.discovery import load_plugins

    return load_plugins().renderer("pocket-sd15", {"device": "cpu", "steps": 1})


def request(renderer: Any) -> Any:
    from threedis_core.plugin.interfaces import RenderRequest
    from threedis_core.testing.samples import sample_depth, sample_layout
    from threedis_core.values.regions import Regions

    layout, (width, height) = sample_layout(2), renderer.capabilities.default_size
    regions = Regions.from_layout(layout, width, height)
    return RenderRequest(layout, sample_depth(layout, width, height), regions, 0, width, height)


@pytest.mark.parametrize(
    ("part", "stage"),
    [
        ("text_encoder", "the text_encoder makes"),
        ("unet", "the U-Net makes"),
        ("vae", "the VAE makes"),
    ],
)
def test_numbers_that_are_none_name_their_stage_and_what_to_try(
    renderer: Any, part: str, stage: str
) -> None:
    import torch

    model = getattr(renderer.load().pipeline, part)
    weight = {
        "text_encoder": lambda: next(p for n, p in model.named_parameters() if "final" in n),
        "unet": lambda: model.conv_out.bias,
        "vae": lambda: model.decoder.conv_out.bias,
    }[part]()
    before = weight.detach().clone()
    with torch.no_grad():
        weight[0] = float("nan")
    try:
        with pytest.raises(RenderError, match=f"^{stage} numbers that are not finite") as caught:
            renderer.render([request(renderer)])
    finally:
        with torch.no_grad():
            weight.copy_(before)
    assert "dtype float32" in str(caught.value)
    assert caught.value.hint
    hooks = (one._forward_hooks for one in (model, renderer.load().pipeline.vae.decoder))
    assert not any(hooks)
    assert renderer.render([request(renderer)])[0].image.size == renderer.capabilities.default_size


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_what_to_try_depends_on_the_number_format(dtype: str) -> None:
    import torch

    from threedis_diffusers.finite import _advice

    said = _advice("the VAE", getattr(torch, dtype))
    wanted = {"float16": "sdxl-vae-fp16-fix", "bfloat16": "dtype=float32", "float32": "get them"}
    assert wanted[dtype] in said


def test_the_device_failing_while_it_renders_is_told(
    renderer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(renderer, "draw", broken)
    with pytest.raises(RenderError, match="rendering with 'sd15' failed: the device failed"):
        renderer.render([request(renderer)])
