"""A recording in windows of 10 s, and who of each window's own speakers is heard when.

Frames lie on one grid over the whole recording: a window begins where a frame does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from whisper_max.model.speakers.shapes import (
    CLASSES,
    FIELD_SAMPLES,
    FRAME_SAMPLES,
    N_LOCAL,
    SAMPLE_RATE,
    WINDOW_SAMPLES,
)

Float32 = NDArray[np.float32]
STEP_FRAMES = 296
"""Frames from one window to the next, 5 s: every moment is heard twice, at most once near an edge."""
_MEMBERS = np.array([[local in each for local in range(N_LOCAL)] for each in CLASSES], np.float32)
"""Whether each speaker is of each class, (N_CLASSES, N_LOCAL)."""


class Heard(NamedTuple):
    """A window's speakers.

    start: its first frame on the grid. active: how likely each speaks, (N_FRAMES, N_LOCAL) uint8, of 255. alone:
    likeliest of all is that this one speaks and nobody else, (N_FRAMES, N_LOCAL).
    """

    start: int
    active: NDArray[np.uint8]
    alone: NDArray[np.bool_]


def starts(n_samples: int) -> Iterator[int]:
    """The first frame of each window, on the grid; the last window reaches the end."""
    last = last_start(n_samples)
    yield from range(0, last, STEP_FRAMES)
    if n_samples > 0:
        yield last


def last_start(n_samples: int) -> int:
    """The first frame of the window that reaches the end."""
    return max(0, -((WINDOW_SAMPLES - n_samples) // FRAME_SAMPLES))


def filled(samples: Float32, n_samples: int = WINDOW_SAMPLES) -> Float32:
    """Up to n_samples samples, a window's or those of several, filled up with zeros, (n_samples,)."""
    return np.pad(samples, (0, n_samples - len(samples)))


def heard(start: int, logits: Float32) -> Heard:
    """What the network says of a window. logits: (N_FRAMES, N_CLASSES)."""
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    active = weights @ _MEMBERS / weights.sum(axis=1, keepdims=True)  # (N_FRAMES, N_LOCAL)
    likeliest = logits.argmax(axis=1)
    alone = likeliest[:, None] == np.arange(1, N_LOCAL + 1)
    return Heard(start, np.rint(255 * active).astype(np.uint8), alone)


def seconds_at(frame: int) -> float:
    """When a frame begins: halfway between its middle and that of the one before."""
    return (frame * FRAME_SAMPLES + (FIELD_SAMPLES - FRAME_SAMPLES) / 2) / SAMPLE_RATE


def runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Where flags are set, as ranges [start, stop)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in zip(edges[::2], edges[1::2], strict=True)]
