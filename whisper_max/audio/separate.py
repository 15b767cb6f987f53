"""The channels of a recording as voices: silent ones left out, those of one sound mixed, quiet ones made louder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from whisper_max.audio.warnings import AudioWarning
from whisper_max.audio.waveform import SAMPLE_RATE, Waveform
from whisper_max.errors import OptionError

SAME_SOUND, SILENT_CHANNEL = "same sound", "silent channel"

_SILENT = 1e-3  # of full scale: no sample of silence is louder; -60 dB
_QUIET, _LEVEL = 0.05, 0.3  # a channel whose loudest sample is below the first is brought to the second
# Correlation of two channels from which on they carry the same sound. Two voices in both channels, each twice as loud
# in one of them, have 0.8, and one voice with noise as loud as half of it 0.8, too; what leaks from one telephone
# channel to the other, a tenth of its voice, has 0.2.
_SAME = 0.7
_LAG = SAMPLE_RATE // 50  # samples that one may come after the other: 20 ms, 7 m of way
_ALIGNED = 2  # samples of lag up to which they are added up
_LOWEST = 100.0  # Hz, below which there is hum, which all channels may share
_BLOCK = 1 << 15  # samples looked at together, 2 s: so long that a lag takes little of it, and small for many pairs


@dataclass(frozen=True)
class Voice:
    """What is transcribed by itself: a channel, or several that carry the same sound; channels count from 1."""

    waveform: Waveform
    channels: tuple[int, ...]


def separate(channels: Sequence[Waveform]) -> tuple[list[Voice], list[AudioWarning]]:
    """The voices of a recording, in the order of its channels, and what is to be told of them.

    Of channels with the same sound that comes to one later than to the other the loudest is taken: added up, they would
    take out of each other what they share.

    Args:
        channels: of one recording, two or more; of the same length.

    Returns:
        none where all are silent.

    Raises:
        OptionError: there is but one channel.
        AudioError: a spooled recording can't be read back.
    """
    if len(channels) < 2:
        raise OptionError(
            "the recording has one channel: there is nothing to separate",
            where="channels",
            expected="two channels or more",
            hint="leave channels out",
        )
    found = _Statistics(channels)
    sounding = [i for i, peak in enumerate(found.peaks) if peak > _SILENT]
    warnings = [
        _warning(channels, SILENT_CHANNEL, f"channel {i + 1} is silent: nothing is transcribed of it")
        for i in range(len(channels))
        if i not in sounding
    ]
    groups = _groups(sounding, found)
    for group in groups:
        if len(group) > 1:
            names = ", ".join(str(i + 1) for i in group[:-1]) + f" and {group[-1] + 1}"
            how = "they are mixed" if _is_aligned(group, found) else "the loudest is taken"
            alone = ", and no speakers are told apart by them" if len(groups) == 1 else ""
            message = f"channels {names} carry the same sound: {how}{alone}"
            warnings.append(_warning(channels, SAME_SOUND, message))
    voices = [Voice(_mixed(channels, group, found), tuple(i + 1 for i in group)) for group in groups]
    return voices, warnings


def _warning(channels: Sequence[Waveform], kind: str, message: str) -> AudioWarning:
    return AudioWarning(kind, 0.0, channels[0].duration, message)


def _groups(sounding: Sequence[int], found: _Statistics) -> list[list[int]]:
    """Channels that carry the same sound together; each with the first group that has one like it."""
    groups: list[list[int]] = []
    for i in sounding:
        group = next((group for group in groups if any(found.correlation(j, i) >= _SAME for j in group)), None)
        if group is None:
            groups.append([i])
        else:
            group.append(i)
    return groups


def _is_aligned(group: Sequence[int], found: _Statistics) -> bool:
    """True where all channels can be added up."""
    return all(found.adds_up(i, j) for i, j in combinations(group, 2))


def _mixed(channels: Sequence[Waveform], group: Sequence[int], found: _Statistics) -> Waveform:
    """One waveform of a group, brought to a level where it is quiet; a channel that needs nothing stays itself."""
    first = group[0]
    if _is_aligned(group, found):
        weights = {i: found.sign(first, i) / len(group) for i in group}
    else:
        weights = {max(group, key=lambda i: found.powers[i]): 1.0}
    peak = max(found.peaks[i] for i in group)
    gain = _LEVEL / peak if peak < _QUIET else 1.0
    if len(weights) == 1 and gain == 1.0:
        return channels[next(iter(weights))]
    return _Mix([channels[i] for i in weights], [weight * gain for weight in weights.values()])


class _Mix:
    """Waveforms added up, each with its weight."""

    def __init__(self, waveforms: Sequence[Waveform], weights: Sequence[float]) -> None:
        self._parts = [(waveform, np.float32(weight)) for waveform, weight in zip(waveforms, weights, strict=True)]
        self.n_samples = waveforms[0].n_samples
        self.duration = waveforms[0].duration
        self.warnings = waveforms[0].warnings

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """As ``Waveform.read``."""
        (first, weight), *others = self._parts
        mixed: NDArray[np.float32] = first.read(start, stop) * weight
        for waveform, weight in others:
            mixed += waveform.read(start, stop) * weight
        return mixed


class _Statistics:
    """How loud channels are, and how much they are like each other; one pass over all of them.

    Attributes:
        peaks: the loudest sample of each. powers: the sum of squares of each, above the hum.
    """

    def __init__(self, channels: Sequence[Waveform]) -> None:
        self.peaks = [0.0] * len(channels)
        self._pairs = list(combinations(range(len(channels)), 2))
        cross = {pair: np.zeros(_BLOCK + 1, np.complex128) for pair in self._pairs}  # spectra of correlations
        self._signless = dict.fromkeys(self._pairs, 0.0)  # sums of what blocks share, inverted or not
        powers = np.zeros(len(channels))
        audible = np.fft.rfftfreq(2 * _BLOCK, 1 / SAMPLE_RATE) >= _LOWEST
        for blocks in _blocks(channels):
            self.peaks = [
                max(peak, float(np.abs(block).max(initial=0.0))) for peak, block in zip(self.peaks, blocks, strict=True)
            ]
            spectra = [np.fft.rfft(block, 2 * _BLOCK) * audible for block in blocks]  # (_BLOCK + 1,) each
            powers += [_power(spectrum) for spectrum in spectra]
            for i, j in self._pairs:
                shared = spectra[i] * spectra[j].conj()
                cross[i, j] += shared
                self._signless[i, j] += abs(2.0 * float(shared.real.sum()))
        self.powers = powers.tolist()
        self._peaks_of = {pair: self._peak_of(pair, spectrum) for pair, spectrum in cross.items()}

    def _peak_of(self, pair: tuple[int, int], cross: NDArray[np.complex128]) -> tuple[float, int]:
        """The correlation of a pair where it is largest, -1 to 1, and by how many samples the first comes later."""
        i, j = pair
        both = (self.powers[i] * self.powers[j]) ** 0.5
        if both == 0:
            return 0.0, 0
        by_lag = np.fft.irfft(cross)
        near = np.concatenate([by_lag[-_LAG:], by_lag[: _LAG + 1]])  # lags from -_LAG to _LAG
        best = int(np.argmax(np.abs(near)))
        return float(near[best] * len(by_lag) / both), best - _LAG

    def correlation(self, i: int, j: int) -> float:
        """How much two channels are like each other, 0 to 1, inverted or not, or now this and now that."""
        return max(abs(self._peaks_of[i, j][0]), self._changing(i, j))

    def _changing(self, i: int, j: int) -> float:
        """How much they are like each other where each block may be inverted."""
        both = (self.powers[i] * self.powers[j]) ** 0.5
        return self._signless[i, j] / both if both else 0.0

    def adds_up(self, i: int, j: int) -> bool:
        """True where what is the same comes to both at the same time, inverted all the time or never."""
        return abs(self.lag(i, j)) <= _ALIGNED and (
            abs(self._peaks_of[i, j][0]) >= _SAME or self._changing(i, j) < _SAME
        )

    def lag(self, i: int, j: int) -> int:
        """By how many samples ``i`` comes later than ``j``, which is a channel after it."""
        return self._peaks_of[i, j][1]

    def sign(self, i: int, j: int) -> float:
        """-1 for a channel that is inverted."""
        return 1.0 if i == j or self._peaks_of[i, j][0] >= 0 else -1.0


def _power(spectrum: NDArray[np.complexfloating]) -> float:
    """The sum over both halves of a spectrum of which one is given, but for its first and last value."""
    return 2.0 * float(np.sum(np.square(spectrum.real, dtype=np.float64) + np.square(spectrum.imag, dtype=np.float64)))


def _blocks(channels: Sequence[Waveform]) -> Iterator[list[NDArray[np.float32]]]:
    for start in range(0, channels[0].n_samples, _BLOCK):
        yield [channel.read(start, start + _BLOCK) for channel in channels]
