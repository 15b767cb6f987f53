"""What a segment has beside its text where that is asked for: its words, and why it was probably never said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class Word:
    """One word with its times in seconds and its probability (mean over its tokens).

    speaker: who says it, where speakers are told apart.
    """

    word: str
    start: float
    end: float
    probability: float
    speaker: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The word as openai-whisper's dict; ``speaker`` only where there is one."""
        word = {"word": self.word, "start": self.start, "end": self.end, "probability": self.probability}
        return word if self.speaker is None else {**word, "speaker": self.speaker}


@dataclass
class Doubt:
    """Why a segment was probably never said. numbers: what it was judged by, and the limits it was held against."""

    reason: str
    numbers: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """The reason and its numbers, side by side."""
        return {"reason": self.reason, **self.numbers}
