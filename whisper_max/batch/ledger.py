"""What workers are doing, remembered where a worker's death doesn't reach; light, since it has a process of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


class Ledger:
    """What is being done, kept for workers that come after those that are killed."""

    def __init__(self) -> None:
        self._begun: Counter[str] = Counter()
        self._n_deaths = 0

    def begin(self, keys: Sequence[str]) -> int:
        """Say that these are begun; returns how often, at most, one of them was begun before and never ended."""
        n_before = max(self._begun[key] for key in keys)
        self._begun.update(keys)
        self._n_deaths += n_before > 0
        return n_before

    def end(self, keys: Sequence[str]) -> None:
        """Say that these are done."""
        for key in keys:
            del self._begun[key]

    def n_deaths(self) -> int:
        """How often work was begun again that had never ended."""
        return self._n_deaths
