"""The tokenizer of a model that reads texts: its files, which must be there before any weights."""

from __future__ import annotations

from dataclasses import dataclass

from threedis_diffusers.model_files.checks import read_configuration
from threedis_diffusers.model_files.sources import ModelSource

CONFIGURATION = "tokenizer_config.json"
WHOLE = "tokenizer.json"
"""A tokenizer in one file."""
OTHERS = ("special_tokens_map.json", "added_tokens.json")


@dataclass(frozen=True)
class Words:
    """What a tokenizer is.

    Args:
        tokenizer_class: Its class in transformers.
        files: Its words, where they are not all in ``tokenizer.json``.
    """

    tokenizer_class: str
    files: tuple[str, ...]

    def find(self, source: ModelSource) -> tuple[str, ...]:
        """See that the words are there: without them it would read nothing, and say nothing.

        Returns:
            The files to fetch.
        Raises:
            WeightsError: They are not there, or the configuration names code.
        """
        read_configuration(source, CONFIGURATION)
        is_there = source.on_this_machine
        parts_here = all(is_there(file) for file in self.files)
        whole = is_there(WHOLE) is not None or (not parts_here and source.has(WHOLE))
        if not (whole or parts_here):
            for file in self.files:
                source.require(file)
        more = tuple(file for file in OTHERS if is_there(file) is not None)
        words = (WHOLE,) if whole else self.files
        also = self.files if whole and parts_here else ()
        return (CONFIGURATION, *words, *also, *more)


BERT = Words("BertTokenizer", ("vocab.txt",))
CLIP = Words("CLIPTokenizer", ("vocab.json", "merges.txt"))
