"""Cutting a recording where nobody speaks, into pieces that can be transcribed side by side."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from whisper_max.audio.mel import FRAMES_PER_SECOND, N_FRAMES
from whisper_max.transcribe.clips import Clip

Chances = Callable[[int, int], NDArray[np.float32]]
"""Called with the first mel frame and the one after the last: how likely speech is in each, (n_frames,) float32."""

# A window costs the same however short it is. So a border is sought near a window's end: in these last frames, and in
# more of them only where no silence there is this long.
_NEAR, _FAR = 5 * FRAMES_PER_SECOND, 10 * FRAMES_PER_SECOND
_LONG_ENOUGH = FRAMES_PER_SECOND // 5

_ENOUGH_PIECES = 10  # to keep a batch of 8 busy
_MOST_WINDOWS = 2  # of a piece: more leave a large batch without work


def windows_of_pieces(n_frames: int) -> int:
    """How many windows long pieces are: a second one where pieces remain enough to be decoded side by side.

    A piece ends within its last window, and where the model leaves a sentence for the next one, one more is needed
    for it: the longer the pieces, the fewer such windows. It depends on the recording alone, not on the batch.

    Args:
        n_frames: of all that is to be cut.
    """
    return min(max(n_frames // (_ENOUGH_PIECES * N_FRAMES), 1), _MOST_WINDOWS)


def cut_pieces(chances: Chances, clip: Clip, silence_threshold: float, n_windows: int = 1) -> list[Clip]:
    """Cut a clip into pieces, each border in the middle of the longest silence near its last window's end.

    Args:
        chances: how likely speech is, asked for where a border may be.
        clip: the part to cut; an empty one has no pieces.
        silence_threshold: a frame is silent where its chance is lower; where none is, the least likely one is the
            border.
        n_windows: that a piece has at most.
    """
    start, end = clip
    longest = n_windows * N_FRAMES
    pieces = []
    while end - start > longest:
        cut = _border(chances, start + longest, silence_threshold)
        pieces.append((start, cut))
        start = cut
    return [*pieces, (start, end)] if start < end else pieces


def _border(chances: Chances, end: int, silence_threshold: float) -> int:
    near = chances(end - _NEAR, end)
    first, last = _longest_silence(near, silence_threshold)
    if last - first >= _LONG_ENOUGH:
        return end - _NEAR + (first + last) // 2
    far = chances(end - _FAR, end)
    first, last = _longest_silence(far, silence_threshold)
    return end - _FAR + ((first + last) // 2 if first < last else int(np.argmin(far)))


def _longest_silence(chances: NDArray[np.float32], silence_threshold: float) -> tuple[int, int]:
    """Its first frame and the one after its last; equal where there is no silence."""
    silent = np.concatenate([[False], chances < silence_threshold, [False]])
    borders = np.flatnonzero(silent[1:] != silent[:-1]).reshape(-1, 2)  # (n_silences, 2): first, one after the last
    if not len(borders):
        return 0, 0
    first, last = borders[np.argmax(borders[:, 1] - borders[:, 0])].tolist()
    return first, last
