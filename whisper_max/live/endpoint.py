"""When somebody begins and stops to speak, from the probability of speech in one chunk after the other."""

from __future__ import annotations

from dataclasses import dataclass

from whisper_max.audio.vad_options import VadOptions
from whisper_max.audio.waveform import SAMPLE_RATE


@dataclass(frozen=True)
class Change:
    """Speech started, or else stopped, at a sample of the stream."""

    started: bool
    position: int


class Endpointer:
    """Silero's rules for spans of speech (``audio.vad.speech_spans``), decided as the stream goes.

    Speech starts where the probability reaches the threshold and has stayed above the silence threshold for
    ``min_speech_duration_ms``; it is over once the probability has been below that for ``min_silence_duration_ms``.

    Attributes:
        onset: where the speech that goes on started, in samples; None while nobody speaks.
        quiet: since when it may be over; None where it goes on.
    """

    def __init__(self, options: VadOptions) -> None:
        self._options = options
        self._shortest = _samples(options.min_speech_duration_ms)
        self._pause = _samples(options.min_silence_duration_ms)
        self._started = False
        self.onset: int | None = None
        self.quiet: int | None = None

    @property
    def speaking(self) -> bool:
        """True from the start of speech that was reported to its end."""
        return self._started

    def update(self, position: int, end: int, probability: float) -> Change | None:
        """Take the chunk of samples ``position`` to ``end``."""
        if probability >= self._options.threshold:
            self.quiet = None
            self.onset = position if self.onset is None else self.onset
        elif self.onset is not None and probability < self._options.silence_threshold:
            if not self._started:
                self.onset = None
            elif self.quiet is None:
                self.quiet = position
        if self.onset is not None and not self._started and end - self.onset >= self._shortest:
            self._started = True
            return Change(True, self.onset)
        silent = probability < self._options.silence_threshold
        if self._started and silent and self.quiet is not None and end - self.quiet >= self._pause:
            stopped = Change(False, self.quiet)
            self.reset()
            return stopped
        return None

    def reset(self) -> None:
        """Begin again, as if nobody had spoken."""
        self._started = False
        self.onset = self.quiet = None


def _samples(milliseconds: float) -> int:
    return round(milliseconds * SAMPLE_RATE / 1000)
