"""What becomes of a case."""

from __future__ import annotations

from typing import NamedTuple

from whisper_max.errors import WhisperMaxError

ACCEPTED, REFUSED, FAULT = "accepted", "refused", "fault"


class Verdict(NamedTuple):
    """kind: accepted, refused or fault. said: why, for people."""

    kind: str
    said: str = ""


def refused(error: WhisperMaxError) -> Verdict:
    """The verdict on an error of ours, which has to be one line."""
    said = str(error)
    return Verdict(REFUSED if said and "\n" not in said and len(said) < 2000 else FAULT, said)
