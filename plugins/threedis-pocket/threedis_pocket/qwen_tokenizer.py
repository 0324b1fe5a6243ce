"""A Qwen tokenizer for the pocket world: byte-level, its words whole, prompts in a chat's form."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerBase, Qwen2Tokenizer

from threedis_pocket.tokenizer import WORDS

PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPACE = "\u0120"
"""How a byte-level tokenizer writes a space."""
TEMPLATE = (
    "{% for message in messages %}" + START + "{{ message['content'] }}" + END + "{% endfor %}"
)
"""Qwen's, without the roles: each of its tokens would cost as much as a word."""


def build_qwen_tokenizer(more: Sequence[str] = ()) -> Qwen2Tokenizer:
    """Make the tokenizer; every word, with a space before it or not, is one token.

    Args:
        more: Words beside those of the pocket world.
    """
    merges: list[tuple[str, str]] = []
    for word in (one for bare in (*WORDS, *more) for one in (SPACE + bare, bare)):
        while len(parts := _merge(word, merges)) > 1:
            merges.append((parts[0], parts[1]))
    tokens = [*sorted(ByteLevel.alphabet()), *("".join(pair) for pair in merges), PAD, START, END]
    tokenizer = Qwen2Tokenizer(
        vocab={token: number for number, token in enumerate(dict.fromkeys(tokens))},
        merges=merges,  # pyright: ignore[reportArgumentType]
        extra_special_tokens=[START, END],
        model_max_length=512,
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def templated(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[str]:
    """The texts as Z-Image's pipelines hand them to the tokenizer."""
    return [
        str(
            tokenizer.apply_chat_template(
                [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True
            )
        )
        for text in texts
    ]


def _merge(word: str, merges: list[tuple[str, str]]) -> list[str]:
    """Split a word as byte-pair encoding does: always the earliest merge first."""
    parts = list(word)
    rank = {pair: i for i, pair in enumerate(merges)}
    while len(parts) > 1:
        best = min(range(len(parts) - 1), key=lambda i: rank.get((parts[i], parts[i + 1]), 1 << 30))
        if (parts[best], parts[best + 1]) not in rank:
            break
        parts[best : best + 2] = [parts[best] + parts[best + 1]]
    return parts
