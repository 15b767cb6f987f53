"""Cutting a recording where nobody speaks, into parts that can be transcribed side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from whisper_max.audio.mel import FRAMES_PER_SECOND, N_FRAMES
from whisper_max.transcribe.clips import Clip

if TYPE_CHECKING:
    from whisper_max.transcribe.recording import Recording

Chances = Callable[[int, int], NDArray[np.float32]]
"""Called with the first mel frame and the one after the last: how likely speech is in each, (n_frames,) float32."""

# A window costs the same however short it is. So a border is sought near a window's end: in these last frames, and in
# more of them only where no silence there is this long.
_NEAR, _FAR = 5 * FRAMES_PER_SECOND, 10 * FRAMES_PER_SECOND
_LONG_ENOUGH = FRAMES_PER_SECOND // 5


@dataclass(frozen=True)
class Part:
    """A part of a recording that can be transcribed by itself.

    clip: its frames, at most a window's. speech_end: the frame after the last one in which somebody speaks; the clip's
    start where that is not near its end.
    """

    clip: Clip
    speech_end: int


def cut_parts(chances: Chances, clip: Clip, silence_threshold: float, window_frames: int = N_FRAMES) -> list[Part]:
    """Cut a clip into parts of a window, each border in the middle of the longest silence near the window's end.

    Args:
        chances: how likely speech is, asked for where a part may end.
        clip: the frames to cut; an empty clip has no parts.
        silence_threshold: a frame is silent where its chance is lower; where none is, the least likely one is the
            border.
        window_frames: most of a window.
    """
    start, end = clip
    parts = []
    while end - start > window_frames:
        first, near = _where_it_may_end(chances, start + window_frames, silence_threshold, window_frames // 2)
        border = first + _border(near, silence_threshold)
        parts.append(Part((start, border), _speech_end(near[: border - first], first, start, silence_threshold)))
        start = border
    if start < end:
        first = max(start, end - _NEAR)
        parts.append(Part((start, end), _speech_end(chances(first, end), first, start, silence_threshold)))
    return parts


def keep_part(recording: Recording, part: int, n_parts: int) -> None:
    """Do only the pieces of one of several parts, from 0, of about as many pieces each."""
    pieces, n_pieces = recording.pieces, len(recording.pieces)
    for piece in (*pieces[: n_pieces * part // n_parts], *pieces[n_pieces * (part + 1) // n_parts :]):
        piece.clips = []  # done
    recording.wait()


def _where_it_may_end(
    chances: Chances, end: int, silence_threshold: float, farthest: int
) -> tuple[int, NDArray[np.float32]]:
    """The first frame of those before a window's end that a border is sought in, and how likely speech is in each."""
    start = end - min(_NEAR, farthest)
    near = chances(start, end)
    silence, speech = _longest_silence(near, silence_threshold)
    if speech - silence >= _LONG_ENOUGH:
        return start, near
    start = end - min(_FAR, farthest)
    return start, chances(start, end)


def _border(chances: NDArray[np.float32], silence_threshold: float) -> int:
    first, last = _longest_silence(chances, silence_threshold)
    return (first + last) // 2 if first < last else int(np.argmin(chances))


def _speech_end(chances: NDArray[np.float32], first: int, start: int, silence_threshold: float) -> int:
    """The frame after the last spoken one of those from ``first`` on; ``start`` where all are silent."""
    spoken = np.flatnonzero(chances >= silence_threshold)
    return first + int(spoken[-1]) + 1 if len(spoken) else start


def _longest_silence(chances: NDArray[np.float32], silence_threshold: float) -> tuple[int, int]:
    """Its first frame and the one after its last; equal where there is no silence."""
    silent = np.concatenate([[False], chances < silence_threshold, [False]])
    borders = np.flatnonzero(silent[1:] != silent[:-1]).reshape(-1, 2)  # (n_silences, 2): first, one after the last
    if not len(borders):
        return 0, 0
    first, last = borders[np.argmax(borders[:, 1] - borders[:, 0])].tolist()
    return first, last
