"""A hub on this machine that has what the published repositories have, weights without numbers.

``listings.json`` says which files each repository has, their bytes as far as they are known (null:
small, or of a format that is never read), and how sure that is. The configurations are those of
the published architectures, as far as they are looked at.
"""

from __future__ import annotations

import inspect
import json
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit

import diffusers
import pytest
from safetensors.torch import save

LISTINGS: dict[str, Any] = json.loads(Path(__file__).with_name("listings.json").read_text("utf-8"))
PIPELINES = {
    "sd15": "StableDiffusionPipeline",
    "sd21": "StableDiffusionPipeline",
    "sdxl": "StableDiffusionXLPipeline",
    "flux": "FluxControlPipeline",
    "flux-base": "FluxPipeline",
    "sd35": "StableDiffusion3Pipeline",
    "sd35-medium": "StableDiffusion3Pipeline",
    "z-image": "ZImagePipeline",
    "qwen-image": "QwenImagePipeline",
    "ldm3d": "StableDiffusionLDM3DPipeline",
}
CLASSES = {
    "unet": ["diffusers", "UNet2DConditionModel"],
    "transformer": ["diffusers", "FluxTransformer2DModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    "feature_extractor": ["transformers", "CLIPImageProcessor"],
}
SECOND = {
    "sdxl": {
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
    },
    "flux": {
        "text_encoder_2": ["transformers", "T5EncoderModel"],
        "tokenizer_2": ["transformers", "T5TokenizerFast"],
    },
    "sd35": {
        "transformer": ["diffusers", "SD3Transformer2DModel"],
        "text_encoder": ["transformers", "CLIPTextModelWithProjection"],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
        "text_encoder_3": ["transformers", "T5EncoderModel"],
        "tokenizer_3": ["transformers", "T5TokenizerFast"],
    },
    "z-image": {
        "transformer": ["diffusers", "ZImageTransformer2DModel"],
        "text_encoder": ["transformers", "Qwen3Model"],
        "tokenizer": ["transformers", "Qwen2Tokenizer"],
    },
    "qwen-image": {
        "transformer": ["diffusers", "QwenImageTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderKLQwenImage"],
        "text_encoder": ["transformers", "Qwen2_5_VLForConditionalGeneration"],
        "tokenizer": ["transformers", "Qwen2Tokenizer"],
    },
}


@dataclass
class Hub:
    """The hub that runs, and what was asked of it.

    Args:
        files: The content of each file, by repository and path.
        commit: What every branch points to.
        fetched: (repository, path) of each file that was fetched.
    """

    files: dict[str, dict[str, bytes]]
    commit: str = "0" * 40
    fetched: list[tuple[str, str]] = field(default_factory=list)

    def weighty(self) -> dict[str, set[str]]:
        """The files with weights that were fetched, by repository."""
        found: dict[str, set[str]] = {}
        for repository, path in self.fetched:
            if LISTINGS[repository]["files"][path]:
                found.setdefault(repository, set()).add(path)
        return found

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and content for the path of a request."""
        owner, name, verb, *rest = [*path.strip("/").removeprefix("api/models/").split("/"), "", ""]
        repository = f"{owner}/{name}"
        if repository not in self.files:
            return 401, {"X-Error-Code": "RepoNotFound"}, b""
        if verb == "tree":
            entries = [
                {"type": "file", "path": path, "size": len(content), "oid": self.commit}
                for path, content in self.files[repository].items()
            ]
            return 200, {"Content-Type": "application/json"}, json.dumps(entries).encode()
        content = self.files[repository].get("/".join(rest[1:]).rstrip("/"))
        if content is None:
            return 404, {"X-Error-Code": "EntryNotFound"}, b""
        tag = {"ETag": f'"{sha256(content).hexdigest()}"', "X-Repo-Commit": self.commit}
        return 200, tag, content


@pytest.fixture
def hub(
    benchmark: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Hub]:
    """The hub, an empty cache, and nothing else to ask."""
    architectures = benchmark("architectures")
    hub = Hub({name: contents(name, architectures) for name in LISTINGS})

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.give(hub.answer(unquote(urlsplit(self.path).path)), with_content=False)

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            given = hub.answer(path)
            if "/resolve/" in path and given[0] == 200:
                repository, _, file = path.strip("/").partition("/resolve/")
                hub.fetched.append((repository, file.partition("/")[2]))
            self.give(given, with_content=True)

        def give(self, given: tuple[int, dict[str, str], bytes], with_content: bool) -> None:
            status, headers, content = given
            self.send_response(status)
            for header, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(header, value)
            self.end_headers()
            if with_content:
                self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    constants = "huggingface_hub.constants."
    monkeypatch.setattr(f"{constants}HF_HUB_OFFLINE", False)
    monkeypatch.setattr(f"{constants}HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(f"{constants}ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(f"{constants}HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", address)
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def contents(repository: str, architectures: ModuleType) -> dict[str, bytes]:
    """The content of each file of a repository."""
    listing = LISTINGS[repository]
    paths = list(listing["files"])
    return {path: content(listing["kind"], path, paths, architectures) for path in paths}


def content(kind: str, path: str, paths: list[str], architectures: ModuleType) -> bytes:
    if path.endswith(".safetensors"):
        return save({}, {"format": "pt", "of": f"{kind} {path}"})
    if path.endswith(".gguf"):
        return struct.pack("<4sIQQ", b"GGUF", 3, 0, 0)  # no tensors, and no fields
    if path.endswith(".index.json"):
        start = path.removesuffix(".safetensors.index.json")
        shards = [PurePosixPath(one).name for one in paths if one.startswith(f"{start}-0")]
        return json.dumps({"weight_map": {name: name for name in shards}}).encode()
    if path.endswith("vocab.json"):
        return b'{"<|startoftext|>": 0, "<|endoftext|>": 1}'
    if path.endswith("merges.txt"):
        return b"#version: 0.2\n"
    if path.endswith(".json"):
        return json.dumps(configuration(kind, path, architectures)).encode()
    return path.encode()


def configuration(kind: str, path: str, architectures: ModuleType) -> dict[str, Any]:
    """What a JSON file says."""
    if path == "model_index.json":
        return model_index(kind)
    if path == "config.json":
        family, _, base = kind.partition(":")
        if base.startswith("sd35"):
            return {"_class_name": "SD3ControlNetModel", **sd35(base, architectures, "_CONTROLNET")}
        if base == "qwen-image":
            own = architectures.QWEN_IMAGE_CONTROLNET
            return {**own, "_class_name": "QwenImageControlNetModel"}
        if base.startswith("flux"):
            sizes = {**architectures.FLUX_DEPTH, "in_channels": 64}
            own = architectures.FLUX_CONTROLNETS[base]
            return {**sizes, **own, "_class_name": "FluxControlNetModel"}
        if family == "controlnet":
            return {"_class_name": "ControlNetModel", **unet(base, architectures)}
        if family == "vae":
            return {"_class_name": "AutoencoderKL", "latent_channels": 4}
        return {"model_type": kind}
    if kind == "nf4":
        return packed(path, architectures)
    if kind in QWENS and path in (own := QWENS[kind](architectures)):
        return own[path]
    if path.startswith("text_encoder"):
        return {**architectures.CLIP_L, **architectures.T5_XXL}
    if path == "unet/config.json":
        return unet(kind, architectures)
    if path == "transformer/config.json" and kind.startswith("sd35"):
        return sd35(kind, architectures)
    if path == "transformer/config.json":
        channels = {"in_channels": 64, "out_channels": None} if kind == "flux-base" else {}
        return {**architectures.FLUX_DEPTH, **channels}
    if path == "vae/config.json":
        depth = {"out_channels": 4} if kind == "ldm3d" else {}
        return {"_class_name": "AutoencoderKL", "latent_channels": 4, **architectures.VAE, **depth}
    if path == "scheduler/scheduler_config.json" and kind.startswith("sd35"):
        return {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}
    if path == "scheduler/scheduler_config.json" and kind.startswith("flux"):
        return {"_class_name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": True}
    if path == "scheduler/scheduler_config.json":
        return {"_class_name": "EulerDiscreteScheduler", "beta_schedule": "scaled_linear"}
    return {}


def packed(path: str, architectures: ModuleType) -> dict[str, Any]:
    """What describes a part that was saved in nf4."""
    way = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
    kind = {**architectures.FLUX_DEPTH, "_class_name": "FluxTransformer2DModel"}
    if path.startswith("text_encoder_2/"):
        kind = {**architectures.T5_XXL, "architectures": ["T5EncoderModel"]}
    return {**kind, "quantization_config": way}


def z_image(architectures: ModuleType) -> dict[str, dict[str, Any]]:
    """The configurations of Z-Image by their paths."""
    return {
        "transformer/config.json": architectures.Z_IMAGE,
        "text_encoder/config.json": architectures.QWEN3_4B,
        "tokenizer/tokenizer_config.json": {"chat_template": "{{ messages[0]['content'] }}"},
        "scheduler/scheduler_config.json": {"_class_name": "FlowMatchEulerDiscreteScheduler"},
    }


def qwen_image(architectures: ModuleType) -> dict[str, dict[str, Any]]:
    """The configurations of Qwen-Image by their paths."""
    return {
        "transformer/config.json": architectures.QWEN_IMAGE,
        "text_encoder/config.json": {**architectures.QWEN_VL_7B, "vision_config": {}},
        "vae/config.json": {"_class_name": "AutoencoderKLQwenImage", **architectures.QWEN_VAE},
        "scheduler/scheduler_config.json": {
            "_class_name": "FlowMatchEulerDiscreteScheduler",
            "use_dynamic_shifting": True,
        },
    }


QWENS = {"z-image": z_image, "qwen-image": qwen_image}


def unet(kind: str, architectures: ModuleType) -> dict[str, Any]:
    family = "sd15" if kind == "ldm3d" else kind
    return {"in_channels": 4, **architectures.UNETS[family]}


def sd35(kind: str, architectures: ModuleType, part: str = "") -> dict[str, Any]:
    """A transformer of Stable Diffusion 3.5, or the ControlNet that goes with it."""
    size = "MEDIUM" if kind.endswith("medium") else "LARGE"
    return dict(getattr(architectures, f"SD35_{size}{part}"))


def model_index(kind: str) -> dict[str, Any]:
    """The index of a pipeline, with the parts that its class has."""
    name = PIPELINES[kind]
    known = inspect.signature(getattr(diffusers, name).__init__).parameters
    classes = CLASSES | SECOND.get(kind.removesuffix("-base").removesuffix("-medium"), {})
    parts = {part: classes[part] for part in classes if part in known}
    return {"_class_name": name, **parts}


@pytest.fixture
def listings() -> dict[str, Any]:
    """What each repository has."""
    return LISTINGS
