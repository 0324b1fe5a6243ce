"""Say which words of a prompt a model does not read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TokenizedPrompt:
    """A prompt in a tokenizer's tokens.

    Args:
        name: What a person would call it.
        prompt: The prompt.
        ids: Its tokens, all of them, without the special ones.
    """

    name: str
    prompt: str
    ids: Sequence[int]


def tokenize(tokenizer: Any, named: Iterable[tuple[str, str]]) -> list[TokenizedPrompt]:
    """Tokenize prompts, all at once.

    Args:
        tokenizer: The model's tokenizer.
        named: What each prompt is called, and the prompt.
    """
    known = list(named)
    if not known:
        return []
    texts = [prompt for _, prompt in known]
    ids = tokenizer(texts, add_special_tokens=False, verbose=False).input_ids
    return [TokenizedPrompt(*one, tokens) for one, tokens in zip(known, ids, strict=True)]


def cut_warnings(
    tokenizer: Any, prompts: Iterable[TokenizedPrompt], window: int | None = None
) -> list[str]:
    """One line per prompt that is longer than the model's text window.

    Args:
        tokenizer: The model's tokenizer.
        prompts: What ``tokenize`` made with it.
        window: Tokens it reads beside the special ones; None: as the tokenizer says.
    """
    if window is None:
        window = int(tokenizer.model_max_length - tokenizer.num_special_tokens_to_add())
    lines: list[str] = []
    for one in prompts:
        if len(one.ids) > window:
            lost = _start(tokenizer.decode(one.ids[window:]).strip(), 100)
            lines.append(
                f"{one.name} ({_start(one.prompt)!r}) has {len(one.ids)} tokens, but the model "
                f"reads {window}; it did not read {lost!r}: shorten the prompt"
            )
    return lines


def _start(prompt: str, length: int = 40) -> str:
    return prompt if len(prompt) <= length else prompt[: length - 3] + "..."
