"""The parts of a recording to transcribe, in mel frames."""

from __future__ import annotations

from collections.abc import Sequence

from whisper_max.audio.warnings import AudioWarning
from whisper_max.dims import FRAMES_PER_SECOND
from whisper_max.errors import OptionError

Clip = tuple[int, int]
"""First frame, and the frame after the last."""

_BEYOND = 1.0  # seconds that a clip may end after the recording before that is told: a player's clock, a rounded length


def seek_clips(seconds: Sequence[float], n_frames: int, *, strict: bool = False) -> list[Clip]:
    """Start, end, start, end, ... as frames; no times mean the whole recording, a missing last end its end.

    Args:
        seconds: times from the start of the recording; an end beyond it is its end.
        n_frames: mel frames of the recording, 10 ms each.
        strict: an end beyond the recording is an error.

    Raises:
        OptionError: a clip starts beyond the recording, a time is negative or not a number, or an end comes before its
            start.
    """
    points = [
        _frame(time, n_frames, may_be_beyond=number % 2 == 1 and not strict) for number, time in enumerate(seconds)
    ] or [0]
    if len(points) % 2:
        points.append(n_frames)
    clips = list(zip(points[::2], points[1::2], strict=True))
    for start, end in clips:
        if end < start:
            raise OptionError(
                "a clip ends before it starts",
                where="clip_timestamps",
                found=f"{start / FRAMES_PER_SECOND} to {end / FRAMES_PER_SECOND} s",
            )
    return clips


def clip_warnings(seconds: Sequence[float], n_frames: int) -> list[AudioWarning]:
    """What is told of clips that end more than a second after the recording; arguments as ``seek_clips``."""
    duration = n_frames / FRAMES_PER_SECOND
    return [
        AudioWarning("clip", duration, end, f"{duration:.2f} to {end:.2f} s: this part of a clip is after the end")
        for end in seconds[1::2]
        if end > duration + _BEYOND
    ]


def _frame(time: float, n_frames: int, *, may_be_beyond: bool) -> int:
    duration = n_frames / FRAMES_PER_SECOND
    if not 0 <= time <= duration + 0.5 / FRAMES_PER_SECOND and not (may_be_beyond and time > duration):
        raise OptionError(
            "outside the recording",
            where="clip_timestamps",
            expected=f"times from 0 to {duration} s",
            found=f"{time} s",
            hint="leave the last end out to go on to the end of the recording",
        )
    return n_frames if time > duration else min(round(time * FRAMES_PER_SECOND), n_frames)
