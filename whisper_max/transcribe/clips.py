"""The parts of a recording to transcribe, in mel frames."""

from __future__ import annotations

from collections.abc import Sequence

from whisper_max.audio.mel import FRAMES_PER_SECOND
from whisper_max.errors import OptionError

Clip = tuple[int, int]
"""First frame, and the frame after the last."""


def seek_clips(seconds: Sequence[float], n_frames: int) -> list[Clip]:
    """Start, end, start, end, ... as frames; no times mean the whole recording, a missing last end its end.

    Args:
        seconds: times from the start of the recording.
        n_frames: mel frames of the recording, 10 ms each.

    Raises:
        OptionError: a time is negative, beyond the recording or not a number, or an end comes before its start.
    """
    points = [_frame(time, n_frames) for time in seconds] or [0]
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


def _frame(time: float, n_frames: int) -> int:
    duration = n_frames / FRAMES_PER_SECOND
    if not 0 <= time <= duration + 0.5 / FRAMES_PER_SECOND:
        raise OptionError(
            "outside the recording",
            where="clip_timestamps",
            expected=f"times from 0 to {duration} s",
            found=f"{time} s",
            hint="leave the last end out to go on to the end of the recording",
        )
    return min(round(time * FRAMES_PER_SECOND), n_frames)
