"""The checks that every render request passes before any model is loaded."""

from __future__ import annotations

from math import log
from numbers import Integral

from threedis_core.errors import LayoutError, OptionError
from threedis_core.files import limits
from threedis_core.plugin.interfaces import Capabilities, RenderRequest
from threedis_core.suggest import did_you_mean
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout
from threedis_core.values.problems import shown
from threedis_core.values.regions import Regions

MAX_SEED = 2**63 - 1


def check_request(request: RenderRequest, capabilities: Capabilities, renderer: str) -> None:
    """Refuse a request that a backend with ``capabilities`` cannot serve.

    Args:
        request: The request to check.
        capabilities: What the backend can do.
        renderer: The renderer's name, for the message.
    Raises:
        LayoutError: Too many instances, or regions that do not belong to the layout.
        OptionError: A wrong size, seed, step count, guidance or control name.
    """
    _check_types(request)
    check_size(request.width, request.height, capabilities, renderer)
    check_instance_count(len(request.layout.instances), capabilities, renderer)
    check_instance_loras(request.layout, capabilities, renderer)
    check_seed(request.seed)
    if len(request.regions) != len(request.layout.instances):
        hint = "make them with Regions.from_layout(layout, width, height)"
        raise LayoutError(
            f"the request has {len(request.regions)} regions for "
            f"{len(request.layout.instances)} instances; expected one region per instance: {hint}",
            path="regions",
            hint=hint,
        )
    check_settings(request.steps, request.guidance, capabilities, renderer)
    _check_controls(request, capabilities, renderer)


def _check_types(request: RenderRequest) -> None:
    """Refuse a request whose parts are of other types, which Python itself lets through."""
    wanted = {
        "layout": (Layout, "read_layout(file)"),
        "depth": (DepthMap, "DepthMap.load(file)"),
        "regions": (Regions, "Regions.from_layout(layout, width, height)"),
    }
    for name, (kind, how) in wanted.items():
        value = getattr(request, name)
        if not isinstance(value, kind):
            raise OptionError(
                f"the request has a value of type {type(value).__name__} as {name}; expected "
                f"{kind.__name__}: use {how}",
                code="wrong-value",
                path=name,
                hint=f"use {how}",
            )


def check_size(width: int, height: int, capabilities: Capabilities, renderer: str) -> None:
    """Refuse a picture size that is out of range or that the backend cannot draw.

    Raises:
        OptionError: The size does not fit.
    """
    limits.check_size(width, height, OptionError, f"a picture by renderer '{renderer}' of")
    nearest = nearest_size(width, height, capabilities)
    if capabilities.sizes and (width, height) != nearest:
        listed = ", ".join(f"{one}x{other}" for one, other in capabilities.sizes)
        hint = f"use {nearest[0]}x{nearest[1]}"
        raise OptionError(
            f"the size is {width}x{height}, but renderer '{renderer}' draws {listed} only; {hint}",
            code="wrong-value",
            path="width",
            hint=hint,
        )
    multiple, most = capabilities.size_multiple, capabilities.max_size or (limits.MAX_SIDE,) * 2
    sides = zip(("width", "height"), (width, height), nearest, most, strict=True)
    for side, value, fit, largest in sides:
        if value % multiple or value > largest:
            needs = f"multiples of {multiple}" if value % multiple else f"at most {largest}"
            raise OptionError(
                f"{side} is {value}, but renderer '{renderer}' needs {needs}; use {fit}",
                code="wrong-value",
                path=side,
                hint=f"use {fit}",
            )


def nearest_size(width: float, height: float, capabilities: Capabilities) -> tuple[int, int]:
    """The size (width, height) nearest to the given one that a backend can draw, in pixels."""
    if capabilities.sizes:
        return min(
            capabilities.sizes,
            key=lambda size: abs(log(size[0] / width)) + abs(log(size[1] / height)),
        )
    multiple, most = capabilities.size_multiple, capabilities.max_size or (limits.MAX_SIDE,) * 2
    across, down = (
        max(1, min(round(side / multiple), largest // multiple)) * multiple
        for side, largest in zip((width, height), most, strict=True)
    )
    return across, down


def check_instance_count(count: int, capabilities: Capabilities, renderer: str) -> None:
    """Refuse a layout with more instances than the backend can take.

    Raises:
        LayoutError: Too many instances.
    """
    limit = capabilities.max_instances
    if limit is not None and count > limit:
        raise LayoutError(
            f"the layout has {count} instances, but renderer '{renderer}' takes at most {limit}; "
            "remove some or choose another renderer",
            code="too-many-instances",
            path="instances",
            hint="remove some or choose another renderer",
        )


def check_instance_loras(layout: Layout, capabilities: Capabilities, renderer: str) -> None:
    """Refuse a layout whose instances name LoRAs that the backend does not have.

    Raises:
        LayoutError: One of them, and how to give it.
    """
    known = capabilities.instance_loras
    for index, instance in enumerate(layout.instances):
        for lora in instance.loras or ():
            if known is None:
                hint = "leave its loras out, or choose another renderer"
                problem = "which can confine no LoRA to an instance"
            elif lora.name not in known:
                hint = f"say which file it is: --set '{renderer}.instance_loras={{NAME: FILE}}'"
                listed = ", ".join(sorted(known)) or "none"
                problem = f"whose instance_loras has {listed}.{did_you_mean(lora.name, known)}"
            else:
                continue
            raise LayoutError(
                f"instances[{index}] ({shown(instance.prompt)}) names the LoRA "
                f"{shown(lora.name)}, but the renderer is '{renderer}', {problem}; {hint}",
                code="unknown-field",
                path=f"instances[{index}].loras",
                hint=hint,
            )


def check_settings(
    steps: int | None, guidance: float | None, capabilities: Capabilities, renderer: str
) -> None:
    """Refuse steps and a guidance scale that are out of range, or that the backend does not have.

    Raises:
        OptionError: One of them does not fit.
    """
    if steps is not None and not capabilities.steps:
        raise OptionError(
            f"renderer '{renderer}' has no steps to choose; leave steps out",
            path="steps",
            hint="leave steps out",
        )
    fewest = max(1, capabilities.min_steps)
    # Without any in the request, the backend's option says how many.
    taken = capabilities.default_steps if steps is None else steps
    if taken < fewest:
        who = "" if fewest == 1 else f" by renderer '{renderer}'"
        raise OptionError(
            f"steps is {taken}; expected at least {fewest}{who}", code="wrong-value", path="steps"
        )
    if guidance is not None and not capabilities.guidance:
        raise OptionError(
            f"renderer '{renderer}' has no guidance scale; leave guidance out",
            path="guidance",
            hint="leave guidance out",
        )
    if guidance is not None and not 0 <= guidance < float("inf"):
        raise OptionError(
            f"guidance is {guidance}; expected a finite number >= 0",
            code="wrong-value",
            path="guidance",
        )


def check_negative_prompt(text: str | None, capabilities: Capabilities, renderer: str) -> None:
    """Refuse a negative prompt that was asked for and would have no effect.

    Raises:
        OptionError: The backend has none.
    """
    if text and not capabilities.negative_prompt:
        raise OptionError(
            f"renderer '{renderer}' has no negative prompt; leave it out, and say in the prompt "
            "what you want to see",
            path="negative_prompt",
            hint="leave it out, and say in the prompt what you want to see",
        )


def check_seed(seed: int) -> None:
    """Refuse a seed that no random generator takes.

    Raises:
        OptionError: The seed is no whole number, negative or above 2**63 - 1.
    """
    if not isinstance(seed, Integral):  # pyright: ignore[reportUnnecessaryIsInstance]  Python's
        raise OptionError(
            f"seed is {shown(seed)}; expected a whole number", code="wrong-value", path="seed"
        )
    if not 0 <= seed <= MAX_SEED:
        raise OptionError(
            f"seed is {seed}; expected 0..{MAX_SEED}", code="wrong-value", path="seed"
        )


def _check_controls(request: RenderRequest, capabilities: Capabilities, renderer: str) -> None:
    if request.control is None:
        return
    for name in request.control.ranges:
        if name not in capabilities.controls:
            known = sorted(capabilities.controls)
            raise OptionError(
                f"Unknown control '{name}' for renderer '{renderer}'. "
                f"It knows: {', '.join(known) or 'none'}.{did_you_mean(name, known)}",
                code="unknown-field",
                path=f"control.{name}",
                hint=did_you_mean(name, known).strip(),
            )
