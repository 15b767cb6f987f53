"""Tokens drawn by chance at a temperature above 0, each hypothesis by a random stream of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whisper_max.decode.contract import Float32
from whisper_max.decode.options import DecodingOptions
from whisper_max.decode.search import Candidate, candidate_of, log_sum_exp


class SamplingSearch:
    """Independent samples at a temperature, each with a random stream of its own."""

    def __init__(
        self, eot: int, temperature: float, streams: Sequence[np.random.Generator], begun: Sequence[int] = ()
    ) -> None:
        self.sampled: list[list[int]] = [[*begun] for _ in streams]
        self._logprobs: list[list[float]] = [[] for _ in streams]
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
            logprob = row[token] - log_sum_exp(row, best)
            self._sums[hyp] += logprob
            self._logprobs[hyp].append(float(logprob))
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
        """The transcripts of all samples."""
        samples = zip(self.sampled, self._sums.tolist(), self._logprobs, strict=True)
        return [candidate_of(tokens, total, logprobs, self._eot) for tokens, total, logprobs in samples]


def random_streams(options: DecodingOptions, stream: Sequence[int]) -> list[np.random.Generator]:
    """One generator for each sample, from seed, window, temperature and sample alone."""
    temperature_bits = int(np.float64(options.temperature).view(np.uint64))
    return [
        np.random.Generator(np.random.Philox(np.random.SeedSequence([options.seed, *stream, temperature_bits, hyp])))
        for hyp in range(options.n_hyps)
    ]
