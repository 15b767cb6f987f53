"""From the speakers of windows to turns of the recording."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from whisper_max.model.speakers.shapes import N_FRAMES, N_LOCAL
from whisper_max.speakers.windows import Heard, runs, seconds_at

Float32 = NDArray[np.float32]
SPEAKS = 0.5
"""How likely a speaker speaks in a frame of a turn."""
LEAST_TURN, LEAST_GAP = 0.1, 0.25
"""Seconds of the shortest turn, and of the shortest gap between two of one speaker."""
_WEIGHT = np.minimum(np.arange(N_FRAMES) + 1, N_FRAMES - np.arange(N_FRAMES)).astype(np.float32)
"""What a window's frames count, less the nearer they are to its edges."""


def likelihoods(
    windows: Sequence[Heard], speakers: Mapping[tuple[int, int], int], n_speakers: int
) -> Iterator[tuple[int, Float32]]:
    """How likely each speaker speaks in each frame, by stretches: the first frame, and (n, n_speakers).

    Args:
        windows: in order.
        speakers: of the local speakers that are known, by (window, local speaker).
        n_speakers: in all.
    """
    start = 0
    sums, weights = np.zeros((0, n_speakers), np.float32), np.zeros((0, 1), np.float32)
    for number, window in enumerate(windows):
        done = window.start - start
        if done > 0:
            yield start, np.asarray(sums[:done] / np.maximum(weights[:done], 1))
            sums, weights, start = sums[done:], weights[done:], window.start
        missing = N_FRAMES - len(sums)
        sums = np.concatenate([sums, np.zeros((missing, n_speakers), np.float32)])
        weights = np.concatenate([weights, np.zeros((missing, 1), np.float32)])
        weights += _WEIGHT[:, None]
        for local in range(N_LOCAL):
            speaker = speakers.get((number, local))
            if speaker is not None:
                sums[:, speaker] += _WEIGHT * window.active[:, local] / np.float32(255)
    yield start, np.asarray(sums / np.maximum(weights, 1))


def spans(
    windows: Sequence[Heard], speakers: Mapping[tuple[int, int], int], n_speakers: int, duration: float
) -> list[tuple[float, float, int]]:
    """When each speaker speaks: start, end, speaker, in order; arguments as for ``likelihoods``, and the duration."""
    open_spans: dict[int, tuple[float, float]] = {}
    found: list[tuple[float, float, int]] = []

    def close(speaker: int) -> None:
        start, end = open_spans.pop(speaker)
        if end - start >= LEAST_TURN:
            found.append((start, min(end, duration), speaker))

    for first, values in likelihoods(windows, speakers, n_speakers):
        for speaker in range(n_speakers):
            for run in runs(values[:, speaker] > SPEAKS):
                start, end = (seconds_at(first + frame) for frame in run)
                if start >= duration:
                    continue
                if speaker in open_spans and start - open_spans[speaker][1] < LEAST_GAP:
                    open_spans[speaker] = (open_spans[speaker][0], end)
                    continue
                if speaker in open_spans:
                    close(speaker)
                open_spans[speaker] = (start, end)
    for speaker in list(open_spans):
        close(speaker)
    return sorted(found)
