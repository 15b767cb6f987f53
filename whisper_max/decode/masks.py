"""The rules of a transcript as masks over the vocabulary, for a device that chooses tokens itself."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from whisper_max.decode.rules import LogitRule, SuppressBlank, SuppressTokens, TimestampRules
from whisper_max.text.tokenizer import Tokenizer

_UNLIKELY = np.float32(-1e9)


@dataclass(frozen=True, eq=False)
class TokenMasks:
    """The rules as masks; what they remember of a transcript is the device's business.

    never, not_first: (n_vocab,) bool. timestamp_begin: n_vocab where timestamps have no rules.
    """

    never: NDArray[np.bool_]
    not_first: NDArray[np.bool_]
    eot: int
    timestamp_begin: int
    no_speech: int

    @cached_property
    def key(self) -> Hashable:
        """Equal for equal masks."""
        bits = (np.packbits(self.never).tobytes(), np.packbits(self.not_first).tobytes())
        return (*bits, self.eot, self.timestamp_begin, self.no_speech)


def token_masks(rules: Sequence[LogitRule], tokenizer: Tokenizer, n_vocab: int) -> TokenMasks | None:
    """Rules as masks, or None where one of them can't be: the penalties for repetition."""
    never, not_first = np.zeros((2, n_vocab), np.bool_)
    timestamp_begin = n_vocab
    for rule in rules:
        row = np.zeros((1, n_vocab), np.float32)
        if isinstance(rule, SuppressBlank):
            rule.apply(row, [[]])
            not_first |= np.isneginf(row[0])
        elif isinstance(rule, SuppressTokens):
            rule.apply(row, [[]])
            never |= np.isneginf(row[0])
        elif isinstance(rule, TimestampRules):
            timestamp_begin = tokenizer.timestamp_begin
            rule.apply(row, [[]])
            not_first |= np.isneginf(row[0])
            row = np.zeros((1, n_vocab), np.float32)
            row[:, timestamp_begin:] = _UNLIKELY  # so that they don't win over text
            rule.apply(row, [[0]])
            never |= np.isneginf(row[0])
        else:
            return None
    return TokenMasks(never, not_first, tokenizer.eot, timestamp_begin, tokenizer.no_speech)
