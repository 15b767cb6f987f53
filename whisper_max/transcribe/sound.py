"""Where a recording sounds at all: for its language, and for segments that are to start and end with what they say."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from whisper_max.audio.mel import N_FRAMES, N_SAMPLES
from whisper_max.audio.warnings import AudioWarning
from whisper_max.audio.waveform import SAMPLE_RATE, Waveform
from whisper_max.transcribe.segment import Segment, Word

_SILENT = 1e-3  # of full scale: no sample of silence is louder; -60 dB
_BLOCK = SAMPLE_RATE // 20  # samples, 50 ms
_QUIET = 0.03  # of the loudest block's root mean square, -30 dB: nobody speaks below it
_EARLY = 5.0  # seconds before any sound at which the first segment is told to start too early
_PAUSE = 0.5  # seconds that are quiet between two parts that sound


class Sound:
    """The sound of a recording.

    Args:
        recorded: all of it.
        heard: what of it is transcribed: all, or its speech.
    """

    def __init__(self, recorded: Waveform, heard: Waveform) -> None:
        self._recorded, self._heard = recorded, heard

    def windows(self, n_windows: int) -> list[int]:
        """The first mel frames of the first windows of 30 s of what is heard that are not silent; 0 where all are.

        Raises:
            AudioError: a spooled recording can't be read back.
        """
        found: list[int] = []
        for number, start in enumerate(range(0, self._heard.n_samples, N_SAMPLES)):
            if len(found) == n_windows:
                break
            if _peak(self._heard, start, start + N_SAMPLES) > _SILENT:
                found.append(number * N_FRAMES)
        return found or [0]

    @cached_property
    def start(self) -> float:
        """Seconds of silence before the first sound; all of a silent recording.

        Raises:
            AudioError: a spooled recording can't be read back.
        """
        for start in range(0, self._recorded.n_samples, N_SAMPLES):
            loud = np.flatnonzero(np.abs(self._recorded.read(start, start + N_SAMPLES)) > _SILENT)
            if len(loud):
                return float(start + loud[0]) / SAMPLE_RATE
        return self._recorded.duration

    def early(self, segments: Sequence[Segment]) -> list[AudioWarning]:
        """A warning where the first segment starts much before anything can be heard.

        Raises:
            AudioError: a spooled recording can't be read back.
        """
        first = next((segment.start for segment in segments if segment.text.strip()), None)
        if first is None or self.start - first <= _EARLY:
            return []
        end = self.start
        message = f"{first:.2f} to {end:.2f} s: the first segment starts before any sound; align_segments True moves it"
        return [AudioWarning("early segment", first, end, message)]

    def parts(self, start: float, end: float) -> list[tuple[float, float]]:
        """The parts that sound between two times, in seconds, with pauses of half a second or more between them.

        Raises:
            AudioError: a spooled recording can't be read back.
        """
        first = round(start * SAMPLE_RATE)
        samples = self._recorded.read(first, round(end * SAMPLE_RATE))
        n_blocks = -(-len(samples) // _BLOCK)
        blocks = np.zeros((n_blocks, _BLOCK), np.float32)
        blocks.ravel()[: len(samples)] = samples
        loudness = np.sqrt(np.mean(np.square(blocks), axis=1))  # (n_blocks,)
        parts: list[tuple[float, float]] = []
        for block in np.flatnonzero(loudness > max(_SILENT / 4, _QUIET * loudness.max(initial=0.0))):
            begin = start + float(block) * _BLOCK / SAMPLE_RATE
            stop = min(begin + _BLOCK / SAMPLE_RATE, end)
            if parts and begin - parts[-1][1] < _PAUSE:
                parts[-1] = (parts[-1][0], stop)
            else:
                parts.append((begin, stop))
        return parts

    def settle(self, words: list[Word]) -> None:
        """Let each word of a segment last no longer than what sounds of it; of two parts, the longer one."""
        parts = self.parts(words[0].start, words[-1].end)
        for word in words:
            heard = [(max(start, word.start), min(end, word.end)) for start, end in parts]
            heard = [(start, end) for start, end in heard if start < end]
            if heard:
                word.start, word.end = max(heard, key=lambda part: part[1] - part[0])


def _peak(waveform: Waveform, start: int, stop: int) -> float:
    return float(np.abs(waveform.read(start, stop)).max(initial=0.0))
