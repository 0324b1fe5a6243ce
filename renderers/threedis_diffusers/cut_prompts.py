"""Say which words of a prompt a model does not read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def cut_warnings(
    tokenizer: Any, named: Iterable[tuple[str, str]], window: int | None = None
) -> list[str]:
    """One line per prompt that is longer than the model's text window.

    Args:
        tokenizer: The model's tokenizer.
        named: What each prompt is called, and the prompt.
        window: Tokens it reads beside the special ones; None: as the tokenizer says.
    """
    if window is None:
        window = tokenizer.model_max_length - tokenizer.num_special_tokens_to_add()
    lines: list[str] = []
    for name, prompt in named:
        tokens = tokenizer(prompt, add_special_tokens=False, verbose=False).input_ids
        if len(tokens) > window:
            lost = _start(tokenizer.decode(tokens[window:]).strip(), 100)
            lines.append(
                f"{name} ({_start(prompt)!r}) has {len(tokens)} tokens, but the model reads "
                f"{window}; it did not read {lost!r}: shorten the prompt"
            )
    return lines


def _start(prompt: str, length: int = 40) -> str:
    return prompt if len(prompt) <= length else prompt[: length - 3] + "..."
