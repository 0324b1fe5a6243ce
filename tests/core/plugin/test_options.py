"""What is wrong with an option, in one line."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from threedis_core.errors import OptionError
from threedis_core.plugin.options import validate_options


class Span(BaseModel):
    start: int = 0
    stop: int = 1

    @model_validator(mode="after")
    def _in_order(self) -> Span:
        if self.stop < self.start:
            raise ValueError(f"Start is {self.start}, after stop, {self.stop}")
        return self


class Circle(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["circle"]
    radius: int


class Square(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["square"]
    side: int


class Options(Span):
    inner: Span = Span()
    shape: Annotated[Circle | Square, Field(discriminator="kind")] | None = None
    circles: list[Circle] = []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"start": "x"}, "mine: start is 'x': expected a whole number"),
        ({"start": 3, "stop": 2}, "mine: start is 3, after stop, 2"),
        ({"inner": {"start": 4}}, "mine: inner: start is 4, after stop, 1"),
        ({"inner": 3}, "mine: inner is 3: expected a mapping of names to values"),
        ({"start": 2.5}, "mine: start is 2.5: expected a whole number"),
        ({"circles": 3}, "mine: circles is 3: expected a list"),
        (
            {"strat": 3},
            "Unknown option 'strat' for mine. It knows: circles, inner, shape, start, stop. Did",
        ),
        (
            {"shape": {"kind": "square", "sid": 3}},
            "mine: shape.square.sid is not a known field; known are kind, side. Did you mean "
            "'side'? (and 1 more)",
        ),
        (
            {"circles": [{"kind": "circle", "radius": 1, "x": 3}]},
            "mine: circles.0.x is not a known field; known are kind, radius.",
        ),
        ({1: 3}, "The key 1 for mine is no text; quote it"),
        ({None: 3}, "The key None for mine is no text"),
    ],
)
def test_a_wrong_option_is_one_line_about_that_option(values, message) -> None:
    with pytest.raises(OptionError) as caught:
        validate_options(Options, values, "mine")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
