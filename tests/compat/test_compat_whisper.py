"""openai-whisper's door: its names, argument order and defaults; and that what is asked arrives or is refused."""

from __future__ import annotations

import importlib
import inspect
import io
import json
import sys
import warnings
import zlib
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

import whisper_max
from whisper_max.compat import loading, whisper
from whisper_max.compat.whisper import model as whisper_model
from whisper_max.compat.whisper.audio import HostArray
from whisper_max.errors import NotOfferedError, OptionError

REQUIRED = inspect.Parameter.empty
TRANSCRIBE = {
    "verbose": None,
    "temperature": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
    "compression_ratio_threshold": 2.4,
    "logprob_threshold": -1.0,
    "no_speech_threshold": 0.6,
    "condition_on_previous_text": True,
    "initial_prompt": None,
    "carry_initial_prompt": False,
    "word_timestamps": False,
    "prepend_punctuations": "\"'“¿([{-",
    "append_punctuations": "\"'.。,，!！?？:：”)]}、",
    "clip_timestamps": "0",
    "hallucination_silence_threshold": None,
    "decode_options": REQUIRED,
}
# openai-whisper 20250625: each function's parameters in their order, with their defaults.
SIGNATURES = [
    (whisper.available_models, {}),
    (whisper.load_model, {"name": REQUIRED, "device": None, "download_root": None, "in_memory": False}),
    (whisper.load_audio, {"file": REQUIRED, "sr": 16000}),
    (whisper.pad_or_trim, {"array": REQUIRED, "length": 480000, "axis": -1}),
    (whisper.log_mel_spectrogram, {"audio": REQUIRED, "n_mels": 80, "padding": 0, "device": None}),
    (
        whisper.decode,
        {"model": REQUIRED, "mel": REQUIRED, "options": whisper.DecodingOptions(), "kwargs": REQUIRED},
    ),
    (whisper.detect_language, {"model": REQUIRED, "mel": REQUIRED, "tokenizer": None}),
    (whisper.transcribe, {"model": REQUIRED, "audio": REQUIRED, **TRANSCRIBE}),
    (
        whisper.tokenizer.get_tokenizer,
        {"multilingual": REQUIRED, "num_languages": 99, "language": None, "task": None},
    ),
]
DECODING_OPTIONS = {
    "task": "transcribe",
    "language": None,
    "temperature": 0.0,
    "sample_len": None,
    "best_of": None,
    "beam_size": None,
    "patience": None,
    "length_penalty": None,
    "prompt": None,
    "prefix": None,
    "suppress_tokens": "-1",
    "suppress_blank": True,
    "without_timestamps": False,
    "max_initial_timestamp": 1.0,
    "fp16": True,
}
DECODING_RESULT = [
    "audio_features",
    "language",
    "language_probs",
    "tokens",
    "text",
    "avg_logprob",
    "no_speech_prob",
    "temperature",
    "compression_ratio",
]
SEGMENT = [
    "id",
    "seek",
    "start",
    "end",
    "text",
    "tokens",
    "temperature",
    "avg_logprob",
    "compression_ratio",
    "no_speech_prob",
]


@pytest.fixture
def model(native) -> whisper.Whisper:
    return whisper.Whisper(native, "cpu")


@pytest.fixture
def window() -> np.ndarray:
    return np.random.default_rng(0).random((2, 3000), dtype=np.float32)


@pytest.mark.parametrize(("function", "parameters"), SIGNATURES, ids=lambda value: getattr(value, "__name__", ""))
def test_signatures_are_the_peers(function, parameters):
    found = {name: each.default for name, each in inspect.signature(function).parameters.items()}
    assert list(found.items()) == list(parameters.items())


def test_keyword_only_arguments_are_the_peers():
    parameters = inspect.signature(whisper.transcribe).parameters
    kinds = {name: parameters[name].kind for name in TRANSCRIBE if name != "decode_options"}
    assert set(kinds.values()) == {inspect.Parameter.KEYWORD_ONLY}
    assert inspect.signature(whisper.pad_or_trim).parameters["axis"].kind is inspect.Parameter.KEYWORD_ONLY


def test_fields_of_options_and_results_are_the_peers():
    assert list({each.name: each.default for each in fields(whisper.DecodingOptions)}.items()) == list(
        DECODING_OPTIONS.items()
    )
    assert [each.name for each in fields(whisper.DecodingResult)] == DECODING_RESULT


def test_methods_are_the_functions():
    assert whisper.Whisper.transcribe is whisper.transcribe
    assert whisper.Whisper.decode is whisper.decode
    assert whisper.Whisper.detect_language is whisper.detect_language


# ---------------------------------------------------------------- audio


def test_pad_or_trim():
    assert whisper.pad_or_trim(np.array([1, 2, 3]), 2).tolist() == [1, 2]
    assert whisper.pad_or_trim(np.array([1, 2, 3]), 5).tolist() == [1, 2, 3, 0, 0]
    assert whisper.pad_or_trim(np.array([[1, 2], [3, 4]]), 1, axis=0).tolist() == [[1, 2]]
    assert whisper.pad_or_trim(np.zeros(7, np.float32)).shape == (480000,)


def test_the_peers_first_example_runs(model, tmp_path: Path):
    path = str(tmp_path / "a.wav")
    soundfile.write(path, np.random.default_rng(1).normal(0, 0.1, 16000), 16000)
    audio = whisper.pad_or_trim(whisper.load_audio(path))
    mel = whisper.log_mel_spectrogram(audio, n_mels=model.dims.n_mels).to(model.device)
    assert (mel.shape, mel.dtype, type(mel)) == ((2, 3000), np.dtype(np.float32), HostArray)
    token, probabilities = model.detect_language(mel)
    assert sum(probabilities.values()) == pytest.approx(1)
    language = max(probabilities, key=probabilities.get)
    result = whisper.decode(model, mel, whisper.DecodingOptions(fp16=False))
    assert isinstance(result, whisper.DecodingResult)
    assert result.language == language
    assert result.language_probs == probabilities
    assert token.item() == 50259 + list(probabilities).index(language)


def test_a_spectrogram_of_a_file_is_that_of_its_samples(tmp_path: Path):
    path = str(tmp_path / "a.wav")
    soundfile.write(path, np.random.default_rng(1).normal(0, 0.1, 16000), 16000)
    from_audio = whisper.log_mel_spectrogram(whisper.load_audio(path), padding=160)
    assert from_audio.shape == (80, 101)
    assert np.array_equal(from_audio, whisper.log_mel_spectrogram(path, 80, 160, "cpu"))


def test_other_rates_and_devices_that_are_none_are_refused():
    with pytest.raises(OptionError, match=r"^sr: "):
        whisper.load_audio("a.wav", 8)
    mel = whisper.log_mel_spectrogram(np.ones(16000, np.float32))
    assert mel.to("cuda:0") is mel
    with pytest.raises(OptionError, match=r"^device: "):
        mel.to(np.float16)
    with pytest.raises(OptionError, match=r"^device: "):
        whisper.log_mel_spectrogram(np.ones(16000, np.float32), device="fast")


# ---------------------------------------------------------------- decode and detect_language


def test_decode_of_a_batch_is_each_window_alone(model, window):
    batch = np.stack([window, window[:, ::-1]])
    together = model.decode(batch, fp16=False)
    alone = [model.decode(each, whisper.DecodingOptions(fp16=False)) for each in batch]
    assert [result.tokens for result in together] == [result.tokens for result in alone]
    assert together[0].tokens != together[1].tokens
    tokens, probabilities = model.detect_language(batch)
    assert (tokens.shape, tokens.dtype) == ((2,), np.int64)
    assert [max(each, key=each.get) for each in probabilities] == [result.language for result in together]


def test_encoded_audio_stands_for_its_mel(model, window):
    first = model.decode(window, fp16=False)
    n_encoded = model.native.inference.encoded
    again = model.decode(first.audio_features, fp16=False)
    assert (again.tokens, again.text) == (first.tokens, first.text)
    assert model.detect_language(model.embed_audio(window))[1] == first.language_probs
    assert model.native.inference.encoded == n_encoded + 1


def test_options_of_decode_reach_the_decoder(model, window):
    options = whisper.DecodingOptions(language="de", without_timestamps=True, sample_len=3, fp16=False)
    result = model.decode(window, options)
    assert (result.language, result.language_probs, len(result.tokens)) == ("de", None, 3)
    other = model.decode(window, options, suppress_tokens=iter(result.tokens), temperature=0.5)
    assert set(other.tokens).isdisjoint(result.tokens)
    assert other.temperature == 0.5


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"task": "sing"}, "task"),
        ({"best_of": 2}, "best_of"),
        ({"beam_size": 2, "best_of": 2}, "beam_size"),
        ({"patience": 1.0}, "patience"),
        ({"length_penalty": 2.0}, "length_penalty"),
        ({"colour": 1}, "colour"),
    ],
)
def test_impossible_options_of_decode_are_refused_by_name(model, window, options, name):
    with pytest.raises(ValueError, match=f"^{name}: "):
        model.decode(window, fp16=False, **options)


def test_the_task_lang_id_only_tells_the_language(model, window):
    batch = np.stack([window, window[:, ::-1]])
    spoken = model.decode(batch, fp16=False)
    found = model.decode(batch, fp16=False, task="lang_id", language="de")
    assert [(each.language, each.language_probs) for each in found] == [
        (each.language, each.language_probs) for each in spoken
    ]
    assert found[0].language != found[1].language or found[0].language_probs != found[1].language_probs
    assert [(each.tokens, each.text) for each in found] == [([], "")] * 2
    assert all(np.isnan([each.avg_logprob, each.no_speech_prob, each.temperature]).all() for each in found)
    alone = model.decode(window, whisper.DecodingOptions(task="lang_id", fp16=False))
    assert alone.language_probs == spoken[0].language_probs
    assert model.decode(alone.audio_features, fp16=False).tokens == spoken[0].tokens


def test_the_task_lang_id_takes_a_model_with_languages_and_possible_options(model, native_english, window, noise):
    with pytest.raises(OptionError, match="English-only"):
        whisper.Whisper(native_english, "cpu").decode(window, task="lang_id", fp16=False)
    with pytest.raises(OptionError, match=r"^patience: "):
        model.decode(window, task="lang_id", patience=1.0, fp16=False)
    with pytest.raises(OptionError, match=r"^task: "):
        model.transcribe(noise, task="lang_id", fp16=False)


def test_what_is_no_window_is_refused(model):
    with pytest.raises(OptionError, match=r"^mel: .*\(2, 3000\).*found \(2, 100\)"):
        model.decode(np.zeros((2, 100), np.float32), fp16=False)


def test_an_english_model_has_no_languages(native_english, window):
    with pytest.raises(ValueError, match="English-only"):
        whisper.Whisper(native_english, "cpu").detect_language(window)


# ---------------------------------------------------------------- transcribe


def test_the_result_is_plain_dicts(model, noise):
    result = model.transcribe(noise, fp16=False, language="en")
    assert list(result) == ["text", "segments", "language"]
    assert [list(segment) for segment in result["segments"]] == [SEGMENT] * len(result["segments"])
    assert len(result["segments"]) > 3
    assert result["text"] == "".join(segment["text"] for segment in result["segments"])
    assert result["language"] == "en"
    assert result == model.native.transcribe(noise, language="en", guard="off").to_dict()


def test_every_option_arrives(model, noise, calls):
    given = {
        "temperature": (0.0, 0.5),
        "compression_ratio_threshold": 2.0,
        "logprob_threshold": -0.5,
        "no_speech_threshold": 0.5,
        "condition_on_previous_text": False,
        "initial_prompt": "abc",
        "carry_initial_prompt": True,
        "word_timestamps": True,
        "prepend_punctuations": "(",
        "append_punctuations": ")",
        "clip_timestamps": [0.0, 5.0],
        "hallucination_silence_threshold": 2.0,
        "task": "translate",
        "language": "German",
        "sample_len": 5,
        "best_of": 2,
        "beam_size": 2,
        "patience": 2.0,
        "length_penalty": 0.5,
        "prefix": "ab",
        "suppress_tokens": [5],
        "suppress_blank": False,
        "without_timestamps": True,
        "max_initial_timestamp": None,
    }
    with pytest.warns(UserWarning, match="words of a translation"):
        model.transcribe(noise, fp16=False, **given)
    (options,) = calls
    assert {name: options[name] for name in given} == given
    assert set(options) - set(given) == {"on_segment", "on_progress", "guard"}


@pytest.mark.parametrize(("name", "value"), [("prompt", "abc"), ("colour", 1), ("beam", 5)])
def test_other_options_are_refused_by_name(model, noise, name, value):
    with pytest.raises(OptionError, match=f"^{name}: "):
        model.transcribe(noise, fp16=False, **{name: value})


def test_half_precision_on_a_cpu_warns_as_the_peer_does(model, noise, window):
    message = "FP16 is not supported on CPU; using FP32 instead"
    with pytest.warns(UserWarning, match=message) as caught:
        model.transcribe(noise[:1600])
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match=message):
        model.decode(window)


def test_single_precision_on_a_gpu_is_refused(native, noise):
    on_gpu = whisper.Whisper(native, "cuda")
    with pytest.raises(OptionError, match=r"^fp16: "):
        on_gpu.transcribe(noise, fp16=False)
    assert on_gpu.transcribe(noise[:160])["language"] == on_gpu.transcribe(noise[:160], fp16=True)["language"]


def test_verbose_prints_the_language_and_the_segments(model, noise, capsys):
    result = model.transcribe(noise, fp16=False, verbose=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"Detected language: {whisper.tokenizer.LANGUAGES[result['language']].title()}"
    assert lines[1].startswith("[00:")
    model.transcribe(noise, fp16=False, verbose=None)
    assert capsys.readouterr() == ("", "")


def test_verbose_false_shows_a_bar(model, noise, capsys):
    model.transcribe(noise, fp16=False, language="en", verbose=False)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "100%" in captured.err
    assert "70.0/70.0" in captured.err


def test_times_are_the_peers_which_may_lie_after_the_end(model, native):
    late = 0
    for seed in range(12):
        noise = np.random.default_rng(seed).normal(0, 0.1, round(3.9 * 16000)).astype(np.float32)
        theirs = model.transcribe(noise, fp16=False, language="en", temperature=0.0)["segments"]
        ours = native.transcribe(noise, language="en", temperature=0.0).segments
        assert [segment["text"] for segment in theirs] == [segment.text for segment in ours]
        assert all(segment.end <= 3.9 for segment in ours)
        assert [min(segment["end"], 3.9) for segment in theirs] == [segment.end for segment in ours]
        late += sum(segment["end"] > 3.9 for segment in theirs)
    assert late > 0


# ---------------------------------------------------------------- writers


def test_writers_write_what_transcribe_returns(model, noise, tmp_path: Path):
    result = model.transcribe(noise, fp16=False, language="en", word_timestamps=True)
    write = whisper.utils.get_writer("all", str(tmp_path / "out"))
    write(result, "talks/a.b.wav", {"max_line_width": 20, "max_line_count": 1, "highlight_words": True})
    names = ["a.b.json", "a.b.srt", "a.b.tsv", "a.b.txt", "a.b.vtt"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    read = json.loads((tmp_path / "out" / "a.b.json").read_text(encoding="utf-8"))
    assert read == json.loads(json.dumps(result))
    lines = (tmp_path / "out" / "a.b.txt").read_text(encoding="utf-8").splitlines()
    assert lines == [segment["text"].strip() for segment in result["segments"]]
    assert "<u>" in (tmp_path / "out" / "a.b.srt").read_text(encoding="utf-8")


def test_writers_take_options_by_name_and_refuse_others(tmp_path: Path):
    words = [{"word": f" w{i}", "start": float(i), "end": i + 1.0, "probability": 0.5} for i in range(4)]
    segment = dict.fromkeys(SEGMENT, 0.0) | {"id": 0, "seek": 0, "end": 4.0, "text": " w0 w1 w2 w3", "tokens": []}
    result = {"text": segment["text"], "segments": [{**segment, "words": words}], "language": "en"}
    write = whisper.utils.get_writer("srt", str(tmp_path))
    write(result, "a.wav", max_words_per_line=2)
    assert (tmp_path / "a.srt").read_text(encoding="utf-8").splitlines()[2::4] == ["w0 w1", "w2 w3"]
    with pytest.raises(OptionError, match=r"^colour: "):
        write(result, "a.wav", {"colour": 1})
    with pytest.raises(OptionError, match=r"^output_format: "):
        whisper.utils.get_writer("doc", str(tmp_path))


WORDS = [{"word": f" w{i}", "start": float(i), "end": i + 1.0, "probability": 0.5} for i in range(4)]
SEGMENTS = [{"start": 0.0, "end": 4.0, "text": " w0 w1 w2 w3", "words": WORDS}]
RESULT: dict[str, Any] = {"segments": SEGMENTS, "speaker": "Ann"}
WRITTEN = {
    "txt": "w0 w1 w2 w3\n",
    "vtt": "WEBVTT\n\n00:00.000 --> 00:04.000\nw0 w1 w2 w3\n\n",
    "srt": "1\n00:00:00,000 --> 00:00:04,000\nw0 w1 w2 w3\n\n",
    "tsv": "start\tend\ttext\n0\t4000\tw0 w1 w2 w3\n",
    "json": json.dumps(RESULT),
}
WRITERS: list[Any] = [
    whisper.utils.WriteTXT,
    whisper.utils.WriteVTT,
    whisper.utils.WriteSRT,
    whisper.utils.WriteTSV,
    whisper.utils.WriteJSON,
]


@pytest.mark.parametrize("kind", WRITERS)
def test_a_writer_of_each_format_writes_to_files_and_to_open_ones(kind: Any, tmp_path: Path):
    writer = kind(str(tmp_path / "out"))
    assert (whisper.utils.ResultWriter in kind.mro(), writer.output_dir) == (True, str(tmp_path / "out"))
    assert [type(whisper.utils.get_writer(kind.extension, str(tmp_path)))] == [kind]
    writer(RESULT, "talks/a.b.wav")
    assert (tmp_path / "out" / f"a.b.{kind.extension}").read_text(encoding="utf-8") == WRITTEN[kind.extension]
    file = io.StringIO()
    writer.write_result(RESULT, file=file)
    assert file.getvalue() == WRITTEN[kind.extension]


def test_json_is_the_dict_as_it_is_but_for_numbers_that_are_none():
    file = io.StringIO()
    whisper.utils.WriteJSON(".").write_result({"text": "žluťoučký", "avg_logprob": float("nan"), "more": [1]}, file)
    assert json.loads(file.getvalue()) == {"text": "žluťoučký", "avg_logprob": None, "more": [1]}


def test_a_programs_own_writer_writes_its_file_whole_or_not_at_all(tmp_path: Path):
    class WriteCount(whisper.utils.ResultWriter):
        extension = "count"

        def write_result(self, result, file, options=None, **kwargs):
            print(len(result["segments"]) // options["by"], file=file)

    writer = WriteCount(str(tmp_path))
    writer(RESULT, "a.wav", {"by": 1})
    assert (tmp_path / "a.count").read_text(encoding="utf-8") == "1\n"
    with pytest.raises(ZeroDivisionError):
        writer(RESULT, "b.wav", {"by": 0})
    assert [path.name for path in tmp_path.iterdir()] == ["a.count"]


def test_cues_one_by_one():
    cues = whisper.utils.WriteSRT(".").iterate_result(RESULT, {"max_words_per_line": 2})
    assert list(cues) == [("00:00:00,000", "00:00:02,000", "w0 w1"), ("00:00:02,000", "00:00:04,000", "w2 w3")]
    (cue,) = whisper.utils.WriteVTT(".").iterate_result({"segments": [{"start": 1, "end": 2, "text": " <a>"}]})
    assert cue == ("00:01.000", "00:02.000", "<a>")


@pytest.mark.parametrize("format", ["txt", "json", "tsv"])
def test_what_is_no_subtitle_ignores_options_of_layout(format, tmp_path: Path):
    layout = {"max_line_width": 42, "max_line_count": 2, "highlight_words": False}
    whisper.utils.get_writer(format, str(tmp_path))(RESULT, "a.wav", layout)
    assert (tmp_path / f"a.{format}").read_text(encoding="utf-8") == WRITTEN[format]
    whisper.utils.get_writer(format, str(tmp_path))(RESULT, "b.wav", max_line_count=2)
    assert (tmp_path / f"b.{format}").read_text(encoding="utf-8") == WRITTEN[format]
    with pytest.raises(OptionError, match=r"^colour: unknown option"):
        whisper.utils.get_writer(format, str(tmp_path))(RESULT, "c.wav", {"colour": 1})


def test_options_of_layout_change_nothing_without_words_and_say_so(tmp_path: Path):
    without = {"segments": [{**RESULT["segments"][0], "words": None}]}
    write = whisper.utils.get_writer("srt", str(tmp_path))
    write(without, "a.wav")
    plain = (tmp_path / "a.srt").read_text()
    with pytest.warns(UserWarning, match="max_line_width changes nothing without words"):
        write(without, "a.wav", max_line_width=20)
    assert (tmp_path / "a.srt").read_text() == plain
    with pytest.raises(OptionError, match="max_line_count has no effect without max_line_width"):
        write(without, "a.wav", max_line_count=2)
    (tmp_path / "a.srt").unlink()
    unset = {"highlight_words": False, "max_line_count": None, "max_line_width": None, "max_words_per_line": None}
    whisper.utils.get_writer("txt", str(tmp_path))(RESULT, "a.wav", **unset)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_small_functions():
    utils = whisper.utils
    assert [utils.optional_int("None"), utils.optional_int("5")] == [None, 5]
    assert [utils.optional_float("None"), utils.optional_float("0.5")] == [None, 0.5]
    assert [utils.str2bool("True"), utils.str2bool("False")] == [True, False]
    for parse, text in ((utils.str2bool, "true"), (utils.optional_int, "x"), (utils.optional_float, "x")):
        with pytest.raises(ValueError, match=text):
            parse(text)
    assert utils.exact_div(480000, 160) == 3000
    with pytest.raises(OptionError, match="a multiple of 160, found 1"):
        utils.exact_div(1, 160)
    assert utils.make_safe("日本 🙂") == "日本 🙂"
    assert utils.compression_ratio("a" * 1000) == 1000 / len(zlib.compress(b"a" * 1000))
    assert utils.format_timestamp(3661.5, decimal_marker=",") == "01:01:01,500"
    segments: list[dict[str, Any]] = [{"start": 1, "end": 9, "words": WORDS[2:3]}, {"start": 5, "end": 10}]
    assert [utils.get_start(segments), utils.get_end(segments)] == [2.0, 3.0]
    assert [utils.get_start(segments[1:]), utils.get_end(segments[1:])] == [5, 10]
    assert [utils.get_start([]), utils.get_end([])] == [None, None]


def test_names_that_programs_import():
    assert whisper.__version__ == "20250625"
    assert set(whisper.__all__) >= {"__version__", "DecodingOptions", "DecodingResult", "ModelDimensions", "Whisper"}
    for module, names in {
        "audio": "SAMPLE_RATE N_FRAMES load_audio log_mel_spectrogram pad_or_trim",
        "decoding": "DecodingOptions DecodingResult decode detect_language",
        "model": "ModelDimensions Whisper",
        "tokenizer": "LANGUAGES TO_LANGUAGE_CODE Tokenizer get_tokenizer",
        "transcribe": "transcribe",
        "utils": "ResultWriter SubtitlesWriter WriteJSON WriteSRT WriteTSV WriteTXT WriteVTT compression_ratio "
        "exact_div format_timestamp get_end get_start get_writer make_safe optional_float optional_int str2bool",
        "version": "__version__",
    }.items():
        found = vars(importlib.import_module(f"whisper_max.compat.whisper.{module}"))
        assert set(names.split()) <= set(found)


@pytest.mark.parametrize("name", ["encoder", "decoder", "logits", "forward", "parameters", "set_alignment_heads"])
def test_what_is_torchs_is_refused_by_name(model, name):
    assert not hasattr(model, name)
    with pytest.raises(NotOfferedError, match=f"^{name}: not offered; "):
        getattr(model, name)


# ---------------------------------------------------------------- load_model


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch, native) -> list[dict]:
    how = []

    def load_model(name, **arguments):
        how.append({"name": name, **arguments})
        return native

    monkeypatch.setattr(whisper_max, "load_model", load_model, raising=False)
    return how


@pytest.mark.parametrize(
    ("asked", "gpu", "device", "compute_type"),
    [
        (None, False, "cpu", "float32"),
        (None, True, "cuda", "float16"),
        ("cpu", True, "cpu", "float32"),
        ("cuda:1", True, "cuda:1", "float16"),
    ],
)
def test_load_model_chooses_as_the_peer_does(loaded, monkeypatch, asked, gpu, device, compute_type):
    monkeypatch.setattr(whisper_model, "select_target", lambda: SimpleNamespace(is_cpu=not gpu))
    model = whisper.load_model("base", asked)
    assert (model.device, model.is_multilingual, model.num_languages) == (device, True, 99)
    (how,) = loaded
    assert (how["name"], how["device"], how["compute_type"]) == ("base", device, compute_type)
    assert (how["weights_dir"], how["offline"], how["revision"]) == (None, False, None)


def test_weights_are_in_memory_in_any_case_and_other_devices_are_refused(loaded, tmp_path: Path):
    assert whisper.load_model("base", "cpu", in_memory=True).dims == whisper.load_model("base", "cpu").dims
    loaded.clear()
    with pytest.raises(OptionError, match=r"^device: "):
        whisper.load_model("base", "mps")
    assert loaded == []


def test_download_root_is_a_place_to_look(loaded, monkeypatch, tmp_path: Path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    fetched: list[tuple[Any, ...]] = []
    monkeypatch.setattr(loading, "download", lambda *how: fetched.append(how))
    whisper.load_model("medium.en", "cpu", str(tmp_path))
    assert [(hub_id, folder) for hub_id, *_, folder in fetched] == [
        ("openai/whisper-medium.en", tmp_path / "medium.en")
    ]
    fetched.clear()
    loaded.clear()
    (tmp_path / "medium.en.pt").write_bytes(b"PK\x03\x04")
    whisper.load_model("medium.en", "cpu", str(tmp_path))
    assert loaded[0]["weights_dir"] == str(tmp_path)
    assert fetched == []


def test_a_device_has_a_type_and_a_number(native):
    devices = [whisper.Whisper(native, name).device for name in ("cpu", "cuda", "cuda:1")]
    assert [(each, each.type, each.index) for each in devices] == [
        ("cpu", "cpu", None),
        ("cuda", "cuda", None),
        ("cuda:1", "cuda", 1),
    ]


def test_a_model_stays_where_it_is(model):
    assert model.to("cpu") is model
    with pytest.raises(OptionError, match=r"^device: "):
        model.to("cuda")


def test_available_models():
    assert whisper.available_models is loading.available_models
    names = whisper.available_models()
    peers = "tiny.en tiny base.en base small.en small medium.en medium large-v1 large-v2 large-v3 large large-v3-turbo"
    assert {*peers.split(), "turbo"} <= set(names)
    assert len(set(names)) == len(names)


def test_nothing_warns_where_nothing_is_amiss(model, noise):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.transcribe(noise[:16000], fp16=False)


def test_normalizers_are_the_peers():
    normalizers = importlib.import_module("whisper_max.compat.whisper.normalizers")
    spoken = "He's twenty-one years old, Mr. Smith!"
    assert normalizers.EnglishTextNormalizer()(spoken) == "he is 21 years old mister smith"
    assert normalizers.BasicTextNormalizer()("Où est-il, <là>?") == "où est il "


def test_normalizers_name_their_extra(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("whisper_max.compat.whisper.normalizers")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "whisper_normalizer.basic", None)
    with pytest.raises(ImportError, match=r"pip install 'whisper-max\[evaluate\]'"):
        importlib.import_module("whisper_max.compat.whisper.normalizers")
