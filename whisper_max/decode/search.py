"""How the next token of one window is chosen: greedily, by sampling, or by beam search.

A search sees the logits of its window's hypotheses after the rules, (n_hyps, n_vocab) float32, and appends one token
to each. It knows nothing of other windows, so a window's transcript never depends on its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from whisper_max.decode.inference import Float32
from whisper_max.decode.options import DecodingOptions
from whisper_max.errors import OptionError, WhisperMaxError


@dataclass(frozen=True)
class Candidate:
    """A finished transcript: its tokens, the end left out, and the sum of log-probabilities, the end's included."""

    tokens: list[int]
    sum_logprob: float


class Search(Protocol):
    """The search for one window's transcript."""

    sampled: list[list[int]]
    """Each hypothesis' tokens so far, equally many."""

    def update(self, logits: Float32) -> NDArray[np.int32] | None:
        """Append a token to each hypothesis.

        Returns:
            (n_hyps,) the hypothesis that each one continues; None where each continues itself.
        """
        ...

    @property
    def done(self) -> bool:
        """True when no hypothesis needs another token."""
        ...

    def candidates(self) -> list[Candidate]:
        """The transcripts to choose from; called once, at the end."""
        ...


class GreedySearch:
    """The likeliest token, each time."""

    def __init__(self, eot: int) -> None:
        self.sampled: list[list[int]] = [[]]
        self._eot = eot
        self._sum_logprob = np.float32(0)

    def update(self, logits: Float32) -> None:
        """Append the likeliest token; logits: (1, n_vocab)."""
        row = logits[0]
        token = int(row.argmax())
        self._sum_logprob += row[token] - log_sum_exp(row, row[token])
        self.sampled[0].append(token)

    @property
    def done(self) -> bool:
        """True after the end token."""
        return self.sampled[0][-1] == self._eot

    def candidates(self) -> list[Candidate]:
        """The one transcript."""
        return [Candidate(_until(self.sampled[0], self._eot), float(self._sum_logprob))]


class SamplingSearch:
    """Independent samples at a temperature, each with a random stream of its own."""

    def __init__(self, eot: int, temperature: float, streams: Sequence[np.random.Generator]) -> None:
        self.sampled: list[list[int]] = [[] for _ in streams]
        self._eot = eot
        self._temperature = np.float32(temperature)
        self._streams = streams
        self._sums = np.zeros(len(streams), np.float32)

    def update(self, logits: Float32) -> None:
        """Append a sample to each hypothesis that has not ended, and the end token to the others."""
        for hyp, (tokens, row) in enumerate(zip(self.sampled, logits, strict=True)):
            if tokens and tokens[-1] == self._eot:
                tokens.append(self._eot)
                continue
            best = row.max()
            token = self._sample(row, best, self._streams[hyp])
            self._sums[hyp] += row[token] - log_sum_exp(row, best)
            tokens.append(token)

    def _sample(self, row: Float32, best: np.float32, stream: np.random.Generator) -> int:
        cumulative = np.cumsum(np.exp((row - best) / self._temperature), dtype=np.float64)
        point = float(stream.random(dtype=np.float32)) * cumulative[-1]  # at most 1 - 2**-24 of the total
        return int(np.searchsorted(cumulative, point, side="right"))

    @property
    def done(self) -> bool:
        """True when every sample has ended."""
        return all(tokens[-1] == self._eot for tokens in self.sampled)

    def candidates(self) -> list[Candidate]:
        """All samples."""
        sums = self._sums.tolist()
        return [Candidate(_until(tokens, self._eot), total) for tokens, total in zip(self.sampled, sums, strict=True)]


class BeamSearch:
    """The ``beam_size`` best continuations at each step, until enough of them have ended.

    openai/whisper ``decoding.py``, ``BeamSearchDecoder``; patience as in arXiv:2204.05424.
    """

    def __init__(self, eot: int, beam_size: int, patience: float | None) -> None:
        self.sampled: list[list[int]] = [[] for _ in range(beam_size)]
        self._eot = eot
        self._beam_size = beam_size
        self._max_candidates = round(beam_size * (patience or 1.0))
        self._sums = np.zeros(beam_size, np.float32)
        self._finished: list[Candidate] = []

    def update(self, logits: Float32) -> NDArray[np.int32]:
        """Replace the beams by the best continuations of them all."""
        alive = logits if self.sampled[0] else logits[:1]  # at first all beams are the same
        ranked = sorted(self._continuations(alive), key=lambda each: each[0], reverse=True)
        beams: list[tuple[float, int, int]] = []
        for total, beam, token in ranked:
            if token != self._eot:
                beams.append((total, beam, token))
            elif len(self._finished) < self._max_candidates:
                self._finished.append(Candidate(self.sampled[beam], total))
            if len(beams) == self._beam_size:
                break
        self.sampled = [[*self.sampled[beam], token] for _, beam, token in beams]
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
        unfinished = [Candidate(self.sampled[beam], float(self._sums[beam])) for beam in best_first]
        return self._finished + unfinished


def new_search(options: DecodingOptions, eot: int, stream: Sequence[int]) -> Search:
    """The search that the options ask for.

    stream: what identifies the window among those with the same seed, for its random numbers.
    """
    if options.beam_size is not None:
        return BeamSearch(eot, options.beam_size, options.patience)
    if options.temperature == 0:
        return GreedySearch(eot)
    return SamplingSearch(eot, options.temperature, random_streams(options, stream))


def random_streams(options: DecodingOptions, stream: Sequence[int]) -> list[np.random.Generator]:
    """One generator for each sample, from seed, window, temperature and sample alone."""
    temperature_bits = int(np.float64(options.temperature).view(np.uint64))
    return [
        np.random.Generator(np.random.Philox(np.random.SeedSequence([options.seed, *stream, temperature_bits, hyp])))
        for hyp in range(options.n_hyps)
    ]


def best_candidate(candidates: Sequence[Candidate], length_penalty: float | None) -> Candidate:
    """The candidate with the highest log-probability per token, or by Google NMT's penalty (arXiv:1609.08144).

    Among equals the first one. An empty transcript counts as one token long.
    """

    def score(candidate: Candidate) -> float:
        length = len(candidate.tokens)
        if length_penalty is None:
            return candidate.sum_logprob / max(length, 1)
        return float(candidate.sum_logprob / ((5 + length) / 6) ** length_penalty)

    return max(candidates, key=score)


def log_sum_exp(row: Float32, best: np.float32) -> np.float32:
    """log(sum(exp(row))), given its largest value.

    Raises:
        OptionError: every token is suppressed.
        WhisperMaxError: the logits hold a NaN or an infinity.
    """
    if np.isneginf(best):
        raise OptionError("the options leave no token to choose from", where="suppress_tokens")
    total: np.float32 = best + np.log(np.exp(row - best).sum())
    if not np.isfinite(total):
        raise WhisperMaxError("the model returned logits that are not finite", found=total)
    return total


def largest(row: Float32, count: int) -> NDArray[np.intp]:
    """Where the ``count`` largest values are, largest first, among equals the first one first.

    The largest values of as many blocks are ``count`` values, so none of the sought ones is smaller than they are.
    """
    blocks = row[: len(row) // _BLOCK * _BLOCK].reshape(-1, _BLOCK).max(axis=1)
    floor = np.partition(blocks, -count)[-count] if count <= len(blocks) else -np.inf
    among = np.flatnonzero(row >= floor)
    return among[np.argsort(-row[among], kind="stable")[:count]]


_BLOCK = 256  # values; about the square root of the vocabulary


def _until(tokens: list[int], eot: int) -> list[int]:
    return tokens[: tokens.index(eot)] if eot in tokens else tokens
