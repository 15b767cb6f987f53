"""Running a transcription as faster-whisper's models do: the info at once, the segments when they are asked for."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_max import api
from whisper_max.audio.mel import FRAMES_PER_SECOND, N_FRAMES, N_SAMPLES
from whisper_max.audio.speech import SpeechWaveform, Timeline
from whisper_max.audio.vad import find_speech
from whisper_max.audio.waveform import SAMPLE_RATE, ArrayWaveform, Waveform
from whisper_max.compat.faster_whisper.audio import pad_or_trim, samples_of
from whisper_max.compat.faster_whisper.options import described
from whisper_max.compat.faster_whisper.results import Segment, TranscriptionInfo, from_native
from whisper_max.compat.faster_whisper.vad import VadOptions
from whisper_max.compat.progress import progress_bar
from whisper_max.decode.language import DetectedLanguage, detect_language, most_likely_language
from whisper_max.errors import OptionError
from whisper_max.text.tokenizer import Tokenizer
from whisper_max.transcribe import result as native
from whisper_max.transcribe.check import check_options
from whisper_max.transcribe.opening import open_recording
from whisper_max.transcribe.recording import Recording
from whisper_max.transcribe.scheduler import transcribe_windows

Transcript = tuple[Iterable[Segment], TranscriptionInfo]
Languages = tuple[str, float, list[tuple[str, float]]]
"""A code, its probability, and those of all codes, likeliest first."""


def transcribe(
    model: api.Model, given: Mapping[str, Any], options: Mapping[str, Any], vad: VadOptions | None
) -> Transcript:
    """Find the speech and the language; what is decoded waits until the segments are asked for."""
    waveform = ArrayWaveform(samples_of(given["audio"]))
    wanted = api.transcribe_options(None, {**options, "vad": vad is not None, "vad_options": vad and vad.native()})
    check_options(model.dims, model.vocabulary, wanted)
    recording = open_recording(waveform, model.vocabulary, model.dims.n_mels, wanted, as_openai=True)
    recording.begin(model.inference)
    for warning in recording.warnings:
        warnings.warn(warning.message, stacklevel=3)
    detected, timeline = recording.detected, None if recording.speech is None else recording.speech.timeline
    if not recording.language:  # nothing is said; the peer's language is what the model makes of the silence
        detected = model.detect_language(waveform.read(0, N_SAMPLES))
    info = TranscriptionInfo(
        language=detected.code if detected else recording.language,
        language_probability=detected.probability if detected else recording.language_probability,
        duration=waveform.duration,
        duration_after_vad=waveform.duration if timeline is None else timeline.n_samples / SAMPLE_RATE,
        all_language_probs=_by_likelihood(detected) if detected else None,
        transcription_options=described(given),
        vad_options=vad,
    )
    return from_native(_segments(model, recording, given["log_progress"])), info


def _segments(model: api.Model, recording: Recording, log_progress: bool) -> Iterator[native.Segment]:
    with progress_bar(show=log_progress) as advance:

        def advance_frames(done: int, total: int) -> None:
            advance(done / FRAMES_PER_SECOND, total / FRAMES_PER_SECOND)

        yield from transcribe_windows(model.inference, recording, on_progress=advance_frames)


def languages_of_samples(
    model: api.Model, samples: NDArray[Any], vad: VadOptions | None, n_windows: int, threshold: float
) -> Languages:
    """The language of the first windows of samples at 16 kHz, or of their speech where ``vad`` is given."""
    recording: Waveform = ArrayWaveform(samples_of(samples))
    if vad is not None:
        spans = find_speech(recording, vad.native())
        recording = SpeechWaveform(recording, Timeline(spans, recording.n_samples))
    starts = range(0, min(recording.n_samples, _counted(n_windows) * N_SAMPLES), N_SAMPLES)
    windows = (model.detect_language(recording.read(each, each + N_SAMPLES)) for each in starts or (0,))
    return _described(most_likely_language(windows, threshold))


def languages_of_features(
    model: api.Model, features: NDArray[np.float32], n_windows: int, threshold: float
) -> Languages:
    """The language of the first windows of features.

    Args:
        features: (n_mels, n_frames) float32.

    Raises:
        OptionError: another shape, or a number of windows below 1.
    """
    if features.ndim != 2 or features.shape[0] != model.dims.n_mels:
        expected = f"({model.dims.n_mels}, n_frames)"
        raise OptionError("wrong shape", where="features", expected=expected, found=features.shape)
    tokenizer = Tokenizer(model.vocabulary)
    starts = range(0, min(features.shape[1], _counted(n_windows) * N_FRAMES), N_FRAMES)
    windows = (pad_or_trim(features[:, each : each + N_FRAMES])[None] for each in starts or (0,))
    encoded = (model.inference.encode(np.ascontiguousarray(each, np.float32)) for each in windows)
    found = (detect_language(model.inference, tokenizer, each)[0] for each in encoded)
    return _described(most_likely_language(found, threshold))


def _counted(n_windows: int) -> int:
    if n_windows < 1:
        raise OptionError("out of range", where="language_detection_segments", expected="1 or more", found=n_windows)
    return n_windows


def _described(detected: DetectedLanguage) -> Languages:
    return detected.code, detected.probability, _by_likelihood(detected)


def _by_likelihood(detected: DetectedLanguage) -> list[tuple[str, float]]:
    return sorted(detected.probabilities.items(), key=lambda each: -each[1])
