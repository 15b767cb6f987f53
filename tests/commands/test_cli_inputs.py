"""Files, folders and patterns on the command line, and what counts as done."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from whisper_max.commands.inputs import Input, find_recordings

FILES = [
    "talks/b.wav",
    "talks/a.MP3",
    "talks/notes.txt",
    "talks/.hidden.wav",
    "talks/.cache/x.wav",
    "talks/may/a.wav",
    "talks/may/late/z.flac",
    "[odd].wav",
    "single.wav",
]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(*inputs: str) -> list[tuple[str, str]]:
    recordings, errors = find_recordings(inputs, "out", ["txt"])
    assert errors == []
    assert [each.journal for each in recordings] == [
        Path(str(each.transcripts["txt"])).with_suffix(".journal.jsonl") for each in recordings
    ]
    return [(each.source, str(each.transcripts["txt"])) for each in recordings]


IN_TALKS = [
    ("talks/a.MP3", "out/a.txt"),
    ("talks/b.wav", "out/b.txt"),
    ("talks/may/a.wav", "out/may/a.txt"),
    ("talks/may/late/z.flac", "out/may/late/z.txt"),
]


def test_a_folder_is_its_audio_files_sorted_and_keeps_its_folders(tree: Path):
    assert found("talks") == IN_TALKS
    assert found("talks/") == IN_TALKS


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("talks/*.wav", [("talks/b.wav", "out/b.txt")]),
        ("talks/?.*", [("talks/a.MP3", "out/a.txt"), ("talks/b.wav", "out/b.txt")]),
        (
            "talks/**/*.wav",
            [("talks/b.wav", "out/b.txt"), ("talks/may/a.wav", "out/may/a.txt")],
        ),
        ("*lks/may/la*", [("talks/may/late/z.flac", "out/talks/may/late/z.txt")]),
        ("talks/*.txt", [("talks/notes.txt", "out/notes.txt")]),
        ("[odd].wav", [("[odd].wav", "out/[odd].txt")]),
    ],
)
def test_patterns(tree: Path, pattern: str, expected: list[tuple[str, str]]):
    assert found(pattern) == expected


def test_each_recording_once_in_the_order_given(tree: Path):
    assert found("single.wav", "talks", "./single.wav", "talks/b.wav", "-", str(tree / "talks/*.wav")) == [
        ("single.wav", "out/single.txt"),
        *IN_TALKS,
        ("-", "out/stdin.txt"),
    ]


def test_inputs_that_name_nothing(tree: Path):
    recordings, errors = find_recordings(["empty", "single.wav", "no*.wav", "missing.wav"], "out", ["txt"])
    assert [each.source for each in recordings] == ["single.wav", "missing.wav"]
    assert [str(error) for error in errors] == ["empty: no audio files in this folder", "no*.wav: no files match"]


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        (PermissionError(13, "No way in"), ["talks/may/late: the folder can't be read: found No way in"]),
        (FileNotFoundError(2, "No such file or directory"), []),  # it went away in the meantime
    ],
)
def test_one_folder_below_that_can_not_be_read_does_not_take_the_others_with_it(
    tree: Path, monkeypatch: pytest.MonkeyPatch, refusal: OSError, told: list[str]
):
    real_scandir = os.scandir

    def scandir(path: str):
        if str(path).endswith("late"):
            raise type(refusal)(*refusal.args, path)
        return real_scandir(path)

    monkeypatch.setattr(os, "scandir", scandir)
    recordings, errors = find_recordings(["talks", "single.wav"], "out", ["txt"])
    sources = [each.source for each in recordings]
    assert sources == ["talks/a.MP3", "talks/b.wav", "talks/may/a.wav", "single.wav"]
    assert [str(error) for error in errors] == told


def test_a_folder_that_can_not_be_read_is_one_error(tree: Path, monkeypatch: pytest.MonkeyPatch):
    def scandir(path: str):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", scandir)
    recordings, errors = find_recordings(["talks", "single.wav"], "out", ["txt"])
    assert [each.source for each in recordings] == ["single.wav"]
    assert [str(error) for error in errors] == ["talks: the folder can't be read: found Permission denied"]


def test_a_folder_s_recordings_of_rarer_kinds_are_taken_and_programs_are_not(tree: Path):
    for name, content in {
        "a.ts": b"\x47\x40\x11\x10\x00",
        "b.m2ts": b"\x00\x00\x00\x00\x47",
        "c.mts": b"\x00\x00\x00\x00\x47",
        "d.flv": b"FLV",
        "e.WV": b"wvpk",
        "index.ts": b"export const a = 1;",
        "module.mts": b"import x from 'y'",
        "empty.ts": b"",
    }.items():
        (tree / "empty" / name).write_bytes(content)
    assert [source for source, _ in found("empty")] == [
        f"empty/{name}" for name in ("a.ts", "b.m2ts", "c.mts", "d.flv", "e.WV")
    ]


def test_links_between_folders_give_every_file_once_by_its_shortest_path(tree: Path):
    (tree / "talks" / "may" / "above").symlink_to("..")
    (tree / "also").symlink_to("talks")
    (tree / "talks" / "may" / "link.wav").symlink_to("a.wav")
    assert found("talks/**/*.wav") == [
        ("talks/b.wav", "out/b.txt"),
        ("talks/may/a.wav", "out/may/a.txt"),
        ("talks/may/link.wav", "out/may/link.txt"),
    ]
    assert [source for source, _ in found("talks", "also")] == [
        "talks/a.MP3",
        "talks/b.wav",
        "talks/may/a.wav",
        "talks/may/late/z.flac",
        "talks/may/link.wav",
    ]


def test_sizes(tree: Path):
    assert [each.size for each in find_recordings(["single.wav", "missing.wav", "-"], "out", [])[0]] == [10, 1, 1]


def at(path: Path, time: float) -> Path:
    path.touch()
    os.utime(path, (time, time))
    return path


def test_done_is_every_transcript_newer_and_no_journal(tmp_path: Path):
    source = tmp_path / "a.wav"
    transcripts = {"txt": tmp_path / "a.txt", "srt": tmp_path / "a.srt"}
    recording = Input(str(source), transcripts, tmp_path / "a.journal.jsonl")
    at(source, 1000.0)
    at(transcripts["txt"], 1001.0)
    assert not recording.is_done()
    at(transcripts["srt"], 1000.0)
    assert not recording.is_done()
    at(transcripts["srt"], 1001.0)
    assert recording.is_done()
    recording.journal.touch()
    assert not recording.is_done()
    recording.journal.unlink()
    source.unlink()
    assert not recording.is_done()


def test_a_number_in_a_name_says_nothing_about_what_was_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    sources = ["a/talk.wav", "b/Talk.wav", "b/other.wav"]
    for source in sources:
        (tmp_path / source).parent.mkdir(exist_ok=True)
        at(tmp_path / source, 1000.0)
    recordings, errors = find_recordings(sources, "out", ["txt"])
    (tmp_path / "out").mkdir()
    for recording in recordings:
        at(Path(str(recording.transcripts["txt"])), 1001.0)
    assert errors == []
    assert [each.transcripts["txt"].name for each in recordings] == ["talk.wav.txt", "Talk.wav-2.txt", "other.txt"]
    assert [each.is_done() for each in recordings] == [False, False, True]


def test_no_transcript_replaces_a_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name in ("talk.txt", "other.wav", "talk.journal.jsonl"):
        (tmp_path / name).touch()
    recordings, (error,) = find_recordings(["talk.txt", "other.wav"], ".", ["srt", "txt"])
    assert [each.source for each in recordings] == ["other.wav"]
    assert str(error) == (
        "talk.txt: the transcript would replace a recording: found talk.txt; choose another folder with --output_dir"
    )
    assert find_recordings(["talk.txt", "other.wav"], "out", ["srt", "txt"])[1] == []
    assert len(find_recordings(["talk.txt"], tmp_path, ["txt"])[1]) == 1
