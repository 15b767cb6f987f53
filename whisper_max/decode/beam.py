"""Beam search: the best continuations of all hypotheses together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from whisper_max.decode.contract import Float32
from whisper_max.decode.search import Candidate, log_sum_exp

_BLOCK = 256  # values; about the square root of the vocabulary


class BeamSearch:
    """The ``beam_size`` best continuations at each step, until enough of them have ended.

    openai/whisper ``decoding.py``, ``BeamSearchDecoder``; patience as in arXiv:2204.05424.
    """

    def __init__(self, eot: int, beam_size: int, patience: float | None, begun: Sequence[int] = ()) -> None:
        self.sampled: list[list[int]] = [[*begun] for _ in range(beam_size)]
        self._logprobs: list[list[float]] = [[] for _ in range(beam_size)]
        self._eot = eot
        self._beam_size = beam_size
        self._max_candidates = round(beam_size * (patience or 1.0))
        self._sums = np.zeros(beam_size, np.float32)
        self._finished: list[Candidate] = []

    def update(self, logits: Float32) -> NDArray[np.int32]:
        """Replace the beams by the best continuations of them all."""
        alive = logits if self._logprobs[0] else logits[:1]  # at first all beams are the same
        ranked = sorted(self._continuations(alive), key=lambda each: each[0], reverse=True)
        beams: list[tuple[float, int, int]] = []
        for total, beam, token in ranked:
            if token != self._eot:
                beams.append((total, beam, token))
            elif len(self._finished) < self._max_candidates:
                self._finished.append(Candidate(self.sampled[beam], total, self._logprobs[beam]))
            if len(beams) == self._beam_size:
                break
        self.sampled = [[*self.sampled[beam], token] for _, beam, token in beams]
        before = self._sums.tolist()
        self._logprobs = [[*self._logprobs[beam], total - before[beam]] for total, beam, _ in beams]
        self._sums = np.array([total for total, _, _ in beams], np.float32)
        return np.array([beam for _, beam, _ in beams], np.int32)

    def _continuations(self, logits: Float32) -> list[tuple[float, int, int]]:
        """(sum of log-probabilities, beam, token) of the ``beam_size + 1`` likeliest tokens of each beam."""
        found = []
        for beam, row in enumerate(logits):
            tokens = largest(row, self._beam_size + 1)
            logprobs = row[tokens] - log_sum_exp(row, row[tokens[0]])
            totals = (self._sums[beam] + logprobs).tolist()
            found += [(total, beam, token) for total, token in zip(totals, tokens.tolist(), strict=True)]
        return found

    @property
    def done(self) -> bool:
        """True when enough beams have ended."""
        return len(self._finished) >= self._max_candidates

    def candidates(self) -> list[Candidate]:
        """The beams that ended; where they are fewer than ``beam_size``, the best unfinished ones as well."""
        missing = max(0, self._beam_size - len(self._finished))
        best_first = np.argsort(self._sums)[::-1][:missing]
        unfinished = [
            Candidate(self.sampled[beam], float(self._sums[beam]), self._logprobs[beam]) for beam in best_first
        ]
        return self._finished + unfinished


def largest(row: Float32, count: int) -> NDArray[np.intp]:
    """Where the ``count`` largest values are, largest first, among equals the first one first.

    The largest values of as many blocks are ``count`` values, so none of the sought ones is smaller than they are.
    """
    blocks = row[: len(row) // _BLOCK * _BLOCK].reshape(-1, _BLOCK).max(axis=1)
    floor = np.partition(blocks, -count)[-count] if count <= len(blocks) else -np.inf
    among = np.flatnonzero(row >= floor)
    return among[np.argsort(-row[among], kind="stable")[:count]]
