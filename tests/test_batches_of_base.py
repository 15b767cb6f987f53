"""The real base model: batches of pieces and of recordings, and voice activity detection on real speech."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whisper_max.api import Model
from whisper_max.audio.io import open_audio

SAMPLE = Path(__file__).parents[1] / "samples" / "jfk.flac"
N_TIMES = 7
PAUSE = 16000  # samples


@pytest.fixture(scope="module")
def base(real_model: Callable[[str], Model]) -> Model:
    return real_model("base")


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    with open_audio(SAMPLE) as waveform:
        return waveform.read(0, waveform.n_samples).copy()


@pytest.fixture(scope="module")
def long_speech(speech: np.ndarray) -> np.ndarray:
    """82 s, different everywhere."""
    parts = [np.concatenate([speech * (1 - i / 20), np.zeros(PAUSE + 997 * i, np.float32)]) for i in range(N_TIMES)]
    return np.concatenate(parts)


def said(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isalpha() or letter == " ")


def test_the_batch_size_changes_nothing_and_nothing_is_lost(base: Model, long_speech: np.ndarray):
    results = [base.transcribe(long_speech, batch_size=size, language="en", temperature=0.0) for size in (2, 3, 8)]
    segments = [[segment.to_dict() for segment in result.segments] for result in results]
    assert segments[0] == segments[1] == segments[2]
    assert said(results[0].text).count("ask not what your country can do for you") == N_TIMES
    assert said(results[0].text).count("ask what you can do for your country") == N_TIMES


def test_recordings_side_by_side_are_recordings_alone(base: Model, speech: np.ndarray):
    recordings = [speech, speech[: 16000 * 6], speech[16000 * 3 :]]
    alone = [base.transcribe(each, language="en", temperature=0.0) for each in recordings]
    outcomes = base.transcribe_many(recordings, batch_size=2, language="en", temperature=0.0)
    together = {outcome.index: outcome.result for outcome in outcomes}
    assert [together[index] for index in range(3)] == alone


def test_words_after_long_silence_are_where_they_are_said(base: Model, speech: np.ndarray):
    quiet = np.zeros(16000 * 45, np.float32)
    options: dict[str, Any] = {"language": "en", "temperature": 0.0, "word_timestamps": True, "vad": True}
    result = base.transcribe(np.concatenate([speech, quiet, speech, quiet]), **options)
    alone = base.transcribe(speech, **options)
    words = [word for segment in result.segments for word in segment.words or ()]
    expected = [word for segment in alone.segments for word in segment.words or ()]
    assert result.duration == pytest.approx(112.0)
    assert result.duration_after_vad is not None
    assert result.duration_after_vad < 24
    assert said(result.text).count("ask not what your country can do for you") == 2
    second = [word for word in words if word.start > 20]
    assert len(words) - len(second) == len(second) == len(expected)
    for late, early in zip(second, expected, strict=True):
        assert late.start - 56.0 == pytest.approx(early.start, abs=0.7)  # words move in their pauses with the context
    assert all(word.end <= 112.0 for word in words)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_silence_and_noise_yield_no_text(base: Model, batch_size: int):
    rng = np.random.default_rng(5)
    for level in (0.0, 0.01, 0.2):
        noise = (level * rng.normal(0, 1, 16000 * 40)).clip(-1, 1).astype(np.float32)
        result = base.transcribe(noise, vad=True, batch_size=batch_size)
        assert (result.text, result.segments, result.language) == ("", [], "")


def test_sounds_that_are_no_speech_yield_no_text(base: Model, recordings: Path):
    sounds = sorted((recordings / "noise_music").iterdir())
    assert [sound.name for sound in sounds if base.transcribe(sound, vad=True).text] == []
    assert len(sounds) == 4
    laughter = recordings / "noise_music" / "laugh2.mp3"
    assert base.transcribe(laughter, vad=True, drop_unlikely=False).text != ""  # it passes for speech
