"""Words that a model does not read are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import CLIPTokenizer

from threedis_diffusers.cut_prompts import cut_warnings, tokenize

GOLDEN = Path(__file__).parents[1] / "golden"


class Counting:
    """A tokenizer that notes what it is given."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.given: list[Any] = []

    def __call__(self, texts: Any, **options: Any) -> Any:
        self.given.append(texts)
        return self.tokenizer(texts, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tokenizer, name)


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(GOLDEN / "sd15_pipe" / "tokenizer")


@pytest.mark.parametrize(("window", "lines"), [(None, 0), (9, 0), (8, 1), (1, 1)])
def test_a_prompt_is_told_when_it_is_longer_than_the_window(
    window: int | None, lines: int, tokenizer: CLIPTokenizer
) -> None:
    prompt = "a red cat"
    tokens = len(tokenizer(prompt, add_special_tokens=False).input_ids)
    given = None if window is None else window - 9 + tokens
    made = cut_warnings(tokenizer, tokenize(tokenizer, [("the prompt", prompt)]), given)
    assert len(made) == lines
    assert all(line.startswith("the prompt ('a red cat') has") for line in made)


def test_prompts_are_tokenized_all_at_once(tokenizer: CLIPTokenizer) -> None:
    counting = Counting(tokenizer)
    made = tokenize(counting, [("one", "a red cat"), ("two", "")])
    assert counting.given == [["a red cat", ""]]
    assert [(one.name, len(one.ids) > 0) for one in made] == [("one", True), ("two", False)]
    assert tokenize(counting, []) == []
    assert len(counting.given) == 1
