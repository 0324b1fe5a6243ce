"""Loading a model changes torch for the thread that loads, and for nobody else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module

import accelerate
import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from threedis_core import PluginRegistry, WeightsError, load_plugins
from threedis_core.alone import warnings_ignored
from threedis_diffusers.own_thread import _library_patches, in_own_thread, patched_here
from threedis_diffusers.quiet import quiet


def watched_parts() -> list[object]:
    """What the libraries replace while they build a model."""
    transformers = import_module("transformers.initialization")
    modeling = import_module("diffusers.models.modeling_utils")
    return [
        nn.Module.register_parameter,
        nn.Module.register_buffer,
        torch.linspace,
        torch.get_default_dtype(),
        accelerate.big_modeling.init_on_device,
        modeling.no_init_weights,
        transformers.no_tie_weights,
        CLIPTextModel.tie_weights,
        *(getattr(nn.init, name) for name in modeling.TORCH_INIT_FUNCTIONS),
    ]


@contextmanager
def host_at_work() -> Iterator[list[str]]:
    """A thread that makes modules all the time; yields what is wrong with them."""
    wrong: list[str] = []
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            made = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))
            if any(parameter.is_meta for parameter in made.parameters()):
                wrong.append("on meta")
            elif not torch.equal(made[1].weight, torch.ones(3)):
                wrong.append("without initial values")
            if torch.linspace(0, 1, 2, device="meta").device.type != "meta":
                wrong.append("linspace elsewhere")

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield wrong
    finally:
        stop.set()
        thread.join()


@pytest.fixture(scope="module")
def registry() -> PluginRegistry:
    return load_plugins()


@pytest.mark.parametrize("name", ["pocket-sd15", "pocket-flux"])
def test_modules_that_another_thread_makes_meanwhile_are_as_ever(registry, name) -> None:
    backend = registry.renderer(name)
    before = watched_parts()
    with host_at_work() as wrong:
        for _ in range(3):
            loaded = backend.load()
            backend.close()
    assert wrong == []
    assert watched_parts() == before
    assert not any(p.is_meta for p in loaded.pipeline.vae.parameters())


def test_a_model_is_built_without_weights_in_the_thread_that_loads() -> None:
    with in_own_thread(), accelerate.init_empty_weights():
        assert nn.Linear(2, 2).weight.is_meta
    with in_own_thread(), accelerate.init_empty_weights(include_buffers=True):
        assert nn.BatchNorm1d(2).running_mean.is_meta
    assert nn.BatchNorm1d(2).running_mean.device.type == "cpu"


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_loading_that_fails_or_is_interrupted_leaves_the_process_as_it_was(kind) -> None:
    before = watched_parts()
    modeling = import_module("diffusers.models.modeling_utils")
    transformers = import_module("transformers.initialization")
    with (
        suppress(kind),
        in_own_thread(),
        accelerate.init_empty_weights(),
        modeling.no_init_weights(),
        transformers.no_tie_weights(),
        transformers.meta_device_safe_creation_ops(),
    ):
        assert all(
            now is not then
            for now, then in zip(watched_parts(), before, strict=True)
            if callable(then) and then is not nn.Module.register_buffer
        )
        raise kind
    assert watched_parts() == before


def test_a_damaged_model_leaves_torchs_default_number_format_as_it_was(tmp_path) -> None:
    before = watched_parts()
    (tmp_path / "config.json").write_text(
        '{"_class_name": "UNet2DConditionModel", "block_out_channels": [8], "norm_num_groups": 3}'
    )
    (tmp_path / "diffusion_pytorch_model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ValueError, match="block_types"), in_own_thread(), quiet():
        UNet2DConditionModel.from_pretrained(tmp_path, dtype=torch.float16)
    assert watched_parts() == before


def test_every_function_that_is_replaced_is_there_in_these_versions() -> None:
    import_module("peft.utils.integrations")
    found = [(module.__name__, name) for module, name, _ in _library_patches()]
    assert len(found) == 5
    for module, name in found:
        assert callable(getattr(import_module(module), name))


def test_a_model_of_transformers_loads_with_its_weights_tied(tmp_path) -> None:
    config = CLIPTextConfig(
        vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2
    )
    made = CLIPTextModel(config).eval()
    made.save_pretrained(tmp_path)
    with in_own_thread(), quiet():
        loaded = CLIPTextModel.from_pretrained(tmp_path)
    tokens = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        assert torch.equal(loaded(tokens).last_hidden_state, made(tokens).last_hidden_state)


class Owner:
    @staticmethod
    def answer() -> str:
        return "own"


def test_a_patch_is_seen_by_its_thread_alone() -> None:
    seen: list[str] = []
    with patched_here(Owner, "answer", lambda original: lambda: "patched"):
        thread = threading.Thread(target=lambda: seen.append(Owner.answer()))
        thread.start()
        thread.join()
        assert Owner.answer() == "patched"
    assert seen == ["own"]
    assert Owner.answer() == "own"


def test_patches_that_end_in_the_wrong_order_do_nothing_afterwards() -> None:
    first = patched_here(Owner, "answer", lambda original: lambda: "first")
    second = patched_here(Owner, "answer", lambda original: lambda: "second")
    first.__enter__()
    second.__enter__()
    assert Owner.answer() == "second"
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    assert Owner.answer() == "own"


def test_threads_that_are_quiet_at_once_leave_the_levels_as_they_were() -> None:
    from diffusers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    one, other = quiet(), quiet()
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert logging.get_verbosity() == logging.ERROR
    other.__exit__(None, None, None)
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_warnings_ignored_by_two_threads_at_once_are_shown_again_afterwards() -> None:
    import warnings

    before = list(warnings.filters)

    def work() -> None:
        for _ in range(300):
            with warnings_ignored(UserWarning):
                warnings.warn("nobody hears it", stacklevel=1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


def test_a_model_that_cannot_be_loaded_can_be_loaded_later(registry) -> None:
    backend = registry.renderer("pocket-sd15", {"vae": "nowhere/at/all"})
    before = watched_parts()
    with pytest.raises(WeightsError):
        backend.load()
    assert watched_parts() == before
    assert registry.renderer("pocket-sd15").load() is not None
