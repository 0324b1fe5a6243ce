"""A T5 tokenizer for the pocket world: its words whole, anything else letter by letter."""

from __future__ import annotations

import string

from transformers import T5TokenizerFast

from threedis_pocket.tokenizer import WORDS

PAD, EOS, UNKNOWN, SPACE = "<pad>", "</s>", "<unk>", "\u2581"


def build_t5_tokenizer() -> T5TokenizerFast:
    """Make the tokenizer: a unigram vocabulary whose words cost less than their letters.

    T5 writes a word that follows a space with the space's mark before it; letters outside
    printable ASCII become ``<unk>``.
    """
    letters = [c for c in string.printable if not c.isspace()]
    pieces = [
        *((token, 0.0) for token in (PAD, EOS)),
        (UNKNOWN, -20.0),
        (SPACE, -3.0),
        *((SPACE + word, -1.0) for word in WORDS if word.isalpha()),
        *((letter, -10.0) for letter in letters),
    ]
    return T5TokenizerFast(
        vocab=pieces, extra_ids=0, eos_token=EOS, pad_token=PAD, unk_token=UNKNOWN
    )
