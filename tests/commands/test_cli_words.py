"""Word timestamps on the command line: how subtitles are laid out, and what is refused before a model loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import whisper_max
from whisper_max.commands.flags import WORD_OPTIONS
from whisper_max.commands.main import main
from whisper_max.transcribe.options import TranscribeOptions
from whisper_max.transcribe.result import Segment, TranscriptionResult, Word

WORDS = [
    Word(" And", 0.0, 0.5, 0.9),
    Word(" so,", 0.5, 1.0, 0.9),
    Word(" my", 1.0, 1.5, 0.9),
    Word(" fellow", 1.5, 2.0, 0.9),
]


class StubModel:
    """Gives one segment of four words."""

    def check(self, _: Any) -> None:
        """Every option is possible."""

    def transcribe(self, audio: str, *, options: TranscribeOptions, **_: Any) -> TranscriptionResult:
        assert options.word_timestamps
        text = "".join(word.word for word in WORDS)
        return TranscriptionResult(text, [Segment(0, 0, 0.0, 2.0, text, [400], 0.0, -0.2, 1.0, 0.0, WORDS)], "en")


@pytest.fixture(autouse=True)
def loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    models: list[str] = []
    monkeypatch.setattr(whisper_max, "load_model", lambda name, **_: models.append(name) or StubModel(), raising=False)
    monkeypatch.chdir(tmp_path)
    return models


def cues(path: Path) -> list[str]:
    return ["|".join(cue.splitlines()[2:]) for cue in path.read_text(encoding="utf-8").strip().split("\n\n")]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], ["And so, my fellow"]),
        (["--max_line_width", "8"], ["And so,|my|fellow"]),
        (["--max-line-width", "8", "--max-line-count", "1"], ["And so,", "my", "fellow"]),
        (["--max_words_per_line", "3"], ["And so, my", "fellow"]),
        (
            ["--max_words_per_line", "2", "--highlight_words", "True"],
            ["<u>And</u> so,", "And <u>so,</u>", "<u>my</u> fellow", "my <u>fellow</u>"],
        ),
    ],
)
def test_layout(tmp_path: Path, options: list[str], expected: list[str]):
    assert main(["transcribe", "a.wav", "-f", "srt,txt", "--word_timestamps", "True", *options]) == 0
    assert cues(tmp_path / "a.srt") == expected
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "And so, my fellow\n"


def test_a_style_takes_words_for_itself(tmp_path: Path):
    assert main(["transcribe", "a.wav", "-f", "srt,ass", "--subtitle_style", "netflix", "--karaoke", "True"]) == 0
    assert cues(tmp_path / "a.srt") == ["And so, my fellow"]
    assert r"{\k50}And{\k50} so,{\k50} my{\k50} fellow" in (tmp_path / "a.ass").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--highlight_words True", "highlight_words needs word_timestamps"),
        ("--max_line_width 40", "max_line_width needs word_timestamps"),
        ("--max_words_per_line 4", "max_words_per_line needs word_timestamps"),
        ("--word_timestamps True --max_line_count 2", "max_line_count has no effect without max_line_width"),
        (
            "--word_timestamps True --max_line_count 2 --max_line_width 40 --max_words_per_line 4",
            "max_words_per_line has no effect with max_line_width and max_line_count",
        ),
        (
            "--word_timestamps True --max_line_width 0",
            "max_line_width: not a limit: expected an integer above 0, found 0",
        ),
        (
            "--word_timestamps True --highlight_words True -f txt,json",
            "highlight_words needs the format srt, vtt or ass: found txt, json",
        ),
        ("--hallucination_silence_threshold 2", "hallucination_silence_threshold: needs word_timestamps"),
    ],
)
def test_what_can_not_be_honoured_is_refused_before_the_model_loads(
    loaded: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], options: str, message: str
):
    assert main(["transcribe", "a.wav", *options.split()]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"
    assert loaded == []
    assert list(tmp_path.iterdir()) == []


def test_the_defaults_are_those_of_the_python_interface():
    options = TranscribeOptions()
    assert {option.name: option.default for option in WORD_OPTIONS} == {
        option.name: getattr(options, option.name) for option in WORD_OPTIONS
    }
