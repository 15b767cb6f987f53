"""Sizes of the two networks; apart from their graphs, for those who know nothing of MAX."""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

SAMPLE_RATE = 16000

# Segmentation.
WINDOW_SAMPLES = 10 * SAMPLE_RATE
SINC_KERNEL, SINC_STEP = 251, 10
FRAME_SAMPLES = 270
"""Samples from one frame to the next: SINC_STEP and three poolings of 3."""
FIELD_SAMPLES = 991
"""Samples that a frame sees: of the filters, two convolutions of 5 and three poolings of 3."""
N_FRAMES = (WINDOW_SAMPLES - FIELD_SAMPLES) // FRAME_SAMPLES + 1
HIDDEN = 128
N_LSTM = 4
N_LOCAL = 3
"""Speakers that are told apart in a window."""
CLASSES = [(), *combinations(range(N_LOCAL), 1), *combinations(range(N_LOCAL), 2)]
"""Who speaks in a frame, by class."""
N_CLASSES = len(CLASSES)

# Embedding.
N_MELS = 80
HEAD_CHANNELS = 32
TDNN_CHANNELS = 128
GROWTH = 32
EMBEDDING = 192


class Block(NamedTuple):
    """Densely connected layers, and how far apart their taps are."""

    n_layers: int
    dilation: int


class Width(NamedTuple):
    """Features that go into a block and come out of it."""

    n_in: int
    n_out: int


BLOCKS = (Block(12, 1), Block(24, 2), Block(16, 2))


def block_widths() -> list[Width]:
    """The widths of ``BLOCKS``; a transition after each halves them."""
    widths, n_in = [], TDNN_CHANNELS
    for block in BLOCKS:
        widths.append(Width(n_in, n_in + block.n_layers * GROWTH))
        n_in = widths[-1].n_out // 2
    return widths


def block_size(n_in: int, n_layers: int) -> int:
    """Numbers that hold all weights of a block; see ``dense_block.mojo``."""
    wide, narrow = 4 * GROWTH, 2 * GROWTH
    fixed = wide + narrow + wide * narrow + GROWTH + narrow * GROWTH + 3 * wide * GROWTH
    widths = [n_in + layer * GROWTH for layer in range(n_layers + 1)]
    return sum(2 * width for width in widths) + sum(width * wide for width in widths[:-1]) + n_layers * fixed
