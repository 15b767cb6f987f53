"""Scores of a manifest, with a stub in the model's place."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import whisper_max
from whisper_max.commands.main import main
from whisper_max.errors import AudioError, OptionError
from whisper_max.measure.error_plots import draw_errors, word_errors
from whisper_max.measure.evaluate import ClipScore, Errors, Normaliser, Score, count_errors, evaluate, read_manifest
from whisper_max.transcribe.result import TranscriptionResult

LINES = [
    {"path": "a.wav", "transcript": "Mr. Smith's colour is two.", "language": "en", "seconds": 1, "source": "s"},
    {"path": "b.wav", "seconds": 3.0, "source": "s"},
    {"path": "sub/c.wav", "transcript": "Größe, eins zwei", "language": "German"},
    {"path": "d.wav", "transcript": "red green blue", "language": "en"},
    {"path": "e.wav", "transcript": "你好，世界"},
]
SAID = {
    "a.wav": ("mister smith is color is 2", "en"),
    "c.wav": ("größe zwei zwei drei", "nl"),
    "d.wav": ("Red, blue.", "en"),
    "e.wav": ("你好 世", "zh"),
}


class StubModel:
    """Says what ``SAID`` has for a file's name, for 10 s of audio; what is missing there is no audio."""

    loaded: dict[str, Any]  # once it was

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def transcribe(self, audio: Path, *, language: str | None, **options: Any) -> TranscriptionResult:
        self.asked.append((audio.name, {"language": language, **options}))
        if audio.name not in SAID:
            raise AudioError("no such file", where=audio)
        text, detected = SAID[audio.name]
        return TranscriptionResult(text, [], language or detected, duration=10.0)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "manifest.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in LINES) + "\n\n", encoding="utf-8")
    return path


# ---------------------------------------------------------------- manifests


def test_a_manifest_has_entries_relative_to_it(manifest: Path, tmp_path: Path):
    read = read_manifest(manifest)
    assert [(e.name, e.path, e.language) for e in read.entries] == [
        ("a.wav", tmp_path / "a.wav", "en"),
        ("sub/c.wav", tmp_path / "sub" / "c.wav", "de"),
        ("d.wav", tmp_path / "d.wav", "en"),
        ("e.wav", tmp_path / "e.wav", None),
    ]
    assert read.n_skipped == 1


def test_a_manifest_is_filtered_and_then_cut(manifest: Path):
    read = read_manifest(manifest)
    assert [e.name for e in read.select({"language": "en"}).entries] == ["a.wav", "d.wav"]
    assert [e.name for e in read.select({"language": "en", "source": "s"}).entries] == ["a.wav"]
    assert [e.name for e in read.select({"seconds": "1"}).entries] == ["a.wav"]
    assert [e.name for e in read.select(limit=3).entries] == ["a.wav", "sub/c.wav", "d.wav"]
    with pytest.raises(OptionError, match=r"is left to score: expected colour=red$"):
        read.select({"colour": "red"})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object: found list"),
        ('{"transcript": "a"}', "path is not text: found None"),
        ('{"path": 1}', "path is not text: found 1"),
        ('{"path": "a", "transcript": 5}', "transcript is not text: found 5"),
        ('{"path": "a", "transcript": "b", "language": "xx"}', "unknown language: found 'xx'"),
    ],
)
def test_a_bad_line_is_named_by_its_number(tmp_path: Path, line: str, message: str):
    path = tmp_path / "m.jsonl"
    path.write_text('{"path": "a"}\n\n' + line + "\n", encoding="utf-8")
    with pytest.raises(OptionError) as caught:
        read_manifest(path)
    assert str(caught.value).startswith(f"{path}:3: {message}")


def test_a_missing_manifest(tmp_path: Path):
    with pytest.raises(AudioError, match="found No such file or directory; it has one JSON object a line"):
        read_manifest(tmp_path / "none.jsonl")


def test_a_recording_is_no_manifest(tmp_path: Path):
    (tmp_path / "a.mp3").write_bytes(b"\xff\xfb\x90")
    with pytest.raises(AudioError, match="can't be read: found no UTF-8 text; it has"):
        read_manifest(tmp_path / "a.mp3")


# ---------------------------------------------------------------- scores


def test_texts_are_normalised_by_language():
    normalise = Normaliser()
    assert normalise("Mr. Smith's  colour is two.", "en") == "mister smith is color is 2"
    assert normalise("Größe — eins, zwei!", "de") == "größe eins zwei"
    assert normalise("two colours", "fr") == "two colours"


def test_errors_by_hand():
    words, characters = count_errors("red green", "bred green blue", "en")
    assert words == Errors(n_reference=2, substitutions=1, deletions=0, insertions=1)
    assert words.rate == 1.0
    assert characters == Errors(9, 0, 0, 6)
    assert count_errors("", "a b", "en")[0] == Errors(0, 0, 0, 2)
    assert Errors(0, 0, 0, 2).rate is None
    assert count_errors("a b", "", "en")[0] == Errors(2, 0, 2, 0)


def test_languages_without_spaces_have_words_of_one_character():
    assert count_errors("你好 世界", "你好世", "zh")[0] == Errors(4, 0, 1, 0)
    assert count_errors("你好 世界", "你好世", "de")[0] == Errors(2, 1, 1, 0)


@given(st.lists(st.sampled_from("abc"), max_size=8), st.lists(st.sampled_from("abc"), max_size=8))
def test_counts_agree_with_the_lengths_and_the_edit_distance(reference: list[str], hypothesis: list[str]):
    found, _ = count_errors(" ".join(reference), " ".join(hypothesis), "en")
    assert found.n_reference == len(reference)
    assert len(hypothesis) - len(reference) == found.insertions - found.deletions
    row = list(range(len(hypothesis) + 1))
    for i, left in enumerate(reference, start=1):
        row, above = [i], row
        for j, right in enumerate(hypothesis, start=1):
            row.append(min(row[-1] + 1, above[j] + 1, above[j - 1] + (left != right)))
    assert found.substitutions + found.deletions + found.insertions == row[-1]


def test_evaluate_gives_each_language_its_score(manifest: Path):
    model: Any = StubModel()
    clips: list[Any] = list(evaluate(model, read_manifest(manifest).entries, {"beam_size": 2}))
    assert [(name, how) for name, how in model.asked] == [
        ("a.wav", {"language": "en", "beam_size": 2}),
        ("c.wav", {"language": "de", "beam_size": 2}),
        ("d.wav", {"language": "en", "beam_size": 2}),
        ("e.wav", {"language": None, "beam_size": 2}),
    ]
    score = Score(clips)
    assert score.words == Errors(6 + 3 + 3 + 4, 1, 2, 1)
    parts = score.by_language()
    assert {code: part.words for code, part in parts.items()} == {
        "en": Errors(9, 0, 1, 0),
        "de": Errors(3, 1, 0, 1),
        "zh": Errors(4, 0, 1, 0),
    }
    assert list(parts) == ["en", "de", "zh"]
    assert (score.seconds, parts["en"].seconds) == (40.0, 20.0)
    assert score.speed == 40.0 / score.elapsed
    assert [clip.detected for clip in clips] == [None] * 4


def test_languages_are_detected_when_asked_and_scored_as_the_manifest_says(manifest: Path):
    model: Any = StubModel()
    clips: list[Any] = list(evaluate(model, read_manifest(manifest).entries, {}, detect=True))
    assert [how["language"] for _, how in model.asked] == [None] * 4
    assert [(clip.language, clip.detected) for clip in clips] == [
        ("en", "en"),
        ("de", "nl"),
        ("en", "en"),
        ("zh", None),
    ]


# ---------------------------------------------------------------- the command


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> StubModel:
    stub = StubModel()

    def load(model: str, **how: Any) -> StubModel:
        stub.loaded = {"name": model, **how}
        return stub

    monkeypatch.setattr(whisper_max, "load_model", load, raising=False)
    return stub


def table(output: str) -> dict[str, list[str]]:
    """The rows by their first word, without the speed, which varies."""
    return {line.split()[0]: line.split()[1:-1] for line in output.splitlines()[1:] if line.endswith("x")}


def test_the_command_prints_a_table(model: StubModel, manifest: Path, capsys):
    assert main(["evaluate", str(manifest)]) == 0
    captured = capsys.readouterr()
    assert table(captured.out) == {
        "en": ["2", "0.3", "11.11", "0", "1", "0", "9", "15.00"],
        "de": ["1", "0.2", "66.67", "1", "0", "1", "3", "60.00"],
        "zh": ["1", "0.2", "25.00", "0", "1", "0", "4", "20.00"],
        "all": ["4", "0.7", "25.00", "1", "2", "1", "16", "26.67"],
    }
    assert captured.out.splitlines()[-1] == "1 entries of the manifest have no transcript and were skipped"
    assert captured.err == ""


def test_the_command_passes_options_on(model: StubModel, manifest: Path):
    command = (
        f"evaluate {manifest} --model tiny --device cpu --compute-type float32 --offline --task translate "
        "--temperature 0.5 --temperature_increment_on_fallback None --filter language=en --limit 1 --detect-language "
        "--vad --vad_speech_pad_ms 200 --batch_size 4"
    )
    assert main(command.split()) == 0
    assert {name: model.loaded[name] for name in ("name", "device", "compute_type", "offline")} == {
        "name": "tiny",
        "device": "cpu",
        "compute_type": "float32",
        "offline": True,
    }
    ((name, how),) = model.asked
    assert (name, how["language"], how["task"], how["temperature"]) == ("a.wav", None, "translate", (0.5,))
    assert (how["vad"], how["vad_options"], how["batch_size"]) == (True, {"speech_pad_ms": 200.0}, 4)


def test_the_command_writes_json(model: StubModel, manifest: Path, tmp_path: Path, capsys):
    out = tmp_path / "out" / "scores.json"
    assert main(["evaluate", str(manifest), "--json", str(out), "--detect_language"]) == 0
    report = json.loads(out.read_text(encoding="utf-8"))
    assert (report["model"], report["skipped"], report["failures"]) == ("base", 1, [])
    assert report["options"]["temperature"][:2] == [0.0, 0.2]
    assert report["all"]["wer"] == {
        "rate": 0.25,
        "n_reference": 16,
        "substitutions": 1,
        "deletions": 2,
        "insertions": 1,
    }
    assert list(report["languages"]) == ["en", "de", "zh"]
    assert report["clips"][3]["hypothesis"] == "你好 世"
    assert report["clips"][1]["detected"] == "nl"
    assert "the language was detected as the manifest says in 2 of 3 recordings" in capsys.readouterr().out


def test_the_command_draws_errors_by_recording_and_by_word(model: StubModel, manifest: Path, tmp_path: Path):
    assert main(["evaluate", str(manifest), "--plot", str(tmp_path / "errors.html")]) == 0
    page = (tmp_path / "errors.html").read_text(encoding="utf-8")
    names = [page.index(f"<td>{name}</td>") for name in ("sub/c.wav", "d.wav", "e.wav", "a.wav")]
    assert names == sorted(names)  # those with the most errors first
    for row in ("<td>33.33</td><td>0</td><td>33.33</td>", "<td>2 of 3</td>"):
        assert row in page


def clip(reference: str, hypothesis: str, language: str = "en") -> ClipScore:
    words, characters = count_errors(reference, hypothesis, language)
    return ClipScore("a.wav", language, None, 1.0, 1.0, reference, hypothesis, words, characters)


def test_errors_by_word():
    found = list(word_errors(clip("the cat sat on the mat", "a cat sat the the mat you")))
    assert sorted(found) == [("insertions", "you"), ("substitutions", "on"), ("substitutions", "the")]
    assert list(word_errors(clip("one two", "one"))) == [("deletions", "two")]
    assert list(word_errors(clip("你好", "你们 好", "zh"))) == [("insertions", "们")]
    recordings, words = draw_errors(Score([clip("the cat", "a cat"), clip("the dog", "a dog"), clip("", "x")]))
    assert [row[0] for row in words.rows] == ["the", "x"]
    assert words.rows[0][1:4] == ["2", "0", "0"]
    assert len(recordings.rows) == 2  # one has no words


def test_of_many_the_worst_are_drawn_and_that_is_said():
    clips = [replace(clip("a b c d", "a b c d" if n else "a"), name=f"{n}.wav") for n in range(70)]
    recordings, _ = draw_errors(Score(clips))
    assert recordings.title == "Word errors by recording: 60 of 70, those with the most"
    assert recordings.rows[0][0] == "0.wav"


def test_a_broken_file_is_reported_and_the_others_go_on(model: StubModel, manifest: Path, tmp_path: Path, capsys):
    with manifest.open("a", encoding="utf-8") as file:
        file.write('{"path": "broken.wav", "transcript": "x", "language": "en"}\n')
        file.write('{"path": "d.wav", "transcript": "red blue", "language": "en"}\n')
    out = tmp_path / "scores.json"
    assert main(["evaluate", str(manifest), "--json", str(out)]) == 1
    captured = capsys.readouterr()
    assert captured.err == f"error: broken.wav: {tmp_path / 'broken.wav'}: no such file\n"
    assert captured.out.splitlines()[-1] == "1 recordings failed"
    assert table(captured.out)["en"][0] == "3"
    assert [failure["name"] for failure in json.loads(out.read_text(encoding="utf-8"))["failures"]] == ["broken.wav"]


def test_scores_come_as_they_are_known(model: StubModel, manifest: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    assert main(["evaluate", str(manifest), "--verbose"]) == 0
    lines = ["en     0.00 %  a.wav", "de    66.67 %  sub/c.wav", "en    33.33 %  d.wav", "zh    25.00 %  e.wav"]
    assert capsys.readouterr().err.splitlines() == lines
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(["evaluate", str(manifest)]) == 0
    assert re.search(r"100%.*4/4 .*WER 25\.00 %", capsys.readouterr().err)


def test_one_language_has_one_row(model: StubModel, manifest: Path, capsys):
    assert main(["evaluate", str(manifest), "--filter", "language=en"]) == 0
    assert list(table(capsys.readouterr().out)) == ["en"]


def test_nothing_scored_is_no_rate(model: StubModel, tmp_path: Path, capsys):
    manifest = tmp_path / "m.jsonl"
    manifest.write_text('{"path": "broken.wav", "transcript": "x", "language": "en"}\n', encoding="utf-8")
    assert main(["evaluate", str(manifest)]) == 1
    assert table(capsys.readouterr().out)["all"][:3] == ["0", "0.0", "-"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--limit", "0"], "expected 1 or more, found 0"),
        (["--filter", "language"], "expected KEY=VALUE, found 'language'"),
        (["--temperature_increment_on_fallback", "0"], "expected 0.01 or more, or None, found '0'"),
        (["--multilingual"], "--multilingual needs --detect_language"),
        (["--vad_threshold", "0.6"], "--vad_threshold needs --vad"),
        (["--language", "en"], "unrecognized arguments: --language en"),
    ],
)
def test_wrong_usage(model: StubModel, manifest: Path, capsys, flags: list[str], message: str):
    with pytest.raises(SystemExit) as caught:
        main(["evaluate", str(manifest), *flags])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_what_is_wrong_is_told_before_a_model_is_loaded(model: StubModel, manifest: Path, tmp_path: Path, capsys):
    assert main(["evaluate", str(tmp_path / "none.jsonl")]) == 1
    assert main(["evaluate", str(manifest), "--filter", "language=fi"]) == 2
    assert main(["evaluate", str(manifest), "--temperature", "-1"]) == 2
    assert not hasattr(model, "loaded")
    errors = capsys.readouterr().err.splitlines()
    assert [line.startswith("error: ") for line in errors] == [True] * 3
