"""Errors that are the peers' own kinds as well: what a program catches where it hands over a recording or a name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from whisper_max.errors import AudioError, UnknownModelError, WhisperMaxError


class NoAudioError(AudioError, RuntimeError, ValueError):
    """Not decodable audio: a RuntimeError as of openai-whisper, a ValueError as of PyAV, which faster-whisper uses."""


class NoSuchFileError(NoAudioError, FileNotFoundError):
    """No file of that name, as PyAV tells it."""


class NoSuchModelError(UnknownModelError, RuntimeError, ValueError):
    """No such model: a RuntimeError as of openai-whisper, a ValueError as of faster-whisper."""


@contextmanager
def as_peers() -> Iterator[None]:
    """Raise errors of recordings and of names as ones that are the peers' kinds as well, with the same words."""
    try:
        yield
    except AudioError as error:
        missing = isinstance(error.__cause__, FileNotFoundError)
        raise _again(NoSuchFileError if missing else NoAudioError, error) from error
    except UnknownModelError as error:
        raise _again(NoSuchModelError, error) from error


def _again(kind: type[WhisperMaxError], error: WhisperMaxError) -> WhisperMaxError:
    return kind(error.what, where=error.where, expected=error.expected, found=error.found, hint=error.hint)
