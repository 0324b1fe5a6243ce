"""What is wrong with an option, in one line."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, model_validator

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


class Options(Span):
    inner: Span = Span()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"start": "x"}, "mine: start is 'x': input should be a valid integer"),
        ({"start": 3, "stop": 2}, "mine: start is 3, after stop, 2"),
        ({"inner": {"start": 4}}, "mine: inner: start is 4, after stop, 1"),
        ({"inner": 3}, "mine: inner is 3: "),
        ({"strat": 3}, "Unknown option 'strat' for mine. It knows: inner, start, stop. Did you"),
        ({1: 3}, "The key 1 for mine is no text; quote it"),
        ({None: 3}, "The key None for mine is no text"),
    ],
)
def test_a_wrong_option_is_one_line_about_that_option(values, message) -> None:
    with pytest.raises(OptionError) as caught:
        validate_options(Options, values, "mine")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
