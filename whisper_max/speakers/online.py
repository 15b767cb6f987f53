"""Who speaks in a stream, told while it goes on: labels settle as more is heard."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whisper_max.audio.waveform import SAMPLE_RATE
from whisper_max.model.speakers.shapes import FRAME_SAMPLES, N_LOCAL, WINDOW_SAMPLES
from whisper_max.speakers.diarize import Networks, Voice, clear_voices, load_networks, turns_of
from whisper_max.speakers.voices import voice_features
from whisper_max.speakers.windows import STEP_FRAMES, Heard, filled, heard, last_start
from whisper_max.transcribe.speakers import SpeakerCount
from whisper_max.transcribe.turns import Turn

Float32 = NDArray[np.float32]
_FEW = 200
"""Voices that are clustered anew each time, in a few milliseconds."""
_GROWTH = 1.05
"""How many times as many of more voices there are when they are; until then new ones go to speakers who are known."""
_MINUTE = 12
"""Windows in which a speaker who is known stays so: too little is heard of each yet for them to come and go."""
_WINDOWS_A_SECOND = 720
"""Windows, an hour's, that are looked at again every second at most; more of them, the more seldom."""


class OnlineSpeakers:
    """The speakers of a stream so far: the same as ``diarize`` finds in a recording that ends here.

    Windows of 10 s are heard once; the one that reaches the end of the stream is heard again each time. An hour leaves
    3.5 MB, and is looked at in 0.05 s; of longer streams the speakers are found less often.

    Args:
        count: how many speakers there are.
        networks: what hears them.
        position: of the first sample in the stream; turns are timed in that.
    """

    def __init__(self, count: SpeakerCount, networks: Networks, *, position: int = 0) -> None:
        self._count = count
        self._networks = networks
        self._position = position / SAMPLE_RATE
        self._samples = np.zeros(0, np.float32)
        self._first = 0  # of the samples that are kept, among those that were pushed
        self._windows: list[Heard] = []
        self._voices: list[Voice] = []
        self._centres: Float32 | None = None  # of the speakers, (n_speakers, EMBEDDING)
        self._n_clustered = 0  # voices that they were found among
        self._turns: list[Turn] = []
        self._n_told = 0  # samples that these are of

    @property
    def _end(self) -> int:
        return self._first + len(self._samples)

    @property
    def _next(self) -> int:
        """The first frame of the next window."""
        return len(self._windows) * STEP_FRAMES

    def push(self, samples: Float32) -> None:
        """Take the next samples, (n_samples,) at 16 kHz."""
        self._samples = np.concatenate([self._samples, samples])
        while self._end >= self._next * FRAME_SAMPLES + WINDOW_SAMPLES:
            window, voices = self._hear(self._next)
            self._windows.append(window)
            self._voices += voices
        kept = max(0, self._next - STEP_FRAMES) * FRAME_SAMPLES  # where a window that reaches the end may begin
        self._samples = self._samples[max(0, kept - self._first) :]
        self._first = max(self._first, kept)

    def turns(self, *, final: bool = False) -> list[Turn]:
        """Who speaks when, so far; speakers are numbered anew each time. final: all voices are compared again."""
        waiting = self._end - self._n_told
        if not final and waiting * _WINDOWS_A_SECOND < len(self._windows) * SAMPLE_RATE:
            return self._turns
        windows, voices = list(self._windows), list(self._voices)
        last = last_start(self._end)
        if self._end and not (windows and windows[-1].start == last):
            window, of_window = self._hear(last)
            windows.append(window)
            voices += of_window
        self._n_told = self._end
        if voices:
            self._find(windows, voices, final)
        return self._turns

    def _find(self, windows: list[Heard], voices: list[Voice], final: bool) -> None:
        from whisper_max.speakers.clustering import assign, means, speakers_of  # SciPy: slow to import, and of an extra

        clear = clear_voices(windows, voices)
        many_more = len(voices) < _FEW or len(voices) >= self._n_clustered * _GROWTH
        if final or self._centres is None or many_more:
            known = 0 if final or self._centres is None or len(windows) > _MINUTE else len(self._centres)
            labels = speakers_of(clear, max(self._count.least, known), self._count.most)
            self._centres = means(clear.vectors * clear.seconds[:, None], labels)
            self._n_clustered = len(voices)
        else:
            labels = assign(clear, self._centres)
        turns = turns_of(windows, voices, labels, self._end / SAMPLE_RATE)
        self._turns = [Turn(self._position + turn.start, self._position + turn.end, turn.speaker) for turn in turns]

    def _hear(self, start: int) -> tuple[Heard, list[Voice]]:
        """A window from a frame on, and the voices in it."""
        samples = filled(self._samples[start * FRAME_SAMPLES - self._first :][:WINDOW_SAMPLES])
        window = heard(start, self._networks.segment(samples, [0])[0])
        voices = []
        for local in range(N_LOCAL):
            features = voice_features(samples, window.alone[:, local])
            if features is not None:
                (vector,) = self._networks.embed([features])
                voices.append(Voice(len(self._windows), local, len(features) / 100, vector))
        return window, voices


def online_speakers(count: SpeakerCount, position: int = 0) -> OnlineSpeakers:
    """The speakers of a stream by the networks of this process; raises as ``load_networks``."""
    return OnlineSpeakers(count, load_networks(), position=position)
