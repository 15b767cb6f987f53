"""The speech of a recording as a waveform of its own, and the way back from its times to the recording's."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from whisper_max.audio.mel import HOP_LENGTH
from whisper_max.audio.vad import Span
from whisper_max.audio.warnings import AudioWarning
from whisper_max.audio.waveform import SAMPLE_RATE, Waveform


class Timeline:
    """Spans of a recording put one after the other, and what each sample of the one is in the other.

    Spans are widened to whole mel frames of 160 samples and joined where they then touch, so that a frame of the
    speech is a frame of the recording, moved.

    Args:
        spans: first sample and the sample after the last, ascending, within the recording.
        n_recorded: samples of the recording.
    """

    def __init__(self, spans: Iterable[Span], n_recorded: int) -> None:
        self.spans = _whole_frames(spans, n_recorded)
        self.n_recorded = n_recorded
        self._starts = [start for start, _ in self.spans]
        self._ends = [end for _, end in self.spans]
        self._offsets = [0, *accumulate(end - start for start, end in self.spans)]

    @property
    def n_samples(self) -> int:
        return self._offsets[-1]

    def span_at(self, sample: int) -> int:
        """The index of the span that a sample of the speech belongs to: the nearest, for one outside of all."""
        return min(max(bisect_right(self._offsets, sample) - 1, 0), len(self.spans) - 1)

    def recorded(self, sample: int, span: int) -> int:
        """Where in the recording a sample of the speech is, taken as one of a span: kept between the span's ends."""
        start, end = self.spans[span]
        return min(max(start + sample - self._offsets[span], start), end)

    def recorded_start(self, sample: int) -> int:
        """Where in the recording something starts; at a border it starts with the later span."""
        return self.recorded(sample, self.span_at(sample))

    def recorded_end(self, sample: int) -> int:
        """Where in the recording something ends; at a border it ends with the earlier span."""
        return self.recorded(sample, min(max(bisect_left(self._offsets, sample) - 1, 0), len(self.spans) - 1))

    def spoken(self, sample: int) -> int:
        """Which sample of the speech one of the recording is; in a silence, the next one of speech."""
        span = bisect_right(self._starts, sample) - 1
        if span < 0:
            return 0
        return self._offsets[span] + min(sample, self._ends[span]) - self._starts[span]

    def spans_between(self, start: int, stop: int) -> list[Span]:
        """The parts of the recording that samples ``start`` to ``stop`` of the speech are made of."""
        first, last = self.span_at(start), self.span_at(stop)
        parts = ((self.recorded(start, span), self.recorded(stop, span)) for span in range(first, last + 1))
        return [(begin, end) for begin, end in parts if begin < end]


def _whole_frames(spans: Iterable[Span], n_samples: int) -> Sequence[Span]:
    joined: list[Span] = []
    for start, end in spans:
        start -= start % HOP_LENGTH
        end = min(end + -end % HOP_LENGTH, n_samples)
        if joined and start <= joined[-1][1]:
            start, end = joined[-1][0], max(end, joined[-1][1])
            joined.pop()
        if start < end:
            joined.append((start, end))
    return joined


class SpeechWaveform:
    """The speech of a recording, span after span, read from the recording when asked for.

    Args:
        recording: all of it.
        timeline: the spans of it that are speech.
    """

    def __init__(self, recording: Waveform, timeline: Timeline) -> None:
        self._recording = recording
        self._timeline = timeline

    @property
    def n_samples(self) -> int:
        return self._timeline.n_samples

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.n_samples / SAMPLE_RATE

    @property
    def warnings(self) -> Sequence[AudioWarning]:
        """Those of the whole recording, at its times."""
        return self._recording.warnings

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Samples ``start`` to ``stop`` of the speech, (n_samples,) float32.

        Raises:
            AudioError: a spooled recording can't be read back.
        """
        start, stop = max(start, 0), min(stop, self.n_samples)
        parts = (
            [self._recording.read(*span) for span in self._timeline.spans_between(start, stop)] if start < stop else []
        )
        return parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, np.float32), *parts])
