"""Cutting a recording where nobody speaks, into pieces that can be transcribed side by side."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whisper_max.audio.mel import FRAMES_PER_SECOND, N_FRAMES
from whisper_max.transcribe.clips import Clip

_EARLIEST_CUT = N_FRAMES - 10 * FRAMES_PER_SECOND  # frames: a piece fills at least two thirds of a window


def cut_pieces(chances: NDArray[np.float32], clip: Clip, silence_threshold: float) -> list[Clip]:
    """Cut a clip into pieces of at most one window, each border in the middle of the longest silence near it.

    Args:
        chances: (n_frames,) how likely speech is in each mel frame of the recording.
        clip: the part to cut; an empty one has no pieces.
        silence_threshold: a frame is silent where its chance is lower; where none is, the least likely one is the
            border.
    """
    start, end = clip
    pieces = []
    while end - start > N_FRAMES:
        cut = start + _EARLIEST_CUT + _quietest(chances[start + _EARLIEST_CUT : start + N_FRAMES], silence_threshold)
        pieces.append((start, cut))
        start = cut
    return [*pieces, (start, end)] if start < end else pieces


def _quietest(chances: NDArray[np.float32], silence_threshold: float) -> int:
    """The middle of the longest silence."""
    silent = np.concatenate([[False], chances < silence_threshold, [False]])
    borders = np.flatnonzero(silent[1:] != silent[:-1]).reshape(
        -1, 2
    )  # (n_silences, 2): first frame, one after the last
    if not len(borders):
        return int(np.argmin(chances))
    first, last = borders[np.argmax(borders[:, 1] - borders[:, 0])]
    return int(first + last) // 2
