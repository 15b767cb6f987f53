"""All channels of a recording in one: FFmpeg's down-mix, or the loudest channel where the mix would lose the sound.

A channel that was wired or inverted the wrong way round takes out of a mix what the others have in common: the voice.
That is looked for in pieces of a fifth of a second, cut by the recording's own samples and each judged by what came
before it, so that the same comes out however the samples arrive.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from whisper_max.audio.block import Block
from whisper_max.audio.channels import Layout, mix_weights
from whisper_max.audio.warnings import AudioWarning, Warn

CANCELLING = "cancelling channels"

_PIECE = 0.2  # seconds
_FADE = 0.02  # seconds from one way of mixing to another
# Power of the mix over that of channels that have nothing in common: below the first they cancel, above the second they
# no longer do. Speech that reaches two microphones one after the other stays above a sixth (-8 dB).
_CANCELS, _CANCELS_NO_MORE = 0.1, 0.25
_SILENT = 1e-10  # power below the last bit of 16
_UNHEARD = 1e-5  # a mix of less than a tenth of this, of the loudest channel's power, has lost that
_LOUDER = 2.0  # power by which another channel takes the place of the one that is used


def mix_blocks(blocks: Iterator[Block], warn: Warn) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Sampling rate and samples, (n_samples,) float32, of blocks of any channels; each part of one kind by itself.

    Args:
        blocks: in any number of samples; the same samples come out whatever it is.
        warn: is told where channels would have cancelled each other, after each part.
    """
    start = 0.0
    for (rate, n_channels, layout), part in groupby(blocks, lambda block: block.kind):
        mixer = Mixer(layout, n_channels, rate)
        for block in part:
            yield rate, mixer.mix(block.samples)
        yield rate, mixer.mix(np.zeros((0, n_channels), np.float32), last=True)
        warning = mixer.warning(start)
        if warning is not None:
            warn(warning)
        start += mixer.seconds


class Mixer:
    """Mixes channels, whatever the size of the blocks that they come in.

    Args:
        layout: the speakers; None where nothing is known of them.
        n_channels: of each block.
        sampling_rate: in Hz.
    """

    def __init__(self, layout: Layout | None, n_channels: int, sampling_rate: int) -> None:
        self._weights = mix_weights(layout, n_channels)
        self._rate = sampling_rate
        self._piece = max(round(_PIECE * sampling_rate), 1)
        self._fade = max(round(_FADE * sampling_rate), 1)
        # Where the speakers are a guess, any channel may hold the voice; else not one that is never mixed, as the LFE.
        self._is_guess = layout is None
        self._usable = np.ones(n_channels, np.bool_) if self._is_guess else self._weights > 0
        self._waiting = np.zeros((0, n_channels), np.float32)
        self._alone: int | None = None  # the channel that is used alone
        self._n_done = 0
        self._n_lost = 0  # samples where the mix would have lost the sound, and those from the first to the last
        self._lost: range | None = None

    def mix(self, samples: NDArray[np.float32], *, last: bool = False) -> NDArray[np.float32]:
        """Take a block; (n_samples,) float32 of all pieces that are whole now, and after the last block of the rest.

        Args:
            samples: (n_frames, n_channels) float32.
            last: no block comes after it.
        """
        if len(self._weights) == 1:
            self._n_done += len(samples)
            return samples[:, 0]
        waiting = np.concatenate([self._waiting, samples])
        end = len(waiting) if last else len(waiting) - len(waiting) % self._piece
        self._waiting = waiting[end:]
        pieces = [self._mix(waiting[start : start + self._piece]) for start in range(0, end, self._piece)]
        return np.concatenate([np.zeros(0, np.float32), *pieces])

    @property
    def seconds(self) -> float:
        return self._n_done / self._rate

    def warning(self, before: float = 0.0) -> AudioWarning | None:
        """Where the mix would have lost the sound, from the first to the last such piece; None where it did not.

        Args:
            before: seconds of the recording before the first block.
        """
        if self._lost is None:
            return None
        start, end = before + self._lost.start / self._rate, before + self._lost.stop / self._rate
        seconds = self._n_lost / self._rate
        return AudioWarning(
            CANCELLING,
            start,
            end,
            f"{start:.2f} to {end:.2f} s: mixed, the channels would cancel each other: "
            f"the loudest is used alone ({seconds:.2f} s)",
        )

    def _mix(self, piece: NDArray[np.float32]) -> NDArray[np.float32]:
        before, mixed = self._alone, _weighted(piece, self._weights)
        if len(piece) > self._piece // 2 or self._n_done == 0:  # else the short end, which is as what is before it
            self._alone = self._choose(piece, mixed)
        chosen = self._one(piece, mixed, self._alone)
        if self._alone != before and self._n_done > 0:
            n_faded = min(self._fade, len(piece))
            old = self._one(piece, mixed, before)[:n_faded]
            chosen = chosen.copy()
            chosen[:n_faded] = old + np.linspace(0, 1, n_faded, False, dtype=np.float32) * (chosen[:n_faded] - old)
        done = self._n_done + len(piece)
        if self._alone is not None:
            self._n_lost += len(piece)
            self._lost = range(self._n_done if self._lost is None else self._lost.start, done)
        self._n_done = done
        return chosen

    @staticmethod
    def _one(piece: NDArray[np.float32], mixed: NDArray[np.float32], alone: int | None) -> NDArray[np.float32]:
        return mixed if alone is None else piece[:, alone]

    def _choose(self, piece: NDArray[np.float32], mixed: NDArray[np.float32]) -> int | None:
        """The channel to use alone for a piece; None where the mix is good."""
        power = np.array([np.dot(channel, channel) for channel in piece.T]) / len(piece)  # (n_channels,)
        mixed_power = np.dot(mixed, mixed) / len(piece)
        apart = float(np.sum(np.square(self._weights) * power))  # of a mix of channels that have nothing in common
        if self._is_guess:
            apart = max(apart, _UNHEARD * float(power.max()))
        if apart < _SILENT:
            return self._alone
        if mixed_power > (_CANCELS if self._alone is None else _CANCELS_NO_MORE) * apart:
            return None
        loudest = int(np.argmax(np.where(self._usable, power, -1)))
        if self._alone is None or power[loudest] > _LOUDER * power[self._alone]:
            return loudest
        return self._alone


def _weighted(samples: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n_frames,) float32, one channel after the other, so that a sample's bits depend on its own frame alone."""
    mixed = np.zeros(len(samples), np.float32)
    for channel in np.flatnonzero(weights):
        mixed += samples[:, channel] * weights[channel]
    return mixed
