"""How the next token of one window is chosen: greedily here, by ``sampling`` or by ``beam`` search.

A search sees the logits of its window's hypotheses after the rules, (n_hyps, n_vocab) float32, and appends one token
to each. It knows nothing of other windows, so a window's transcript never depends on its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from whisper_max.decode.contract import Float32
from whisper_max.errors import OptionError, WhisperMaxError


@dataclass(frozen=True)
class Candidate:
    """A finished transcript: its tokens, the end left out, and the sum of log-probabilities, the end's included.

    logprobs: of each token; fewer than tokens where the first ones were given, none where the device adds them up.
    """

    tokens: list[int]
    sum_logprob: float
    logprobs: list[float] = field(default_factory=list)


class Search(Protocol):
    """The search for one window's transcript."""

    @property
    def sampled(self) -> list[list[int]]:
        """Each hypothesis' tokens so far, equally many."""
        ...

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
    """The likeliest token, each time; begun: tokens that the transcript begins with."""

    def __init__(self, eot: int, begun: Sequence[int] = ()) -> None:
        self.sampled: list[list[int]] = [[*begun]]
        self._eot = eot
        self._sum_logprob = np.float32(0)
        self._logprobs: list[float] = []

    def update(self, logits: Float32) -> None:
        """Append the likeliest token; logits: (1, n_vocab)."""
        row = logits[0]
        token = int(row.argmax())
        logprob = row[token] - log_sum_exp(row, row[token])
        self._sum_logprob += logprob
        self._logprobs.append(float(logprob))
        self.sampled[0].append(token)

    @property
    def done(self) -> bool:
        """True after the end token."""
        return self.sampled[0][-1] == self._eot

    def candidates(self) -> list[Candidate]:
        """The one transcript."""
        return [candidate_of(self.sampled[0], float(self._sum_logprob), self._logprobs, self._eot)]


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


def candidate_of(tokens: list[int], sum_logprob: float, logprobs: list[float], eot: int) -> Candidate:
    """The tokens until the end, and the log-probabilities of those."""
    if eot not in tokens:
        return Candidate(tokens, sum_logprob, logprobs)
    return Candidate(tokens[: tokens.index(eot)], sum_logprob, logprobs[:-1])
