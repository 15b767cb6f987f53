"""Recordings as samples at any rate, mixed or by sides, for programs that ask for them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import BinaryIO

import numpy as np
import soxr
from numpy.typing import NDArray

from whisper_max.audio import io
from whisper_max.audio.block import Block
from whisper_max.audio.channels import default_layout
from whisper_max.audio.mix import mix_blocks
from whisper_max.audio.warnings import AudioWarning
from whisper_max.audio.waveform import SAMPLE_RATE
from whisper_max.compat.errors import as_peers
from whisper_max.errors import OptionError

Samples = NDArray[np.float32]
_RATES = (1_000, 1_000_000)  # Hz
_FRONT, _DEEP = ("FL", "FR"), ("LFE", "LFE2")


def load_mixed(source: str | BinaryIO, sampling_rate: int, name: str) -> Samples:
    """A recording with its channels mixed, (n_samples,) float32.

    Args:
        source: a path or a binary file.
        sampling_rate: Hz of the result.
        name: of the argument that is the rate, for errors.

    Raises:
        AudioError: not decodable audio.
        OptionError: a rate that is none.
    """
    if sampling_rate == SAMPLE_RATE:
        with as_peers():
            return io.load_audio(source)
    _check_rate(sampling_rate, name)
    found: list[AudioWarning] = []
    with as_peers(), io.open_blocks(source, found) as blocks:
        mixed = _resampled(mix_blocks(blocks, found.append), sampling_rate)
    _tell(found)
    return mixed


def load_sides(source: str | BinaryIO, sampling_rate: int) -> tuple[Samples, Samples]:
    """The left and the right side of a recording, (n_samples,) float32 each.

    A single channel is both; of more than two, each side is mixed from its own speakers and those in the middle.

    Raises:
        AudioError: not decodable audio.
        OptionError: a rate that is none, or channels of which no speakers are known.
    """
    _check_rate(sampling_rate, "sampling_rate")
    found: list[AudioWarning] = []
    with as_peers(), io.open_blocks(source, found) as blocks:
        pairs = [(block.sampling_rate, _sides(block)) for block in blocks]
    _tell(found)
    left, right = (_resampled([(rate, pair[side]) for rate, pair in pairs], sampling_rate) for side in (0, 1))
    return left, right


def _check_rate(sampling_rate: int, name: str) -> None:
    lowest, highest = _RATES
    if not lowest <= sampling_rate <= highest:
        raise OptionError("out of range", where=name, expected=f"{lowest} to {highest} Hz", found=sampling_rate)


def _tell(found: Iterable[AudioWarning]) -> None:
    for warning in found:
        warnings.warn(warning.message, stacklevel=4)


def _resampled(pieces: Iterable[tuple[int, Samples]], sampling_rate: int) -> Samples:
    """Pieces of one channel, each with its rate, as one array at another; each stretch of one rate by itself."""

    def stretches() -> Iterator[Samples]:
        for rate, stretch in groupby(pieces, lambda piece: piece[0]):
            samples = np.concatenate([piece for _, piece in stretch])
            yield samples if rate == sampling_rate else soxr.resample(samples, rate, sampling_rate, quality="HQ")

    return np.concatenate([np.zeros(0, np.float32), *stretches()])


def _sides(block: Block) -> tuple[Samples, Samples]:
    """Left and right of a block, (n_samples,) each."""
    n_channels = block.samples.shape[1]
    if n_channels <= 2:
        return block.samples[:, 0], block.samples[:, -1]
    layout = block.layout or default_layout(n_channels)
    if layout is None:
        raise OptionError("no left and right known", where="split_stereo", found=f"{n_channels} channels")
    return block.samples @ _weights(layout, "R"), block.samples @ _weights(layout, "L")


def _weights(layout: Iterable[str], other: str) -> Samples:
    """How much of each channel goes to a side, (n_channels,), as FFmpeg has it: 1 of the front, less of the rest.

    other: the letter of the other side's speakers.
    """
    heard = [0.0 if name in _DEEP or other in name else 1.0 if name in _FRONT else 0.5**0.5 for name in layout]
    return np.array(heard, np.float32) / np.float32(max(sum(heard), 1.0))
