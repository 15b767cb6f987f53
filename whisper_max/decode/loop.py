"""What a transcript says over and over."""

from __future__ import annotations

from dataclasses import dataclass

_FORBIDDEN_TOKENS = 6  # in a row are enough to tell a loop from other text with the same words


@dataclass(frozen=True)
class Loop:
    """Text tokens that are repeated.

    tokens: what is repeated, once. start: the first of them among the text tokens. repeats: how often it is there.
    """

    tokens: tuple[int, ...]
    start: int
    repeats: int

    @property
    def forbidden(self) -> frozenset[tuple[int, ...]]:
        """What is not to be said: as many tokens in a row as only the repeated text has."""
        size = min(len(self.tokens) + 1, _FORBIDDEN_TOKENS)
        twice = self.tokens * (2 + size // len(self.tokens))
        return frozenset(twice[first : first + size] for first in range(len(self.tokens)))
