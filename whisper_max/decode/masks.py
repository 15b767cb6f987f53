"""The rules of a transcript as masks over the vocabulary, for a device that chooses tokens itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whisper_max.decode.device_contract import TokenMasks
from whisper_max.decode.rules import LogitRule, SuppressBlank, SuppressTokens, TimestampRules
from whisper_max.text.tokenizer import Tokenizer

_UNLIKELY = np.float32(-1e9)


def token_masks(rules: Sequence[LogitRule], tokenizer: Tokenizer, n_vocab: int) -> TokenMasks | None:
    """Rules as masks, or None where one of them can't be: the penalties for repetition, words behind timestamps."""
    if tokenizer.vocabulary.words:
        return None
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
