"""Transcribing with a fake model gives what openai-whisper gives (``scripts/reference/dump_decoding_reference.py``)."""

import json
from pathlib import Path

import pytest

from tests.support.fake_inference import DIMS, ENGLISH_DIMS, FakeInference, FakeMel, checksum
from tests.support.recordings import begun
from tests.support.synthetic_vocabulary import synthetic_vocabulary as vocabulary
from whisper_max.transcribe.options import TranscribeOptions
from whisper_max.transcribe.scheduler import transcribe_windows

SCENARIOS = json.loads((Path(__file__).parent / "data" / "openai_transcriptions.json").read_text(encoding="utf-8"))
NUMBERS = ["id", "seek", "start", "end", "temperature", "avg_logprob", "compression_ratio", "no_speech_prob"]
TOLERANCE = 5e-5  # PyTorch's float32 log_softmax over 51865 values is itself off by up to 3e-5; NumPy's by 5e-7


@pytest.mark.parametrize("first", range(0, len(SCENARIOS), 20))
def test_transcriptions_are_openai_whispers(first):
    for scenario in SCENARIOS[first : first + 20]:
        result, expected = run(scenario), scenario["expected"]
        context = scenario["key"], scenario["n_frames"], scenario["options"]
        assert (result.text, result.language) == (expected["text"], expected["language"]), context
        assert len(result.segments) == len(expected["segments"]), context
        for segment, (*numbers, tokens, words) in zip(result.segments, expected["segments"], strict=True):
            assert segment.tokens == [int(token) for token in tokens.split()], context
            assert [getattr(segment, name) for name in NUMBERS] == pytest.approx(numbers, abs=TOLERANCE), context
            assert (segment.words is not None) == scenario["options"].get("word_timestamps", False)
            assert [word.word for word in segment.words or ()] == [word for word, *_ in words], context
            for word, (_, *timing) in zip(segment.words or (), words, strict=True):
                assert [word.start, word.end, word.probability] == pytest.approx(timing, abs=TOLERANCE), context


def run(scenario):
    inference = FakeInference(ENGLISH_DIMS if scenario["english"] else DIMS, known_by=checksum)
    mel = FakeMel(scenario["n_frames"], scenario["key"])
    options = TranscribeOptions(**scenario["options"])
    transcription = begun(inference, vocabulary(english=scenario["english"]), mel, options)
    segments = list(transcribe_windows(inference, transcription))
    return transcription.result(segments)
