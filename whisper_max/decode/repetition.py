"""Logit rules against a transcript that repeats itself; see ``rules``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from whisper_max.decode.contract import Float32
from whisper_max.decode.decoded import Loop
from whisper_max.text.tokenizer import Tokenizer


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


class ForbidLoops:
    """What was said over and over is not said again; timestamps between text tokens don't count."""

    def __init__(self, loops: Iterable[Loop], tokenizer: Tokenizer) -> None:
        self._sequences = sorted({sequence for loop in loops for sequence in loop.forbidden})
        self._is_text = tokenizer.is_text

    def apply(self, logits: Float32, sampled: Sequence[Sequence[int]]) -> None:
        """Acts on every token."""
        for row, tokens in zip(logits, sampled, strict=True):
            text = tuple(token for token in tokens if self._is_text(token))
            for *before, last in self._sequences:
                if text[len(text) - len(before) :] == tuple(before):
                    row[last] = -np.inf
