"""What is wanted, as configurations of diffusers and transformers that work on this machine.

diffusers' ``PipelineQuantizationConfig`` takes one set of keywords for all parts only where its own
configuration class and that of transformers have the same signature, which is true of bitsandbytes
alone. Here each part gets an object of its own library's class.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import torch

from threedis_core.errors import OptionError, WeightsError
from threedis_core.suggest import did_you_mean
from threedis_diffusers.quantized.wanted import BACKENDS, BFL, FP8, GGUF, Wanted

EXCLUDED = {
    "bitsandbytes_4bit": "llm_int8_skip_modules",
    "bitsandbytes_8bit": "llm_int8_skip_modules",
}
"""How the layers that are not quantised are called where it is not ``modules_to_not_convert``."""
ONLY_MADE_BEFORE = (GGUF, BFL, "auto-round", "nunchaku_lite")
"""What is read as it is stored; diffusers does not make such weights while it loads others."""
SPELLINGS = {
    "quanto": {
        "diffusers": ("weights", "weights_dtype"),
        "transformers": ("weights_dtype", "weights"),
    }
}
"""Keywords that the two libraries spell differently: the other's, and the library's own."""


def find_config(
    wanted: Wanted,
    library: str,
    dtype: torch.dtype,
    *,
    stored: bool = False,
    keep: tuple[str, ...] = (),
) -> Any:
    """The configuration object that quantises a part, if it works on this machine.

    The library's own quantiser is asked now: while loading it would be asked after the first
    weights.

    Args:
        wanted: How.
        library: Whose the part is: "diffusers" or "transformers".
        dtype: The number format to compute in, where the keywords do not say it.
        stored: True if the weights' files are quantised in this way already.
        keep: Layers that are to stay as they are.
    Returns:
        None for FP8, which is no quantiser's.
    Raises:
        OptionError: It cannot be used; a package or a device is missing.
    """
    if wanted.backend == FP8:
        return None
    require_package(wanted.backend)
    with _explained():
        auto = _auto(library)
        known = auto.AUTO_QUANTIZATION_CONFIG_MAPPING
        if wanted.backend not in known:
            raise ValueError(f"{library} has no '{wanted.backend}', which is for other parts")
        if wanted.backend in ONLY_MADE_BEFORE and not stored:
            raise ValueError(
                f"'{wanted.backend}' is how a file is stored, not what is made while loading: name "
                "such a file with the part's own option, like transformer"
            )
        kind = known[wanted.backend]
        config = kind(**_keywords(wanted, kind, library, dtype, keep))
        _ask(config, auto, library, stored)
    return config


def check_stored(config: Mapping[str, Any], library: str, name: str) -> str:
    """See that weights that were saved quantised can be read here; what they were quantised by.

    Args:
        config: The part's configuration.
        library: Whose it is.
        name: Where it is, for the message.
    Returns:
        One of ``BACKENDS`` or another name of the library's; "" if they are plain.
    Raises:
        OptionError: A package or a device is missing.
        WeightsError: The library does not know how they are stored.
    """
    stored = config.get("quantization_config")
    if stored is None:
        return ""
    if not isinstance(stored, Mapping):
        raise WeightsError(f"'{name}': quantization_config is no JSON object; get the file again")
    backend = str(stored.get("quant_method", ""))
    if backend == "bitsandbytes":
        backend += "_4bit" if stored.get("load_in_4bit") else "_8bit"
    auto = _auto(library)
    if backend not in auto.AUTO_QUANTIZATION_CONFIG_MAPPING:
        raise WeightsError(f"'{name}' is quantised by {backend!r}, which {library} cannot read")
    require_package(backend, f"'{name}' was saved quantised by {backend}")
    with _explained(f"'{name}', which was saved quantised by {backend},"):
        _ask(
            auto.AUTO_QUANTIZATION_CONFIG_MAPPING[backend].from_dict(dict(stored)),
            auto,
            library,
            True,
        )
    return backend


def require_package(backend: str, who: str = "quantization") -> None:
    """See that the package of ``backend`` is installed.

    Raises:
        OptionError: It is not.
    """
    known = BACKENDS.get(backend)
    if known is None or not known.module or _is_installed(known.module):
        return
    command = f"pip install {known.package}"
    raise OptionError(
        f"{who} needs the package {known.package}, a package that is not installed; install it: "
        f"{command}",
        code="package-missing",
        path="quantization",
        hint=command,
    )


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it is in
        return False


def _auto(library: str) -> Any:
    if library == "diffusers":
        from diffusers.quantizers import auto
    else:
        from transformers.quantizers import auto
    return auto


def _ask(config: Any, auto: Any, library: str, stored: bool) -> None:
    """Let the library's quantiser look for the packages and the device that it needs."""
    kinds = {"diffusers": "DiffusersAutoQuantizer", "transformers": "AutoHfQuantizer"}
    quantizer = getattr(auto, kinds[library]).from_config(config, pre_quantized=stored)
    quantizer.validate_environment(device_map=None)


def _keywords(
    wanted: Wanted, kind: Any, library: str, dtype: torch.dtype, keep: tuple[str, ...]
) -> dict[str, Any]:
    """The keywords of the configuration ``kind`` of a library."""
    keywords = dict(wanted.keywords)
    other, own = SPELLINGS.get(wanted.backend, {}).get(library, ("", ""))
    if other in keywords:
        keywords[own] = keywords.pop(other)
    if wanted.backend == "torchao":
        keywords = _torchao_keywords(keywords, kind)
    known = inspect.signature(kind.__init__).parameters
    for name in keywords:
        if name not in known:
            shown = ", ".join(sorted(known.keys() - {"self", "kwargs"}))
            raise ValueError(f"no keyword '{name}'; expected: {shown}.{did_you_mean(name, known)}")
    if wanted.backend.startswith("bitsandbytes"):
        keywords.setdefault(f"load_in_{wanted.backend[-4:]}", True)
    if wanted.short and wanted.backend == "bitsandbytes_4bit":
        keywords["bnb_4bit_compute_dtype"] = dtype
    if isinstance(keywords.get("compute_dtype"), str):
        keywords["compute_dtype"] = getattr(torch, keywords["compute_dtype"])
    if wanted.backend == GGUF:
        keywords.setdefault("compute_dtype", dtype)
    excluded = EXCLUDED.get(wanted.backend, "modules_to_not_convert")
    if keep and excluded in known:
        keywords[excluded] = [*(keywords.get(excluded) or ()), *keep]
    return keywords


def _torchao_keywords(keywords: dict[str, Any], kind: Any) -> dict[str, Any]:
    """torchao's own configuration by its class's name, made with the keywords that are not kind's.

    ``quant_type`` may be spelt as it was before torchao had classes: int8_weight_only.
    """
    import torchao.quantization  # pyright: ignore[reportMissingImports]

    name = keywords.get("quant_type")
    classes = {name: getattr(torchao.quantization, name) for name in dir(torchao.quantization)}
    plain = {_plain(known): known for known in classes if known.endswith("Config")}
    if not isinstance(name, str) or _plain(name) not in plain:
        raise ValueError(
            f"quant_type is {name!r}; expected one of torchao's: {', '.join(plain.values())}."
            f"{did_you_mean(str(name), plain.values())}"
        )
    chosen = classes[plain[_plain(name)]]
    mine = inspect.signature(chosen.__init__).parameters
    settings = {key: keywords.pop(key) for key in list(keywords) if key in mine}
    return {**keywords, "quant_type": chosen(**settings)}


def _plain(name: str) -> str:
    return re.sub(r"config$|_", "", name.lower())


@contextmanager
def _explained(who: str = "quantization") -> Iterator[None]:
    """Turn the libraries' refusals into one clear line."""
    try:
        yield
    except ImportError as error:
        raise OptionError(
            f"{who} needs a package that is not installed ({_line(error)}); install it, or leave "
            "quantization out",
            code="package-missing",
            path="quantization",
            hint="install it, or leave quantization out",
        ) from error
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        advice = (
            "use int8, fp8 or a GGUF file, which need none"
            if "GPU" in str(error)
            else "see diffusers' PipelineQuantizationConfig for its keys"
        )
        raise OptionError(
            f"{who} cannot be used: {_line(error)}; {advice}", path="quantization", hint=advice
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:800]
