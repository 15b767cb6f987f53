"""What both peers ask of the dicts of segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def end_of(segments: Sequence[Mapping[str, Any]]) -> float | None:
    """Seconds at which the last word ends, or the last segment where there are no words; None of nothing."""
    words = (word for segment in reversed(segments) for word in reversed(segment.get("words") or ()))
    last = next(words, segments[-1] if segments else None)
    return None if last is None else last["end"]
