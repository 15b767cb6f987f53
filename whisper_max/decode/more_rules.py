"""Logit rules beyond openai-whisper's: against words said before, an early end, and tokens by their text."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from whisper_max.decode.contract import Float32
from whisper_max.text.tokenizer import Tokenizer

_NUMERALS = frozenset("0123456789%$£")


class RepetitionPenalty:
    """Text tokens already sampled in this window become less likely (CTRL, arXiv:1909.05858)."""

    def __init__(self, penalty: float, tokenizer: Tokenizer) -> None:
        self._penalty = np.float32(penalty)
        self._is_text = tokenizer.is_text

    def apply(self, logits: Float32, sampled: Sequence[Sequence[int]]) -> None:
        """Acts on every token."""
        for row, tokens in zip(logits, sampled, strict=True):
            seen = np.array([token for token in set(tokens) if self._is_text(token)], dtype=np.intp)
            values = row[seen]
            row[seen] = np.where(values < 0, values * self._penalty, values / self._penalty)


class NoRepeatNgram:
    """No n text tokens in a row come twice in a window; timestamps between them don't count."""

    def __init__(self, size: int, tokenizer: Tokenizer) -> None:
        self._size = size
        self._is_text = tokenizer.is_text

    def apply(self, logits: Float32, sampled: Sequence[Sequence[int]]) -> None:
        """Acts on every token."""
        for row, tokens in zip(logits, sampled, strict=True):
            row[self._completions([token for token in tokens if self._is_text(token)])] = -np.inf

    def _completions(self, text: Sequence[int]) -> NDArray[np.intp]:
        """The tokens that would complete an n-gram seen before."""
        before = self._size - 1
        last = list(text[len(text) - before :])
        starts = range(len(text) - before) if len(text) >= before else ()
        return np.array([text[i + before] for i in starts if list(text[i : i + before]) == last], dtype=np.intp)


class SpeechGoesOn:
    """A transcript is not over after a pair of timestamps before the first one at which it may be.

    earliest: that timestamp's token.
    """

    def __init__(self, tokenizer: Tokenizer, earliest: int) -> None:
        self._tokenizer = tokenizer
        self._earliest = earliest

    def apply(self, logits: Float32, sampled: Sequence[Sequence[int]]) -> None:
        """Acts after each pair of timestamps."""
        for row, tokens in zip(logits, sampled, strict=True):
            is_pair = len(tokens) > 1 and all(self._tokenizer.is_timestamp(token) for token in tokens[-2:])
            if is_pair and tokens[-1] < self._earliest:
                row[self._tokenizer.eot] = -np.inf


def suppressed_texts(tokenizer: Tokenizer, numerals: bool, regex: str | None) -> set[int]:
    """The tokens of digits and currency signs, where asked for, and those whose whole text a pattern matches."""
    texts = [(token, tokenizer.decode([token])) for token in range(tokenizer.n_vocab) if tokenizer.is_text(token)]
    suppressed: set[int] = set()
    if numerals:
        suppressed |= {token for token, text in texts if not _NUMERALS.isdisjoint(text)}
    if regex is not None:
        pattern = re.compile(regex)
        suppressed |= {token for token, text in texts if pattern.fullmatch(text)}
    return suppressed
