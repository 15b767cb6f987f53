"""What decoders give: decoded audio, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from whisper_max.audio.channels import Layout

BLOCK_FRAMES = 1 << 16
LOUDEST = 100.0  # float audio is about -1..1; 40 dB above it are damage, or integers that were not scaled


class Block(NamedTuple):
    """Decoded audio: ``samples`` (n_frames, n_channels) float32 at ``sampling_rate`` Hz.

    layout: the speakers of the channels; None where nothing is known of them.
    """

    sampling_rate: int
    samples: NDArray[np.float32]
    layout: Layout | None = None

    @property
    def kind(self) -> tuple[int, int, Layout | None]:
        """What blocks share that may be joined: sampling rate, number of channels, speakers."""
        return self.sampling_rate, self.samples.shape[1], self.layout


def mended(block: Block) -> tuple[Block, bool]:
    """What a decoder of frames gives, as silence where that can't be sound; True where it was so.

    A damaged frame may decode to anything, which is no reason to refuse the frames around it.
    """
    if bool((np.abs(block.samples) <= LOUDEST).all()):  # False for NaN
        return block, False
    return block._replace(samples=np.zeros_like(block.samples)), True


def gather(blocks: Iterator[Block]) -> Iterator[Block]:
    """The same sound in blocks of ``BLOCK_FRAMES`` or more, but where rate or channels change."""
    for _, alike in groupby(blocks, lambda block: block.kind):
        kept: list[Block] = []
        n_frames = 0
        for block in alike:
            kept.append(block)
            n_frames += len(block.samples)
            if n_frames >= BLOCK_FRAMES:
                yield _joined(kept)
                kept, n_frames = [], 0
        if kept:
            yield _joined(kept)


def _joined(blocks: list[Block]) -> Block:
    if len(blocks) == 1:
        return blocks[0]
    return blocks[0]._replace(samples=np.concatenate([block.samples for block in blocks]))
