"""What an author of a plugin meets tells its fields in ``help()``, without opening any source."""

from __future__ import annotations

import inspect
from pydoc import render_doc

import pytest

from threedis_core.attention import JointAttention
from threedis_core.plugin import interfaces
from threedis_core.plugin.interfaces import Backend, Capabilities, RenderRequest, RenderResult
from threedis_diffusers.backend import DiffusersRenderer, LoadedPipeline
from threedis_diffusers.batch import Batch, Drawn
from threedis_diffusers.lazy_model import LazyModel
from threedis_diffusers.steps import OnStep, StepCounter

MET = [
    *(Backend, Capabilities, RenderRequest, RenderResult),
    *(DiffusersRenderer, LoadedPipeline, Batch, Drawn, LazyModel, StepCounter, JointAttention),
]


@pytest.mark.parametrize("kind", MET, ids=lambda kind: kind.__name__)
def test_every_field_of_what_an_author_meets_is_told(kind: type) -> None:
    fields = [name for name in inspect.get_annotations(kind) if not name.startswith("_")]
    told = inspect.getdoc(kind) or ""
    assert [name for name in fields if f"{name}: " not in told and name != "just_done"] == []


def test_what_draw_is_given_says_when_to_call_it() -> None:
    told = render_doc(OnStep)
    assert "after each time step" in told
    assert "1 after the first" in told


def test_every_interface_tells_what_its_methods_raise_or_that_they_are_cheap() -> None:
    own = [one for one in vars(interfaces).values() if inspect.isclass(one)]
    for kind in own:
        if issubclass(kind, Backend):
            assert inspect.getdoc(kind), kind
            for name in kind.__abstractmethods__:
                assert len(inspect.getdoc(getattr(kind, name)) or "") > 60, (kind, name)
