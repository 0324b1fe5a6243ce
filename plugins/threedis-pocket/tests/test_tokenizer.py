from __future__ import annotations

from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from threedis_pocket.shapes import SHAPES
from threedis_pocket.tokenizer import build_tokenizer
from threedis_pocket.world import COLOURS


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return build_tokenizer()


@pytest.mark.parametrize("word", [*COLOURS, *SHAPES, *(f"{shape}s" for shape in SHAPES)])
def test_no_word_of_the_world_is_split(tokenizer: CLIPTokenizer, word: str) -> None:
    assert len(tokenizer.tokenize(word)) == 1


def test_any_text_can_be_written(tokenizer: CLIPTokenizer) -> None:
    text = "ein grünes Häuschen, 緑の家"
    ids = tokenizer(text).input_ids
    assert tokenizer.unk_token_id not in ids[1:-1]
    assert tokenizer.decode(ids, skip_special_tokens=True).replace(" ", "") == text.lower().replace(
        " ", ""
    )


def test_it_survives_saving(tokenizer: CLIPTokenizer, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    again = CLIPTokenizer.from_pretrained(tmp_path)
    text = "a red sphere, an orange cube and a cat"
    assert again(text).input_ids == tokenizer(text).input_ids
    padded = again(text, padding="max_length", max_length=77).input_ids
    assert len(padded) == 77
    assert padded[-1] == again.eos_token_id
