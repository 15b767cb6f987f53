"""Long jobs on the command line: killed anywhere, interrupted, out of disk; and what --resume makes of it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import whisper_max
from whisper_max.api import Model
from whisper_max.audio.waveform import SAMPLE_RATE
from whisper_max.commands import console
from whisper_max.commands import transcribe as cli_transcribe
from whisper_max.commands.main import main
from whisper_max.errors import OutputError
from whisper_max.output import FORMATS
from whisper_max.transcribe.journal import Journal
from whisper_max.transcribe.window import Cut

DECODE = str(Path(__file__).parents[1] / "decode")


def write_noise(path: Path, seconds: int, key: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(key).standard_normal(SAMPLE_RATE * seconds) * 0.1
    soundfile.write(path, noise.astype(np.float32), SAMPLE_RATE, subtype="FLOAT")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.parametrize("files_at_once", ["1", "2"])
def test_killed_anywhere_and_resumed_it_writes_the_same_bytes(tmp_path: Path, files_at_once: str):
    write_noise(tmp_path / "audio" / "long.wav", 40, 1)
    write_noise(tmp_path / "audio" / "more" / "short.wav", 10, 2)
    options = ["--temperature", "0.4", "--best_of", "2", "-f", "json,txt", "--files_at_once", files_at_once]
    result = subprocess.run(
        [sys.executable, "-m", "tests.support.killed_cli", str(tmp_path), "20", *options],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=3600,  # ninety commands
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    outcome = json.loads(result.stdout)
    assert outcome["status"] == 0
    assert sorted(outcome["undisturbed"]) == ["long.json", "long.txt", "more/short.json", "more/short.txt"]
    kills = outcome["kills"]
    assert len(kills) >= 20
    assert {kill["signal"] for kill in kills[:20]} == {signal.SIGKILL}
    assert [kill["status"] for kill in kills] == [0] * len(kills)
    for kill in kills:
        assert kill["files"] == outcome["undisturbed"]
    left = {tuple(kill["left"]) for kill in kills}
    if files_at_once == "1":
        assert ("long.journal.jsonl",) in left
        assert ("long.json", "long.txt", "more/short.journal.jsonl") in left
    else:
        assert ("long.journal.jsonl", "more/short.journal.jsonl") in left
        assert ("long.journal.jsonl", "more/short.json", "more/short.txt") in left


# ---------------------------------------------------------------- in this process


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two recordings, and the stand-in for the model."""
    monkeypatch.syspath_prepend(DECODE)
    from tests.support.fake_inference import FakeInference
    from tests.support.synthetic_vocabulary import synthetic_vocabulary

    model = Model(FakeInference(), synthetic_vocabulary())
    monkeypatch.setattr(whisper_max, "load_model", lambda *_, **__: model, raising=False)
    write_noise(tmp_path / "a.wav", 40, 1)
    write_noise(tmp_path / "b.wav", 20, 2)
    monkeypatch.chdir(tmp_path)
    return tmp_path


COMMAND = ["transcribe", "a.wav", "b.wav", "-o", "out", "-f", "txt", "--language", "en", "--temperature", "0"]
COMMAND += ["--temperature_increment_on_fallback", "None"]


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "out").iterdir())}


def test_finished_recordings_are_skipped_with_a_line(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert main(COMMAND) == 0
    before = written(folder)
    write_noise(folder / "c.wav", 5, 3)
    lines(capsys)
    assert main(["transcribe", "c.wav", *COMMAND[1:], "--resume"]) == 0
    said = lines(capsys)
    assert said[:3] == [
        "a.wav: skipped, its transcripts are newer",
        "b.wav: skipped, its transcripts are newer",
        "c.wav: en, wrote out/c.txt",
    ]
    assert said[3].startswith("1 done, 2 skipped, 0 failed; 5.0 s of audio in ")
    assert written(folder) == before | {"c.txt": (folder / "out" / "c.txt").read_bytes()}


def test_where_all_is_done_no_model_is_loaded(folder: Path, monkeypatch, capsys: pytest.CaptureFixture[str]):
    assert main(COMMAND) == 0
    lines(capsys)
    monkeypatch.setattr(whisper_max, "load_model", None)
    assert main([*COMMAND, "--resume"]) == 0
    assert lines(capsys)[2:] == ["0 done, 2 skipped, 0 failed"]


def test_a_recording_that_changed_is_done_again(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert main(COMMAND) == 0
    before = written(folder)
    write_noise(folder / "a.wav", 40, 9)
    later = (folder / "out" / "a.txt").stat().st_mtime_ns + 1
    os.utime(folder / "a.wav", ns=(later, later))
    lines(capsys)
    assert main([*COMMAND, "--resume"]) == 0
    assert lines(capsys)[:2] == ["b.wav: skipped, its transcripts are newer", "a.wav: en, wrote out/a.txt"]
    assert written(folder)["a.txt"] != before["a.txt"]


def test_ctrl_c_keeps_what_is_done_and_resume_goes_on(folder: Path, monkeypatch, capsys: pytest.CaptureFixture[str]):
    assert main(COMMAND) == 0
    undisturbed = written(folder)
    for name in undisturbed:
        (folder / "out" / name).unlink()
    lines(capsys)

    def interrupt(journal: Journal, cut: Cut) -> None:
        real_append(journal, cut)
        if journal.path.name == "b.journal.jsonl":
            raise KeyboardInterrupt

    real_append = Journal.append
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", interrupt)
        assert main(COMMAND) == 130
    assert sorted(written(folder)) == ["a.txt", "b.journal.jsonl"]
    assert written(folder)["a.txt"] == undisturbed["a.txt"]
    last = lines(capsys)[-1]
    assert last.startswith("interrupted: 1 done, 0 failed; 40.0 s of audio in ")
    assert last.endswith("; the same command with --resume goes on")
    assert main([*COMMAND, "--resume"]) == 0
    assert written(folder) == undisturbed
    said = lines(capsys)
    assert said[0] == "a.wav: skipped, its transcripts are newer"
    seconds = float(re.search(r"; ([\d.]+) s of audio", said[-1])[1])
    assert 0 <= seconds < 20  # what the interrupted run had done of b does not count again


def test_without_resume_it_starts_over(folder: Path):
    (folder / "out").mkdir()
    (folder / "out" / "a.journal.jsonl").write_text('{"journal": 1, "something": "else"}\n')
    assert main(COMMAND) == 0
    assert sorted(written(folder)) == ["a.txt", "b.txt"]


def test_a_journal_of_other_options_is_refused_and_the_others_are_done(folder, capsys: pytest.CaptureFixture[str]):
    Journal("out/a.journal.jsonl", {"options": {"seed": 5}}).close()
    assert main([*COMMAND, "--resume"]) == 1
    assert sorted(written(folder)) == ["a.journal.jsonl", "b.txt"]
    said = lines(capsys)
    assert said[0].startswith("error: out/a.journal.jsonl: of another transcription: ")
    assert said[-1].startswith("1 done, 1 failed; 20.0 s of audio in ")


def test_a_disk_that_fills_up_costs_only_the_recording_at_hand(folder, monkeypatch, capsys):
    def append(journal: Journal, cut: Cut) -> None:
        if journal.path.name == "a.journal.jsonl":
            raise OutputError("can't be written", where=journal.path, found="No space left on device")
        real_append(journal, cut)

    real_append = Journal.append
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", append)
        assert main(COMMAND) == 1
    assert sorted(written(folder)) == ["a.journal.jsonl", "b.txt"]
    said = lines(capsys)
    assert said[:2] == [
        "error: out/a.journal.jsonl: can't be written: found No space left on device",
        "the same command with --resume goes on from out/a.journal.jsonl",
    ]
    assert main([*COMMAND, "--resume"]) == 0
    assert sorted(written(folder)) == ["a.txt", "b.txt"]


def test_a_disk_that_is_full_when_transcripts_are_written_leaves_the_journal(folder, monkeypatch, capsys):
    def write(result, paths, layout):
        raise OutputError("can't be written", where=paths["txt"], found="No space left on device")

    for side_by_side in ([], ["--files_at_once", "2"]):
        with monkeypatch.context() as patch:
            patch.setattr(cli_transcribe, "write_result", write)
            assert main([*COMMAND, *side_by_side]) == 1
        said = [line for line in lines(capsys) if "--resume" in line]
        assert sorted(said) == [
            "the same command with --resume goes on from out/a.journal.jsonl",
            "the same command with --resume goes on from out/b.journal.jsonl",
        ]
    assert main([*COMMAND, "--resume"]) == 0
    assert sorted(written(folder)) == ["a.txt", "b.txt"]


def test_an_output_folder_that_can_not_be_written_is_told_before_the_work(folder, capsys):
    (folder / "out").touch()
    assert main(COMMAND) == 1
    assert lines(capsys) == [
        "error: out/a.journal.jsonl: can't be written: found File exists",
        "error: out/b.journal.jsonl: can't be written: found File exists",
        "0 done, 2 failed",
    ]


def test_inputs_that_name_nothing_fail_and_the_others_are_done(folder, capsys):
    (folder / "empty").mkdir()
    assert main(["transcribe", "empty", "no*.wav", *COMMAND[1:]]) == 1
    assert sorted(written(folder)) == ["a.txt", "b.txt"]
    said = lines(capsys)
    assert said[:2] == ["error: empty: no audio files in this folder", "error: no*.wav: no files match"]
    assert said[-1].startswith("2 done, 2 failed; 60.0 s of audio in ")


def test_a_broken_recording_leaves_no_journal(folder, capsys):
    (folder / "a.wav").write_bytes(b"RIFF")
    assert main(COMMAND) == 1
    assert sorted(written(folder)) == ["b.txt"]


# ---------------------------------------------------------------- side by side


def together(folder: Path, *more: str) -> list[str]:
    """The command for these recordings and three more, three at once."""
    for number, seconds in enumerate([70, 1, 33]):
        path = folder / f"more{number}.wav"
        if not path.exists():
            write_noise(path, seconds, 10 + number)
    return ["transcribe", "more0.wav", "more1.wav", "more2.wav", *COMMAND[1:], "--files_at_once", "3", *more]


def test_side_by_side_the_same_bytes_are_written_as_one_by_one(folder: Path, capsys: pytest.CaptureFixture[str]):
    command = [*together(folder), "-f", "all", "--word_timestamps", "True", "--temperature", "0.4"]
    assert main([*command, "-o", "alone", "--files_at_once", "1"]) == 0
    alone = capsys.readouterr().out.splitlines()
    assert main(command) == 0
    captured = capsys.readouterr()
    assert written(folder) == {path.name: path.read_bytes() for path in sorted((folder / "alone").iterdir())}
    assert len(written(folder)) == 5 * len(FORMATS)
    names = [line.partition(": [")[0] for line in captured.out.splitlines()]
    assert sorted(line.partition(": ")[2] for line in captured.out.splitlines()) == sorted(alone)
    assert set(names) == {f"{path.stem}.wav" for path in (folder / "out").glob("*.txt") if path.read_bytes()}
    assert names != sorted(names)  # they come as they are known
    assert re.match(r"5 done, 0 failed; 164\.0 s of audio in ", captured.err.splitlines()[-1])


def test_side_by_side_a_broken_recording_is_reported_and_the_others_are_done(folder, capsys):
    (folder / "a.wav").write_bytes(b"RIFF")
    assert main(together(folder)) == 1
    assert sorted(written(folder)) == ["b.txt", "more0.txt", "more1.txt", "more2.txt"]
    said = lines(capsys)
    assert [line.partition(": not audio")[0] for line in said if line.startswith("error")] == ["error: a.wav"]
    assert said[-1].startswith("4 done, 1 failed; 124.0 s of audio in ")


def test_side_by_side_ctrl_c_keeps_the_journals_and_resume_goes_on(folder, monkeypatch, capsys):
    command = together(folder)
    assert main([*command, "-o", "whole"]) == 0
    whole = {path.name: path.read_bytes() for path in sorted((folder / "whole").iterdir())}
    appended = []

    def interrupt(journal: Journal, cut: Cut) -> None:
        real_append(journal, cut)
        appended.append(journal.path.name)
        if len(appended) == 5:
            raise KeyboardInterrupt

    real_append = Journal.append
    lines(capsys)
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", interrupt)
        assert main(command) == 130
    left = sorted(name for name in written(folder) if name.endswith(".journal.jsonl"))
    assert len(left) >= 2
    assert lines(capsys)[-1].endswith("; the same command with --resume goes on")
    assert main([*command, "--resume"]) == 0
    assert written(folder) == whole
    seconds = float(re.search(r"; ([\d.]+) s of audio", lines(capsys)[-1])[1])
    assert 0 < seconds < 164


def test_side_by_side_the_bar_goes_over_all_recordings(folder, monkeypatch, capsys):
    moves = []

    class Bar(console.tqdm):  # type: ignore[misc, name-defined] # tqdm has no types
        def update(self, n: float = 1) -> None:
            moves.append(n)
            super().update(n)

    monkeypatch.setattr(console, "tqdm", Bar)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    (folder / "a.wav").write_bytes(b"RIFF")
    command = together(folder, "--verbose", "False")
    sizes = [path.stat().st_size for path in folder.glob("*.wav")]
    assert main(command) == 1
    assert sum(moves) == pytest.approx(sum(sizes))
    assert len(moves) > 2 * len(sizes)
    assert min(moves) >= 0
