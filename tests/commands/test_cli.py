"""The command line with a stub in the model's place: arguments in, files, lines and exit status out."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tqdm import tqdm

import whisper_max
from whisper_max.audio.vad_options import VadOptions
from whisper_max.commands import console
from whisper_max.commands import main as cli
from whisper_max.commands.flags import DECODING_OPTIONS, WORD_OPTIONS
from whisper_max.commands.main import main
from whisper_max.commands.transcribe import temperatures
from whisper_max.errors import AudioError, HubError, OptionError
from whisper_max.hardware import target
from whisper_max.transcribe.options import TranscribeOptions
from whisper_max.transcribe.result import Segment, TranscriptionResult
from whisper_max.version import VERSION

SEGMENTS = [
    Segment(0, 0, 0.0, 7.6, " And so, my fellow Americans,", [50364, 400, 50744], 0.0, -0.25, 1.2, 0.01),
    Segment(1, 0, 7.6, 10.6, " ask — naïve, 日本.", [50744, 1029, 50894], 0.0, -0.25, 1.2, 0.01),
]
LINES = "[00:00.000 --> 00:07.600]  And so, my fellow Americans,\n[00:07.600 --> 00:10.600]  ask — naïve, 日本.\n"
DEFAULT_OPTIONS = {
    "channels": "mixed",
    "speakers": None,
    "speaker_file": None,
    "guard": "mark",
    "align_segments": False,
    "track": None,
    "strict": False,
    "task": "transcribe",
    "language": None,
    "language_detection_segments": 1,
    "language_detection_threshold": 0.5,
    "multilingual": False,
    "best_of": 5,
    "beam_size": None,
    "patience": None,
    "length_penalty": None,
    "length_power": None,
    "token_logprobs": False,
    "suppress_tokens": "-1",
    "suppress_regex": None,
    "suppress_numerals": False,
    "suppress_blank": True,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "prefix": None,
    "hotwords": None,
    "without_timestamps": False,
    "max_initial_timestamp": 1.0,
    "sample_len": None,
    "seed": 0,
    "initial_prompt": None,
    "first_prefix": None,
    "chunk_length": 30,
    "carry_initial_prompt": False,
    "condition_on_previous_text": True,
    "compression_ratio_threshold": 2.4,
    "logprob_threshold": -1.0,
    "no_speech_threshold": 0.6,
    "drop_unlikely": False,
    "prompt_reset_on_temperature": 0.5,
    "clip_timestamps": "0",
    "batch_size": 1,
    "vad": False,
    "vad_options": None,
    "word_timestamps": False,
    "prepend_punctuations": "\"'“¿([{-",
    "append_punctuations": "\"'.。,，!！?？:：”)]}、",
    "hallucination_silence_threshold": None,
    "temperature": (0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0),
}


class StubModel:
    """Gives two segments for any audio; a path in ``failures`` raises its exception instead."""

    def __init__(self) -> None:
        self.loaded_with: dict[str, Any] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.journals: list[tuple[str, bool]] = []
        self.failures: dict[str, BaseException] = {}

    def load(self, name: str, **how: Any) -> StubModel:
        self.loaded_with = {"name": name, **how}
        return self

    def check(self, options: TranscribeOptions) -> None:
        if options.task in self.failures:
            raise self.failures[options.task]

    def transcribe(
        self,
        audio: str,
        *,
        on_segment: Callable[[Segment], None] | None,
        on_progress: Callable[[float, float], None],
        on_speakers: Callable[[float, float], None],
        journal: Path,
        resume: bool,
        options: TranscribeOptions,
    ) -> TranscriptionResult:
        self.calls.append((audio, {each.name: getattr(options, each.name) for each in fields(options)}))
        self.journals.append((str(journal), resume))
        on_progress(0.0, 11.0)
        if audio in self.failures:
            raise self.failures[audio]
        for segment in SEGMENTS:
            if on_segment is not None:
                on_segment(segment)
            on_progress(segment.end, 11.0)
        return TranscriptionResult("".join(s.text for s in SEGMENTS), SEGMENTS, "en", duration=11.0)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> StubModel:
    stub = StubModel()
    monkeypatch.setattr(whisper_max, "load_model", stub.load, raising=False)
    monkeypatch.chdir(tmp_path)
    return stub


def written(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---------------------------------------------------------------- transcribe


def test_transcribe_prints_the_segments_and_writes_every_format(model: StubModel, tmp_path: Path, capsys):
    assert main(["transcribe", "jfk.flac"]) == 0
    names = ["jfk.ass", "jfk.csv", "jfk.json", "jfk.lrc", "jfk.srt", "jfk.tsv", "jfk.txt", "jfk.vtt"]
    assert written(tmp_path) == names
    assert (tmp_path / "jfk.txt").read_text(encoding="utf-8") == "And so, my fellow Americans,\nask — naïve, 日本.\n"
    assert json.loads((tmp_path / "jfk.json").read_text(encoding="utf-8"))["segments"][1]["end"] == 10.6
    captured = capsys.readouterr()
    assert captured.out == LINES
    wrote, summary = captured.err.splitlines()
    assert wrote == "jfk.flac: en, wrote jfk.txt, jfk.vtt, jfk.srt, jfk.tsv, jfk.json, jfk.lrc, jfk.csv, jfk.ass"
    assert re.fullmatch(r"1 done, 0 failed; 11\.0 s of audio in \d+\.\d s, [\d.]+ x real time", summary)
    assert model.journals == [("jfk.journal.jsonl", False)]


def test_the_model_gets_the_options_under_openai_whispers_names(model: StubModel):
    assert main(["transcribe", "a.wav"]) == 0
    assert model.calls == [("a.wav", DEFAULT_OPTIONS)]
    how = dict(model.loaded_with)
    assert callable(how.pop("progress"))
    assert how == {
        "name": "base",
        "device": "auto",
        "compute_type": "auto",
        "gpu_memory_utilization": None,
        "offline": False,
        "lora": (),
        "threads": None,
        "weights_dir": None,
    }


def test_every_option_reaches_its_place(model: StubModel, tmp_path: Path):
    command = (
        "transcribe a.wav --model tiny.en --model_dir / --device cpu --compute_type float32 --offline -o out "
        "-f srt --task translate --language German --temperature 0.5 --temperature_increment_on_fallback None "
        "--best_of 2 --suppress_tokens -1 --initial_prompt Ahoi --carry_initial_prompt True "
        "--condition_on_previous_text False --compression_ratio_threshold None --logprob_threshold -0.5 "
        "--no_speech_threshold 0.1 --clip_timestamps 1,2 "
        "--word_timestamps True --prepend_punctuations ( --append_punctuations ) --hallucination_silence_threshold 2"
    )
    assert main(command.split()) == 0
    assert model.loaded_with["name"] == "tiny.en"
    assert model.loaded_with["weights_dir"] == "/"
    assert (model.loaded_with["device"], model.loaded_with["compute_type"]) == ("cpu", "float32")
    assert model.loaded_with["offline"] is True
    assert model.calls[0][1] == DEFAULT_OPTIONS | {
        "task": "translate",
        "language": "de",
        "best_of": 2,
        "suppress_tokens": "-1",
        "initial_prompt": "Ahoi",
        "carry_initial_prompt": True,
        "condition_on_previous_text": False,
        "compression_ratio_threshold": None,
        "logprob_threshold": -0.5,
        "no_speech_threshold": 0.1,
        "clip_timestamps": "1,2",
        "word_timestamps": True,
        "prepend_punctuations": "(",
        "append_punctuations": ")",
        "hallucination_silence_threshold": 2.0,
        "temperature": (0.5,),
    }
    assert written(tmp_path / "out") == ["a.srt"]


def test_options_of_speech_and_batches_reach_their_place(model: StubModel):
    command = (
        "transcribe --vad a.wav --multilingual --batch_size 4 --language_detection_segments 3 "
        "--language_detection_threshold 0.7 --vad_threshold 0.4 --vad_neg_threshold 0.2 "
        "--vad_min_speech_duration_ms 100 --vad_max_speech_duration_s 20 --vad_min_silence_duration_ms 500 "
        "--vad_speech_pad_ms 30"
    )
    assert main(command.split()) == 0
    assert model.calls[0][1] == DEFAULT_OPTIONS | {
        "multilingual": True,
        "language_detection_segments": 3,
        "language_detection_threshold": 0.7,
        "batch_size": 4,
        "vad": True,
        "drop_unlikely": True,
        "condition_on_previous_text": False,
        "vad_options": VadOptions(
            threshold=0.4,
            neg_threshold=0.2,
            min_speech_duration_ms=100,
            max_speech_duration_s=20,
            min_silence_duration_ms=500,
            speech_pad_ms=30,
        ),
    }
    assert main(["transcribe", "a.wav", "--vad"]) == 0
    assert model.calls[1][1] == DEFAULT_OPTIONS | {"vad": True, "vad_options": VadOptions(), "drop_unlikely": True}


def test_batches_without_conditioning_only(model: StubModel, capsys):
    assert main(["transcribe", "a.wav", "--batch_size", "2", "--condition_on_previous_text", "True"]) == 2
    message = "condition_on_previous_text: can't be given together with a batch_size above 1"
    assert message in capsys.readouterr().err
    assert model.calls == []


@pytest.mark.parametrize("flags", [["--output_dir", "a-b"], ["--output-dir", "a-b"], ["--output-dir=a-b"]])
def test_dashes_may_stand_for_underscores_in_flags_only(model: StubModel, tmp_path: Path, flags: list[str]):
    assert main(["transcribe", "a.wav", "--output-format", "txt", *flags]) == 0
    assert written(tmp_path / "a-b") == ["a.txt"]


@pytest.mark.parametrize("tokens", ["-1,50", "-1", "50,-1", "-1, 50"])
@pytest.mark.parametrize("flag", ["--suppress_tokens", "--suppress-tokens"])
def test_lists_that_begin_below_zero_are_values(model: StubModel, flag: str, tokens: str):
    assert main(["transcribe", "a.wav", flag, tokens]) == 0
    assert main(["transcribe", flag, tokens, "a.wav"]) == 0
    assert [(audio, options["suppress_tokens"]) for audio, options in model.calls] == [("a.wav", tokens)] * 2


def test_after_two_dashes_a_switch_and_a_truth_value_are_files(model: StubModel):
    assert main(["transcribe", "-f", "txt", "--", "--vad", "True"]) == 0
    assert [audio for audio, _ in model.calls] == ["--vad", "True"]


def test_after_two_dashes_everything_is_a_file(model: StubModel):
    assert main(["transcribe", "-f", "txt", "--", "--my-file.wav"]) == 0
    assert model.calls[0][0] == "--my-file.wav"


def test_quiet_prints_nothing(model: StubModel, capsys):
    assert main(["transcribe", "a.wav", "--verbose", "False"]) == 0
    assert capsys.readouterr() == ("", "")


def test_a_file_that_fails_is_reported_and_the_others_are_done(model: StubModel, tmp_path: Path, capsys):
    model.failures["b.wav"] = AudioError("truncated", where="b.wav", expected="10 s", found="4 s")
    assert main(["transcribe", "a.wav", "b.wav", "c.wav", "-f", "txt"]) == 1
    assert written(tmp_path) == ["a.txt", "c.txt"]
    assert "error: b.wav: truncated: expected 10 s, found 4 s" in capsys.readouterr().err.splitlines()


def test_an_impossible_option_is_refused_before_the_model_loads(model: StubModel, tmp_path: Path, capsys):
    assert main(["transcribe", "a.wav", "b.wav", "--suppress_tokens", "x"]) == 2
    assert model.loaded_with == {}
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: suppress_tokens: not a list of token ids: ")
    assert written(tmp_path) == []


def test_an_option_that_the_model_can_not_honour_is_refused_once(model: StubModel, tmp_path: Path, capsys):
    model.failures["translate"] = OptionError("turbo can't translate", where="task")
    assert main(["transcribe", "a.wav", "b.wav", "--task", "translate"]) == 2
    assert capsys.readouterr().err == "error: task: turbo can't translate\n"
    assert (model.calls, written(tmp_path)) == ([], [])


def test_a_model_that_does_not_load_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys):
    def load(name: str, **_: Any) -> StubModel:
        raise HubError("not on this machine, and the hub is off limits (offline)", where="openai/whisper-small")

    monkeypatch.setattr(whisper_max, "load_model", load, raising=False)
    assert main(["transcribe", "a.wav", "--model", "small", "--offline"]) == 1
    expected = "error: openai/whisper-small: not on this machine, and the hub is off limits (offline)\n"
    assert capsys.readouterr() == ("", expected)


def test_progress_of_loading_goes_to_standard_error(model: StubModel, monkeypatch: pytest.MonkeyPatch, capsys):
    def load(name: str, *, progress: Callable[[str], None], **_: Any) -> StubModel:
        progress("compiling base for this CPU, once, about 2 minutes")
        return model

    monkeypatch.setattr(whisper_max, "load_model", load, raising=False)
    assert main(["transcribe", "a.wav", "--verbose", "False"]) == 0
    assert capsys.readouterr() == ("", "compiling base for this CPU, once, about 2 minutes\n")


def test_a_terminal_gets_a_bar_in_seconds_of_audio(model: StubModel, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr(console, "BAR_DELAY", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(["transcribe", "talks/jfk.flac", "--verbose", "False"]) == 0
    last = capsys.readouterr().err.split("\r")[-1]
    assert re.match(r"jfk\.flac: 100%\|█+\| 00:0\d, 00:00 left\n", last)


def test_a_pipe_gets_a_line_now_and_then(model: StubModel, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr(console, "LINE_EVERY", 0.0)
    assert main(["transcribe", "talks/jfk.flac", "--verbose", "False"]) == 0
    assert capsys.readouterr() == ("", "jfk.flac: 0 %\njfk.flac: 69 %\njfk.flac: 96 %\n")
    monkeypatch.setattr(console, "LINE_EVERY", 60.0)
    assert main(["transcribe", "talks/jfk.flac", "--verbose", "False"]) == 0
    assert capsys.readouterr() == ("", "")


class EagerBar(tqdm):  # type: ignore[misc] # tqdm has no types
    """Shows every step."""

    def __init__(self, **how: Any) -> None:
        super().__init__(mininterval=0, miniters=0, **how)


def test_the_bar_goes_over_all_recordings_by_their_bytes(model: StubModel, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(console, "BAR_DELAY", 0.0)
    monkeypatch.setattr(console, "tqdm", EagerBar)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    for name, size in (("a.wav", 1000), ("b.wav", 9000), ("c.wav", 10_000)):
        (tmp_path / name).write_bytes(bytes(size))
    model.failures["b.wav"] = AudioError("truncated")
    assert main(["transcribe", "a.wav", "b.wav", "c.wav", "-f", "txt", "--verbose", "False"]) == 1
    shown = re.findall(r"(\[\d/3\] \w\.wav): +(\d+)%", capsys.readouterr().err)
    assert list(dict.fromkeys(shown)) == [
        ("[1/3] a.wav", "0"),
        ("[1/3] a.wav", "3"),  # 7.6 of 11 s
        ("[1/3] a.wav", "5"),
        ("[2/3] b.wav", "5"),
        ("[2/3] b.wav", "50"),
        ("[3/3] c.wav", "50"),
        ("[3/3] c.wav", "85"),
        ("[3/3] c.wav", "98"),
        ("[3/3] c.wav", "100"),
    ]


def test_ctrl_c_leaves_finished_files_whole(model: StubModel, tmp_path: Path, capsys):
    model.failures["b.wav"] = KeyboardInterrupt()
    assert main(["transcribe", "a.wav", "b.wav", "c.wav", "-f", "json"]) == 130
    assert written(tmp_path) == ["a.json"]
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["language"] == "en"
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("interrupted"))
    assert line.startswith("interrupted: 1 done, 0 failed; 11.0 s of audio in ")
    assert line.endswith(" x real time; the same command with --resume goes on")


@pytest.mark.parametrize(
    ("formats", "suffixes"),
    [
        ("txt,srt", ["srt", "txt"]),
        ("lrc", ["lrc"]),
        ("csv, csv", ["csv"]),
        ("txt,all", ["ass", "csv", "json", "lrc", "srt", "tsv", "txt", "vtt"]),
    ],
)
def test_formats(model: StubModel, tmp_path: Path, formats: str, suffixes: list[str]):
    assert main(["transcribe", "a.wav", "-f", formats]) == 0
    assert written(tmp_path) == [f"a.{suffix}" for suffix in suffixes]


def test_inputs_of_one_stem_do_not_overwrite_each_other(model: StubModel, tmp_path: Path):
    assert main(["transcribe", "one/talk.wav", "two/talk.wav", "talk.b.wav", "-f", "txt"]) == 0
    assert len(written(tmp_path)) == 3
    assert "talk.b.txt" in written(tmp_path)


# ---------------------------------------------------------------- options


DECODING_VALUES = {
    "beam_size": 5,
    "patience": 1.5,
    "length_penalty": 0.5,
    "suppress_regex": "[a-z]x",
    "repetition_penalty": 1.1,
    "no_repeat_ngram_size": 3,
    "prefix": "So",
    "hotwords": "MAX Mojo",
    "sample_len": 100,
    "max_initial_timestamp": 2.0,
    "seed": 7,
    "drop_unlikely": True,
    "prompt_reset_on_temperature": 0.9,
    "chunk_length": 20,
}


def test_options_of_decoding_are_passed_on(model: StubModel):
    arguments = [word for name, value in DECODING_VALUES.items() for word in (f"--{name}", str(value))]
    switches = ["--suppress-numerals", "--without_timestamps", "--suppress_blank", "False"]
    assert main(["transcribe", "a.wav", *arguments, *switches]) == 0
    expected = {"suppress_numerals": True, "without_timestamps": True, "suppress_blank": False}
    assert model.calls[0][1] == DEFAULT_OPTIONS | DECODING_VALUES | expected


def test_the_command_line_knows_every_option_of_a_transcription():
    names = {option.name for option in DECODING_OPTIONS + WORD_OPTIONS}
    assert set(TranscribeOptions.__dataclass_fields__) - names == {"vad_options", "length_power", "first_prefix"}


@pytest.mark.parametrize(("argument", "threads"), [("0", None), ("4", 4), ("-1", -1)])
def test_threads_go_to_the_model(model: StubModel, argument: str, threads: int | None):
    main(["transcribe", "a.wav", "--threads", argument])
    assert model.loaded_with["threads"] == threads


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: AUDIO"),
        (["a.wav", "--language", "Klingon"], "argument --language: unknown language: found 'Klingon'"),
        (["a.wav", "--task", "summarise"], "argument --task: invalid choice: 'summarise'"),
        (
            ["a.wav", "-f", "txt,doc"],
            "argument --output_format/-f: expected txt, vtt, srt, tsv, json, lrc, csv, ass or all",
        ),
        (["a.wav", "--verbose", "maybe"], "argument --verbose: expected True or False, found 'maybe'"),
        (["a.wav", "--temperature", "hot"], "argument --temperature: invalid float value: 'hot'"),
        (["a.wav", "--best_of", "2.5"], "argument --best_of: expected a whole number or None, found '2.5'"),
        (["a.wav", "--beam"], "unrecognized arguments: --beam"),
        (["a.wav", "--vad_threshold", "0.4"], "--vad_threshold needs --vad"),
        (["-", "-"], "standard input (-) can be transcribed only once"),
        (["a.wav", "--files_at_once", "0"], "--files_at_once: expected 1 to 256, found 0"),
        (["a.wav", "--files_at_once", "257"], "--files_at_once: expected 1 to 256, found 257"),
        (
            ["a.wav", "--files-at-once", "2", "--batch_size", "2"],
            "--files_at_once and --batch_size above 1 can't be given together",
        ),
        (
            ["a.wav", "--temperature_increment_on_fallback", "0"],
            "argument --temperature_increment_on_fallback: expected 0.01 or more, or None, found '0'",
        ),
        (
            ["a.wav", "--temperature_increment_on_fallback", "1e-9"],
            "argument --temperature_increment_on_fallback: expected 0.01 or more, or None, found '1e-9'",
        ),
        (["a.wav", "--vad", "True"], "--vad takes no value, found True: give it alone, or leave it out"),
        (["--vad", "false", "a.wav"], "--vad takes no value, found false: give it alone, or leave it out"),
        (["--suppress-numerals", "True", "a.wav"], "--suppress_numerals takes no value, found True"),
        (["a.wav", "--suppress_tokens", "-x"], "argument --suppress_tokens: expected one argument"),
        (["a.wav", "--fp16", "True", "--compute_type", "float32"], "--fp16 and --compute_type can't be given together"),
    ],
)
def test_wrong_usage_is_named(model: StubModel, capsys, arguments: list[str], message: str):
    with pytest.raises(SystemExit, match="2"):
        main(["transcribe", *arguments])
    assert message in capsys.readouterr().err
    assert model.loaded_with == {}


@pytest.mark.parametrize(
    ("fp16", "is_cpu", "compute_type", "said"),
    [("True", False, "float16", False), ("True", True, "float32", True), ("False", True, "float32", False)],
)
def test_fp16_is_another_name_for_a_compute_type(
    model: StubModel, monkeypatch, capsys, fp16: str, is_cpu: bool, compute_type: str, said: bool
):
    """As openai-whisper has it: a CPU computes in float32 all the same, and says so."""
    monkeypatch.setattr(target, "select_target", lambda device: SimpleNamespace(is_cpu=is_cpu))
    assert main(["transcribe", "a.wav", "--fp16", fp16]) == 0
    assert model.loaded_with["compute_type"] == compute_type
    assert ("a CPU has no float16" in capsys.readouterr().err) is said


def test_temperatures_are_numpys_arange():
    # numpy.arange(0, 1 + 1e-6, 0.2) and so on, as openai-whisper's command line calls it
    assert temperatures(0.0, 0.2) == (0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0)
    assert temperatures(0.2, 0.4) == (0.2, 0.6000000000000001, 1.0)
    assert temperatures(1.0, 0.2) == (1.0,)
    assert temperatures(0.4, None) == (0.4,)
    assert len(temperatures(0.0, 0.01)) == 101


def test_a_temperature_above_one_is_tried_alone():
    assert temperatures(1.5, 0.2) == (1.5,)


@pytest.mark.parametrize("value", ["nan", "inf", "-1000000000000.0"])
def test_what_is_no_temperature_is_refused(model: StubModel, capsys, value: str):
    assert main(["transcribe", "a.wav", "--temperature", value]) == 2
    assert capsys.readouterr().err == f"error: temperature: out of range: expected 0 or more, found {value}\n"


# ---------------------------------------------------------------- models, streams


def test_models_lists_every_published_model(capsys):
    assert main(["models"]) == 0
    table = capsys.readouterr().out.split("\n\n")[0]  # what is on this machine follows
    lines = table.splitlines()
    assert len(lines) == 18
    assert lines[0].split() == ["name", "mels", "blocks", "width", "languages", "weights", "hub", "id"]
    turbo = next(line.split() for line in lines if line.startswith("large-v3-turbo = turbo "))
    assert turbo[3:7] == ["128", "32+4", "1280", "100"]
    assert turbo[-1] == "openai/whisper-large-v3-turbo"


def test_models_that_are_not_here_name_their_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("WHISPER_MAX_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(importlib.import_module("whisper_max.checkpoint.resolve"), "installed_files", lambda name: None)
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "hub, or extra [base]" in next(line for line in lines if line.startswith("base "))
    assert "hub   " in next(line for line in lines if line.startswith("small "))


def test_a_reader_that_goes_away_ends_it_quietly():
    code = (
        "import sys\nfrom whisper_max.commands import main as cli, models\n"
        "def run(_):\n    for _ in range(100000): print('x' * 100)\n    return 0\n"
        "models.run = run\nsys.exit(cli.main(['models']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=Path(cli.__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert (process.wait(timeout=600), process.stderr.read()) == (141, b"")
    process.stderr.close()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
def test_output_that_can_not_be_written_is_one_line():
    with open("/dev/full", "wb") as full:
        result = subprocess.run(
            [sys.executable, "-m", "whisper_max", "models"],
            cwd=Path(cli.__file__).parents[2],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            timeout=600,
        )
    line = b"error: standard output: can't be written: found No space left on device\n"
    assert (result.returncode, result.stderr) == (1, line)


def test_what_is_not_printing_is_not_told_as_printing(model: StubModel, tmp_path: Path, capsys):
    (tmp_path / "gone").mkdir()
    os.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert main(["transcribe", "a.wav"]) == 1
    assert capsys.readouterr().err == "error: refused by the system: found No such file or directory\n"


@pytest.mark.parametrize("streams", [["stdout"], ["stderr"], ["stdout", "stderr"]])
def test_closed_streams_stop_nothing(model: StubModel, tmp_path: Path, monkeypatch, streams: list[str]):
    for stream in streams:
        monkeypatch.setattr(sys, stream, None)
    assert main(["transcribe", "a.wav", "-f", "txt"]) == 0
    assert written(tmp_path) == ["a.txt"]
    for stream in streams:
        getattr(sys, stream).close()


def test_a_narrow_terminal_shows_escapes_and_does_not_fail():
    code = (
        "from whisper_max.commands import main as cli, models\n"
        "models.run = lambda _: print('日本') or 0\ncli.main(['models'])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(cli.__file__).parents[2],
        env={"PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        check=True,
        timeout=600,
    )
    assert result.stdout == b"\\u65e5\\u672c\n"


def test_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"whisper_max {VERSION}\n"
