"""Every option says what it is: docs, ``threedis plugins`` and forms are made of that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from threedis_core.plugin.discovery import load_plugins

REGISTRY = load_plugins()
MAKERS = {
    "renderer": REGISTRY.renderer,
    "depth model": REGISTRY.depth_model,
    "depth estimator": REGISTRY.depth_estimator,
    "region refiner": REGISTRY.region_refiner,
    "instance detector": REGISTRY.instance_detector,
    "metric": REGISTRY.metric,
}
MODELS = {
    f"{kind} {name}": make(name).Options
    for kind, make in MAKERS.items()
    for name in REGISTRY.names(kind)
}


def fields(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, str | None]]:
    """Every field's path and description, those of nested models too."""
    for name, field in model.model_fields.items():
        yield f"{path}{name}", field.description
        for nested in models_in(field.annotation):
            yield from fields(nested, f"{path}{name}.")


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The options models that an annotation names, however deep."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)


@pytest.mark.parametrize("owner", MODELS)
def test_every_option_has_a_description_of_a_sentence(owner: str) -> None:
    for name, description in fields(MODELS[owner]):
        assert description, f"{owner} has no description of '{name}'"
        assert description.endswith("."), f"{owner}: '{name}' is described by no sentence"
        assert len(description) > 20


@pytest.mark.parametrize("owner", MODELS)
def test_the_schema_of_a_form_has_them_under_the_names_that_are_shown(owner: str) -> None:
    properties = MODELS[owner].model_json_schema().get("properties", {})
    assert properties.keys() == MODELS[owner].model_fields.keys()
    assert all("description" in field for field in properties.values())
