"""The best of several hypotheses of a window."""

from __future__ import annotations

from collections.abc import Sequence

from whisper_max.decode.search import Candidate


def best_candidate(
    candidates: Sequence[Candidate], length_penalty: float | None, length_power: float | None = None
) -> Candidate:
    """The candidate with the highest log-probability per token, or by a penalty for its length.

    Among equals the first one. An empty transcript counts as one token long.

    Args:
        candidates: at least one.
        length_penalty: Google NMT's (arXiv:1609.08144).
        length_power: CTranslate2's, where the other is None: of the length that is divided by.
    """

    def score(candidate: Candidate) -> float:
        length = len(candidate.tokens)
        if length_penalty is None:
            return float(candidate.sum_logprob / max(length, 1) ** (1.0 if length_power is None else length_power))
        return float(candidate.sum_logprob / ((5 + length) / 6) ** length_penalty)

    return max(candidates, key=score)
