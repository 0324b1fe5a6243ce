"""Options are refused before anything is loaded, in one line that says what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest

from threedis_core.errors import OptionError
from threedis_core.plugin.options import validate_options
from threedis_diffusers.devices import resolve_device, resolve_dtype
from threedis_diffusers.model_files.sources import ModelSource
from threedis_diffusers.schedulers import (
    FLOW_SCHEDULERS,
    SCHEDULERS,
    find_scheduler,
    make_scheduler,
    resolve_scheduler,
)
from threedis_diffusers.unet.prompts import NEUTRAL_NEGATIVE_PROMPT
from threedis_sd.options import LowPass
from threedis_sd.sd15 import SD15Options


def options(**values: Any) -> SD15Options:
    return validate_options(SD15Options, values, "renderer 'sd15'")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stepz": 3}, "Did you mean 'steps'"),
        ({"steps": 0}, "steps is 0"),
        ({"guidance": float("nan")}, "guidance"),
        ({"background_weight": 1.5}, "background_weight is 1.5"),
        ({"control_steps": -1}, "control_steps is -1"),
        ({"alpha": float("inf")}, "alpha"),
        ({"device": "gpu"}, "expected auto, cpu"),
        ({"offload": "disk"}, "offload is 'disk'"),
        ({"dtype": "int8"}, "dtype is 'int8'"),
        ({"scheduler": "EulerDiscretScheduler"}, "Did you mean 'EulerDiscreteScheduler'"),
        ({"scheduler": "FlowMatchEulerDiscreteScheduler"}, "no Stable Diffusion scheduler"),
        ({"attention_backend": "sage"}, "attention_backend is 'sage'"),
        ({"low_pass": {"divisor": 0}}, "low_pass.divisor is 0"),
        ({"loras": [{"weight": 1}]}, "path is missing"),
        ({"controlnet_start": 0.9, "controlnet_end": 0.5}, "must lie before"),
        ({"model": ""}, "model is ''"),
    ],
)
def test_a_wrong_option_gives_one_clear_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match="sd15") as caught:
        options(**values)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_low_pass_filter_is_a_switch_or_two_numbers() -> None:
    assert options().low_pass is None
    assert options(low_pass=True).low_pass == LowPass(scale=0.5, divisor=8)
    assert options(low_pass=False).low_pass is None
    assert options(low_pass={"scale": 0.2}).low_pass == LowPass(scale=0.2, divisor=8)


@pytest.mark.parametrize(
    ("values", "negative"),
    [
        ({}, NEUTRAL_NEGATIVE_PROMPT),
        ({"controlnet_prompt": "a room"}, NEUTRAL_NEGATIVE_PROMPT),
        ({"controlnet_prompt": None}, None),
        ({"controlnet_prompt": None, "controlnet_negative_prompt": "grey"}, "grey"),
    ],
)
def test_a_null_controlnet_prompt_takes_the_negative_one_with_it_unless_that_is_set(
    values: dict[str, Any], negative: str | None
) -> None:
    assert options(**values).controlnet_negative_prompt == negative


def test_an_attention_backend_may_be_spelled_as_in_diffusers() -> None:
    assert options(attention_backend="_native_flash").attention_backend == "flash"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"offload": "model"}, "nothing to offload from"),
        ({"attention_backend": "cudnn"}, "needs a CUDA device"),
    ],
)
def test_what_a_cpu_cannot_do_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        resolve_device(options(device="cpu", **values))


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(OptionError, match="no such device"):
        resolve_device(options(device="cuda:63"))


def test_a_cpu_computes_in_float32_unless_told_otherwise() -> None:
    device = resolve_device(options(device="cpu"))
    assert str(resolve_dtype(options(), device)) == "torch.float32"
    assert str(resolve_dtype(options(dtype="bfloat16"), device)) == "torch.bfloat16"


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_known_scheduler_is_one_of_diffusers(name: str) -> None:
    assert hasattr(diffusers, name)
    assert resolve_scheduler(name) == name


@pytest.mark.parametrize(
    ("short", "name"),
    [
        ("euler", "EulerDiscreteScheduler"),
        ("UniPC", "UniPCMultistepScheduler"),
        ("ddim", "DDIMScheduler"),
        ("HeunDiscrete", "HeunDiscreteScheduler"),
    ],
)
def test_a_schedulers_ending_may_be_left_out(short: str, name: str) -> None:
    assert resolve_scheduler(short) == name


def test_null_makes_the_models_own_scheduler() -> None:
    config = {"_class_name": "DDIMScheduler", "prediction_type": "v_prediction"}
    made = make_scheduler(None, config)
    assert type(made).__name__ == "DDIMScheduler"
    assert made.config.prediction_type == "v_prediction"


def test_a_scheduler_that_cannot_be_made_is_refused_by_name() -> None:
    with pytest.raises(OptionError, match="DDIMScheduler"):
        make_scheduler("DDIMScheduler", {"beta_schedule": "none of these"})


def test_a_scheduler_takes_settings_by_their_names_in_diffusers() -> None:
    asked = options(scheduler={"name": "dpmsolver", "use_karras_sigmas": True}).scheduler
    assert asked == {"name": "DPMSolverMultistepScheduler", "use_karras_sigmas": True}
    config = {"_class_name": "DDIMScheduler", "prediction_type": "v_prediction"}
    made = make_scheduler(asked, config)
    assert made.config.use_karras_sigmas
    assert made.config.prediction_type == "v_prediction"
    own = make_scheduler({"timestep_spacing": "trailing"}, config)
    assert type(own).__name__ == "DDIMScheduler"
    assert own.config.timestep_spacing == "trailing"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"use_karras_sigma": True}, r"no setting 'use_karras_sigma'.*'use_karras_sigmas'"),
        ({"use_karras_sigmas": "yes"}, r"use_karras_sigmas is 'yes'; expected true or false"),
        ({"steps_offset": "1"}, r"steps_offset is '1'; expected a number"),
        ({"prediction_type": 3}, r"prediction_type is 3; expected text"),
        ({"use_karras_sigmas": True, "use_beta_sigmas": True}, "Only one of"),
    ],
)
def test_settings_that_a_scheduler_does_not_take_are_refused(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        make_scheduler({"name": "EulerDiscreteScheduler", **settings}, {})


def test_what_a_scheduler_refuses_at_its_start_is_told_before_loading(tmp_path: Path) -> None:
    (tmp_path / "scheduler").mkdir()
    (tmp_path / "scheduler" / "scheduler_config.json").write_text(
        '{"_class_name": "EulerDiscreteScheduler"}', "utf-8"
    )

    def start(made: Any) -> None:
        made.set_timesteps(4)

    asked = {"name": "EulerDiscreteScheduler", "timestep_spacing": "trailng"}
    with pytest.raises(OptionError, match="trailng"):
        find_scheduler(asked, ModelSource(str(tmp_path)), start)


@pytest.mark.parametrize("name", FLOW_SCHEDULERS)
def test_the_schedulers_of_flux_take_its_noise_levels(name: str) -> None:
    made = make_scheduler(name, {"use_dynamic_shifting": True}, FLOW_SCHEDULERS)
    made.set_timesteps(sigmas=np.linspace(1, 0.25, 4), mu=0.5)
    assert len(made.timesteps) == 4
    assert made.timesteps[0] >= 999  # some round down
