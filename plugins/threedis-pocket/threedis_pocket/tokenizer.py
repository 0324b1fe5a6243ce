"""A CLIP tokenizer for the pocket world: byte-level, so that any text works, with whole words."""

from __future__ import annotations

from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

from threedis_pocket.shapes import SHAPES
from threedis_pocket.world import COLOURS

_LINKS = ("a", "an", "and", "the", "on", "of", "in", "with", ",", ".")
_PLACES = ("floor", "room", "picture", "photo", "nothing")
_QUALITY = ("masterpiece", "best", "quality", "worst", "low", "bad", "anatomy", "watermark")
_OTHER_WORDS = (*_LINKS, *_PLACES, *_QUALITY, "text", "blurry")
WORDS = (*COLOURS, *SHAPES, *(f"{shape}s" for shape in SHAPES), *_OTHER_WORDS)
"""Every word that is a token of its own."""
BOS, EOS = "<|startoftext|>", "<|endoftext|>"


def _merge(word: str, merges: list[tuple[str, str]]) -> list[str]:
    """Split a word as byte-pair encoding does: always the earliest merge first."""
    parts = [*word[:-1], word[-1] + "</w>"]
    rank = {pair: i for i, pair in enumerate(merges)}
    while len(parts) > 1:
        best = min(range(len(parts) - 1), key=lambda i: rank.get((parts[i], parts[i + 1]), 1 << 30))
        if (parts[best], parts[best + 1]) not in rank:
            break
        parts[best : best + 2] = [parts[best] + parts[best + 1]]
    return parts


def build_tokenizer() -> CLIPTokenizer:
    """Make the tokenizer; every colour and shape word, and its plural, is one token.

    Merges are added one at a time: a merge added later ranks lower, so it never splits a word
    that was whole before.
    """
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        while len(parts := _merge(word, merges)) > 1:
            merges.append((parts[0], parts[1]))
    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(f"{c}</w>" for c in letters), *("".join(m) for m in merges), BOS, EOS]
    vocab = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(
        vocab=vocab,
        merges=merges,
        model_max_length=77,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=EOS,
        pad_token=EOS,
    )
