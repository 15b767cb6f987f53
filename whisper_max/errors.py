"""The errors of whisper_max: typed, and one line each.

A message says what went wrong and where, what was expected and what was found, and what to do about it.
"""

from __future__ import annotations

_MOST_FOUND = 500  # characters


def brief(value: object) -> str:
    """A short name for a value of any type and size: nothing that a file holds may break the message about it."""
    if isinstance(value, str):
        return repr(value[:40])
    small = value is None or (isinstance(value, int) and abs(value) < 1 << 63)
    return str(value) if small or isinstance(value, float) else f"a value of type {type(value).__name__}"


def _bounded(found: str) -> str:
    """What was found, which others may have written: the begin of what is long."""
    return found if len(found) <= _MOST_FOUND else f"{found[:_MOST_FOUND]}..."


class WhisperMaxError(Exception):
    """Base class of every error that whisper_max raises on purpose.

    Args:
        what: the fault in a few words.
        where: the file, tensor, option or address concerned.
        expected: what would have been right.
        found: what was there instead.
        hint: what the user can do.
    """

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        expected: object = None,
        found: object = None,
        hint: str | None = None,
    ) -> None:
        self.what = what
        self.where = where
        self.expected = expected
        self.found = found
        self.hint = hint
        super().__init__(self._one_line())

    def _one_line(self) -> str:
        line = self.what if self.where is None else f"{self.where}: {self.what}"
        details = [] if self.expected is None else [f"expected {self.expected}"]
        if self.found is not None:
            details.append(f"found {_bounded(str(self.found))}")
        if details:
            line += ": " + ", ".join(details)
        if self.hint is not None:
            line += f"; {self.hint}"
        return " ".join(line.split())


class AudioError(WhisperMaxError):
    """An input that is not decodable audio: missing, empty, truncated, not audio, or not finite."""


class CheckpointError(WhisperMaxError):
    """A checkpoint that can't be trusted: unknown format, or a tensor missing, extra, mis-shaped or mistyped."""


class UnknownModelError(WhisperMaxError):
    """A model name that is no published size, no path and no hub id."""


class HubError(WhisperMaxError):
    """The hub could not be reached, refused the request, or is not allowed (offline)."""


class ArtifactError(WhisperMaxError):
    """A compiled artifact that can't be made, read or trusted."""


class DeviceError(WhisperMaxError):
    """A device that was demanded and is not there or can't run the model."""


class OptionError(WhisperMaxError, ValueError):
    """An option with an impossible value, or a combination of options that contradict each other."""


class NotOfferedError(WhisperMaxError, AttributeError):
    """A name of another Whisper package that has no counterpart here; ``hasattr`` says that it is not there."""


class OutputError(WhisperMaxError):
    """A transcript that can't be written."""


class AlignmentError(WhisperMaxError):
    """A text that a recording does not say."""


class JournalError(WhisperMaxError):
    """A journal that can't be gone on from: damaged, of another transcription, or in use."""
