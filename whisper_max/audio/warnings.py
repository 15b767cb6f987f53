"""What was found wrong with a recording while it was decoded, as typed values with the seconds they are about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class AudioWarning:
    """Something in a recording that its listener should know of; the transcript was made all the same.

    kind: what it is, one short name for each cause, for programs. start, end: the part of the recording, in seconds.
    message: one line for people, with the seconds in it.
    """

    kind: str
    start: float
    end: float
    message: str


Warn: TypeAlias = "Callable[[AudioWarning], object]"
"""Takes a warning where it is found, while the recording is being decoded."""
