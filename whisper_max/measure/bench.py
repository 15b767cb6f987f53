"""Stage by stage: how long each part of a transcription takes, alone and in whole runs.

The model is timed from outside, through the interface that decoding uses it by. What a stage takes can be held against
the work that it has (``costs``) at the rates of this machine (``peaks``).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import soundfile

from whisper_max.audio.io import open_audio
from whisper_max.audio.mel import N_FRAMES, N_SAMPLES, MelWindows
from whisper_max.audio.waveform import SAMPLE_RATE, ArrayWaveform, Waveform
from whisper_max.decode.contract import Float32, Inference
from whisper_max.errors import OptionError
from whisper_max.measure.costs import Costs, Work
from whisper_max.measure.timed import CROSS_KV, DECODE, ENCODER, MEL, STEP, Call, Stages, TimedInference, TimedMel
from whisper_max.text.tokenizer import Vocabulary, build_tokenizer
from whisper_max.transcribe.opening import open_recording
from whisper_max.transcribe.options import TranscribeOptions
from whisper_max.transcribe.scheduler import transcribe_windows
from whisper_max.transcribe.window import Mel


def write_noise(path: str, n_windows: int) -> None:
    """A recording of white noise, 16 kHz and 16 bits, some windows long; always the same."""
    samples = np.random.default_rng(0).standard_normal(n_windows * N_SAMPLES, dtype=np.float32)
    soundfile.write(path, np.clip(0.1 * samples, -1, 1), SAMPLE_RATE, format="WAV", subtype="PCM_16")


@dataclass(frozen=True)
class BenchOptions:
    """What to measure.

    runs: of every stage, after one that warms up. batch: windows decoded at once, beside one alone. steps: tokens after
    each prompt, where no transcript ends them. language: of a recording; None to detect it.

    Raises:
        OptionError: a number out of range.
    """

    runs: int = 5
    batch: int = 1
    steps: int = 64
    language: str | None = None

    def __post_init__(self) -> None:
        for name in ("runs", "batch", "steps"):
            if getattr(self, name) < 1:
                raise OptionError("out of range", where=name, expected="at least 1", found=getattr(self, name))


@dataclass(frozen=True)
class Row:
    """A stage at one size, over all runs. items: windows or tokens a call. seconds: of each call."""

    stage: str
    items: int
    seconds: list[float]
    work: Work | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Whole:
    """Whole runs of a recording.

    seconds: of each. calls: of the median one, by stage. n_windows: that it encoded. n_tokens: that it sampled.
    """

    seconds: list[float]
    audio_seconds: float
    calls: Mapping[str, list[Call]]

    @property
    def median(self) -> float:
        """Seconds of the run whose calls are kept."""
        return statistics.median_low(self.seconds)

    @property
    def n_windows(self) -> int:
        return sum(call.items for call in self.calls.get(ENCODER, []))

    @property
    def n_steps(self) -> int:
        """Tokens that went through a step, of all windows together."""
        return sum(call.items for call in self.calls.get(STEP, []))


class Bench:
    """Measures a model on a recording.

    Args:
        inference: the model.
        vocabulary: for the prompt.
        costs: of the model's dimensions.
        options: what to measure.
        tick: called after each piece of work, ``n_ticks`` times in all.

    Raises:
        OptionError: more steps than the model has places.
    """

    def __init__(
        self,
        inference: Inference,
        vocabulary: Vocabulary,
        costs: Costs,
        options: BenchOptions,
        tick: Callable[[], object] = lambda: None,
    ) -> None:
        self._inference = inference
        self._vocabulary = vocabulary
        self._costs = costs
        self._options = options
        self._tick = tick
        self._sizes = sorted({1, options.batch})
        most = inference.dims.n_text_ctx - len(self._prompt)
        if options.steps > most:
            raise OptionError("more than the model has places", where="steps", expected=most, found=options.steps)

    @property
    def n_ticks(self) -> int:
        """Pieces of work of ``stages`` and ``whole``, those that warm up among them."""
        return (self._options.runs + 1) * (len(self._sizes) + 3)

    @cached_property
    def _prompt(self) -> tuple[int, ...]:
        multilingual = self._vocabulary.is_multilingual
        return build_tokenizer(self._vocabulary, multilingual=multilingual, language=None, task=None).sot_sequence

    def stages(self, path: str) -> list[Row]:
        """Each stage alone: all of the recording decoded, and its first window with a fixed number of steps.

        Raises:
            AudioError: the recording can't be read.
        """
        with open_audio(path) as waveform:
            samples = waveform.read(0, N_SAMPLES)
        first = ArrayWaveform(np.pad(samples, (0, N_SAMPLES - len(samples))))
        n_mels = self._inference.dims.n_mels
        rows = [
            Row(DECODE, 1, self._repeated(lambda: _decode(path))),
            Row(MEL, 1, self._repeated(lambda: MelWindows(first, n_mels).window(0))),
        ]
        mel = MelWindows(first, n_mels).window(0)
        for size in self._sizes:
            rows += self._decoding_rows([mel] * size)
        return rows

    def _repeated(self, work: Callable[[], object]) -> list[float]:
        """Seconds of each run but the first."""
        seconds = []
        for _ in range(self._options.runs + 1):
            start = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - start)
            self._tick()
        return seconds[1:]

    def _decoding_rows(self, mels: Sequence[Float32]) -> list[Row]:
        """The model's stages for so many windows; what is done for each as it joins is there once, for one window."""
        calls: dict[str, list[Call]] = {}
        for run in range(self._options.runs + 1):
            stages = Stages(self._costs)
            self._decode_fixed(stages, mels)
            self._tick()
            for stage, its in stages.calls.items() if run else ():
                calls.setdefault(stage, []).extend(its)
        wanted = [stage for stage in calls if stage not in (ENCODER, CROSS_KV) or len(mels) == 1]
        return [_row(stage, calls[stage]) for stage in wanted]

    def _decode_fixed(self, stages: Stages, mels: Sequence[Float32]) -> None:
        """Encode windows, and decode a fixed number of the likeliest tokens of each, side by side."""
        model = TimedInference(self._inference, stages)
        batch = model.new_batch(len(mels))
        for start in range(0, len(mels), model.encode_size):
            features = model.encode(np.stack(mels[start : start + model.encode_size]))
            batch.put(range(start, start + features.n_windows), features)
        logits = batch.prefill(range(len(mels)), [self._prompt] * len(mels), [[-1]] * len(mels))[:, 0]
        for _ in range(self._options.steps):
            logits = batch.step(logits.argmax(axis=-1).astype(np.int32))

    def whole(self, path: str, *, is_speech: bool) -> Whole:
        """A recording from its file to its last token, ``runs`` times after one that warms up.

        Speech is transcribed as usual, greedily and without fallback. Noise has no transcript: its windows are decoded
        with a fixed number of steps, ``batch`` at once.

        Raises:
            AudioError: the recording can't be read.
            OptionError: an impossible language, or a batch that this machine can't cut a recording for.
        """
        work = self._transcribe if is_speech else self._walk
        runs: list[tuple[float, dict[str, list[Call]]]] = []
        duration = 0.0
        for _ in range(self._options.runs + 1):
            stages = Stages(self._costs)
            with ExitStack() as stack:
                start = time.perf_counter()
                with stages.timed(DECODE):
                    waveform = stack.enter_context(open_audio(path))
                work(waveform, stages)
                runs.append((time.perf_counter() - start, stages.calls))
                duration = waveform.duration
            self._tick()
        seconds = [each for each, _ in runs[1:]]
        median = statistics.median_low(seconds)
        return Whole(seconds, duration, next(calls for each, calls in runs[1:] if each == median))

    def _transcribe(self, waveform: Waveform, stages: Stages) -> None:
        options = TranscribeOptions(language=self._options.language, temperature=0.0, batch_size=self._options.batch)
        n_mels, model = self._inference.dims.n_mels, TimedInference(self._inference, stages)
        recording = open_recording(waveform, self._vocabulary, n_mels, options, as_openai=True)
        recording.mel = TimedMel(recording.mel, stages)
        recording.begin(model)
        for _ in transcribe_windows(model, recording):
            pass

    def _walk(self, waveform: Waveform, stages: Stages) -> None:
        mel: Mel = TimedMel(MelWindows(waveform, self._inference.dims.n_mels), stages)
        seeks = range(0, mel.n_frames, N_FRAMES)
        for start in range(0, len(seeks), self._options.batch):
            self._decode_fixed(stages, [mel.window(seek) for seek in seeks[start : start + self._options.batch]])


def _decode(path: str) -> None:
    with open_audio(path):
        pass


def _row(stage: str, calls: Sequence[Call]) -> Row:
    return Row(stage, calls[0].items, [call.seconds for call in calls], calls[0].work)
