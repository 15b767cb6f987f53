"""One recording that is being read, and what is told of it: warnings, or errors where it is wanted whole or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from whisper_max.audio.warnings import AudioWarning
from whisper_max.errors import AudioError

CONVERT_HINT = "get the whole file, or convert what is there to wav"

_MOST_WARNINGS = 100
_TOUCHING = 1e-3  # seconds between two that are told as one


@dataclass
class Reading:
    """How a recording is read, and what was found.

    where: its name in errors. strict: what would be a warning is an error. track: the audio track that is wanted, by
    its number from 1 or by its language; None for the default one. separate: its channels stay apart. watch: called
    again and again, raises to end the reading. warnings: so far.
    """

    where: str
    strict: bool = False
    track: int | str | None = None
    separate: bool = False
    watch: Callable[[], object] = lambda: None
    warnings: list[AudioWarning] = field(default_factory=list)

    def warn(
        self,
        kind: str,
        start: float,
        end: float,
        what: str,
        *,
        expected: object = None,
        found: object = None,
        hint: str | None = CONVERT_HINT,
    ) -> None:
        """Tell what is wrong from ``start`` to ``end`` seconds; what touches the last warning makes that longer.

        Raises:
            AudioError: the recording is wanted whole or not at all.
        """
        if self.strict:
            place = f"{start:.2f} s" if found is None else found
            raise AudioError(what, where=self.where, expected=expected, found=place, hint=hint)
        message = str(AudioError(what, expected=expected, found=found))
        last = self.warnings[-1] if self.warnings else None
        if last is not None and last.kind == kind and start - last.end < _TOUCHING:
            start, message = last.start, last.message.partition(" s: ")[2]
            self.warnings.pop()
        elif last is not None and len(self.warnings) >= _MOST_WARNINGS:
            start, message = last.start, "in more places than are told sound is damaged or missing"
            self.warnings.pop()
        self.warnings.append(AudioWarning(kind, start, end, f"{start:.2f} to {end:.2f} s: {message}"))

    def note(self, kind: str, message: str) -> None:
        """Tell what was chosen; that is no fault, so that it is told where the recording is wanted whole, too."""
        self.warnings.append(AudioWarning(kind, 0.0, 0.0, message))
