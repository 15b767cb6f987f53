"""How many speakers to tell apart, and what comes of it; who does it is not known here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from whisper_max.errors import OptionError

if TYPE_CHECKING:  # slow to import, and who parses options needs none of it
    import numpy as np
    from numpy.typing import NDArray

    from whisper_max.audio.warnings import AudioWarning
    from whisper_max.audio.waveform import Waveform
    from whisper_max.transcribe.turns import Turn

AUTO = "auto"
MOST_SPEAKERS = 100
LONGEST_NAME = 64  # characters of what somebody is called
_RANGE = re.compile(r"\s*([0-9]{1,9})\s*(?:-\s*([0-9]{1,9})\s*)?")


class SpeakerCount(NamedTuple):
    """At least and at most so many speakers; None: as many as there are."""

    least: int = 1
    most: int | None = None

    def __str__(self) -> str:
        return str(self.least) if self.least == self.most else f"{self.least}-{self.most}"


def speaker_count(given: int | str) -> SpeakerCount:
    """What an option says: a number, ``"2-5"`` or ``"auto"``.

    Raises:
        OptionError: it says none of these, or an impossible number.
    """
    if isinstance(given, str) and given.strip().lower() == AUTO:
        return SpeakerCount()
    match = _RANGE.fullmatch(str(given))
    least, most = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= least <= most <= MOST_SPEAKERS:
        expected = f"a number from 1 to {MOST_SPEAKERS}, MIN-MAX, or {AUTO}"
        raise OptionError("impossible number of speakers", where="speakers", expected=expected, found=repr(given))
    return SpeakerCount(least, most)


def is_speaker_name(name: object) -> bool:
    """True for what somebody may be called in a transcript: a line of up to LONGEST_NAME characters."""
    return isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and name.isprintable() and name == name.strip()


class Diarization(NamedTuple):
    """Who speaks when, and what is to be known of that.

    names: of speakers that are known by their voices, and of the others in that recording; of none where nobody is
    known. voices: a vector of length 1 for each speaker, which is kept nowhere unless that is asked for. later: True
    where turns are found when the recording is transcribed.
    """

    turns: Sequence[Turn]
    warnings: Sequence[AudioWarning] = ()
    names: Mapping[int, str] = MappingProxyType({})
    voices: Mapping[int, NDArray[np.float32]] = MappingProxyType({})
    later: bool = False


TellApart: TypeAlias = "Callable[[Waveform, SpeakerCount], Diarization]"
"""Finds the speakers of a recording."""
