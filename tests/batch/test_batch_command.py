"""The command ``batch``, with workers in this process and a model of fake logits: what it does, says and leaves."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

import whisper_max.ray
from tests.support.fake_inference import DIMS, FakeInference
from tests.support.s3_store import SECRET, s3_store
from tests.support.synthetic_vocabulary import synthetic_vocabulary as vocabulary
from whisper_max.api import Model
from whisper_max.batch.results import Results
from whisper_max.batch.worker import Worker
from whisper_max.commands import batch
from whisper_max.commands.main import main
from whisper_max.errors import UnknownModelError
from whisper_max.files.remote import place
from whisper_max.ray import Cluster


class Here:
    """In the place of a cluster: starts, and recordings in the order in which they were done."""

    def __init__(self):
        self.n_starts = 0
        self.done: list[str] = []
        self.after: Callable[[], None] = lambda: None
        self.load: Callable[[], Model] = lambda: Model(FakeInference(DIMS), vocabulary())

    @contextmanager
    def connected(self, address, num_cpus):
        self.n_starts += 1
        yield Cluster(2, 0, True, 0.1)

    def run(self, job, items, cluster, pool, say):
        worker = Worker(job, load=self.load)
        for item in items:
            (outcome,) = worker([item])
            self.done.append(Path(item.source).name)
            yield outcome
            self.after()


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Here:
    it = Here()
    monkeypatch.setattr(whisper_max.ray, "connected", it.connected)
    monkeypatch.setattr(whisper_max.ray, "run", it.run)
    monkeypatch.setenv("WHISPER_MAX_CACHE", str(tmp_path / "cache"))
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path)
    return it


def record(path: Path, seed: int) -> None:
    soundfile.write(path, np.random.default_rng(seed).normal(0, 0.1, 16_000), 16_000)


def rows(output: Path) -> list[dict]:
    lines = [line for part in sorted((output / "results").iterdir()) for line in part.read_text().splitlines()]
    return sorted((json.loads(line) for line in lines), key=lambda row: row["source"])


BATCH = ["batch", "in", "--output", "out", "--language", "en", "--temperature", "0", "-f", "txt"]
QUICK = ["--temperature_increment_on_fallback", "None"]


def test_what_is_missing_is_done_and_nothing_else(here: Here, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for number in range(3):
        record(tmp_path / "in" / f"{number}.wav", number)
    (tmp_path / "in" / "bad.mp3").write_bytes(b"no sound")
    assert main([*BATCH, *QUICK]) == 1
    said = capsys.readouterr().err
    assert "Ray on this machine: 2 CPUs, 0 GPUs; ready in 0.1 s" in said
    assert f"error: {tmp_path}/in/bad.mp3: " in said
    assert "3 done, 1 failed; 3.0 s of audio in" in said
    assert [row["status"] for row in rows(tmp_path / "out")] == ["done", "done", "done", "failed"]
    record(tmp_path / "in" / "new.wav", 9)
    here.done.clear()
    assert main([*BATCH, *QUICK]) == 1
    assert sorted(here.done) == ["bad.mp3", "new.wav"]
    assert [row["status"] for row in rows(tmp_path / "out")] == ["done", "done", "done", "failed", "done"]
    (tmp_path / "in" / "bad.mp3").unlink()
    here.done.clear()
    assert main([*BATCH, *QUICK]) == 0
    assert (here.done, here.n_starts) == ([], 2)  # without work no cluster is started
    assert "0 done, 4 done before" in capsys.readouterr().err
    assert len(list((tmp_path / "out").glob("*.txt"))) == 4


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_name_that_is_no_text_is_known_again(here: Here, tmp_path: Path, kind: str):
    if kind == "parquet":
        pytest.importorskip("pyarrow", reason="the extra ray is not installed")
    (tmp_path / "in" / os.fsdecode(b"bad\xe9.mp3")).write_bytes(b"no sound")
    record(tmp_path / "plain.wav", 1)
    (tmp_path / "plain.wav").rename(tmp_path / "in" / os.fsdecode(b"caf\xe9.wav"))
    for n_done in (2, 3):  # the bad one is tried again
        assert main([*BATCH, *QUICK, "--results", kind]) == 1
        assert len(here.done) == n_done
    found = Results(tmp_path / "out", kind, print)
    assert {(row.source, row.status) for row in found.known()} == {
        (f"{tmp_path}/in/caf\\udce9.wav", "done"),
        (f"{tmp_path}/in/bad\\udce9.mp3", "failed"),
    }
    found.close()
    assert (tmp_path / "out" / os.fsdecode(b"caf\xe9.txt")).exists()


def test_an_error_that_all_have_is_said_once(here: Here, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def missing():
        raise UnknownModelError("no such model", where="base")

    here.load = missing
    for number in range(3):
        record(tmp_path / "in" / f"{number}.wav", number)
    assert main([*BATCH, *QUICK]) == 1
    said = capsys.readouterr().err
    assert said.count("error: base: no such model") == 1
    assert "0 done, 3 failed" in said


def test_an_interrupted_batch_keeps_its_rows_and_goes_on(
    here: Here, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for number in range(4):
        record(tmp_path / "in" / f"{number}.wav", number)

    def interrupt():
        if len(here.done) == 2:
            raise KeyboardInterrupt

    here.after = interrupt
    assert main([*BATCH, *QUICK]) == 130
    assert "interrupted: 2 done" in capsys.readouterr().err
    assert len(rows(tmp_path / "out")) == 2
    here.after = lambda: None
    assert main([*BATCH, *QUICK]) == 0
    assert sorted(here.done) == ["0.wav", "1.wav", "2.wav", "3.wav"]
    assert len(rows(tmp_path / "out")) == 4


def test_a_recording_that_changed_has_one_row(here: Here, tmp_path: Path):
    record(tmp_path / "in" / "a.wav", 1)
    assert main([*BATCH, *QUICK]) == 0
    before = rows(tmp_path / "out")
    record(tmp_path / "in" / "a.wav", 2)
    assert main([*BATCH, *QUICK]) == 0
    after = rows(tmp_path / "out")
    assert (len(before), len(after)) == (1, 1)
    assert before[0]["content"] != after[0]["content"]


def test_a_line_that_is_none_fails_and_the_rest_is_done(here: Here, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    record(tmp_path / "in" / "a.wav", 1)
    (tmp_path / "list.jsonl").write_text('{"path": "in/a.wav"}\n{broken\n{"path": "in/a.wav"}\n')
    assert main(["batch", "list.jsonl", *BATCH[2:], *QUICK]) == 1
    said = capsys.readouterr().err
    assert said.count("list.jsonl:2: not JSON") == 1
    assert "1 recordings are named more than once, and done once" in said
    assert "1 done, 1 failed" in said
    assert (tmp_path / "out" / "in" / "a.txt").exists()


def test_a_store_that_denies_is_said_and_the_rest_is_done(
    here: Here, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    record(tmp_path / "in" / "a.wav", 1)
    with s3_store() as store:
        place(f"{store.bucket}/b.wav").write_bytes((tmp_path / "in" / "a.wav").read_bytes())
        (tmp_path / "list.txt").write_text(f"in/a.wav\n{store.bucket}/b.wav\n")
        with store.denying():
            assert main(["batch", "list.txt", *BATCH[2:], *QUICK]) == 1
            said = capsys.readouterr().err
            assert said.count("error: s3://archive/b.wav: ") == 1
            assert "access denied" in said
            assert SECRET not in said
            assert [(row["source"][-5:], row["status"]) for row in rows(tmp_path / "out")] == [
                ("a.wav", "done"),
                ("b.wav", "failed"),
            ]
            assert main([*BATCH[:2], "--output", f"{store.bucket}/out", *BATCH[4:], *QUICK]) == 1
            said = capsys.readouterr().err
            assert "s3://archive/out/results: can't be read: found access denied" in said
        assert main(["batch", "list.txt", *BATCH[2:], *QUICK]) == 0
        assert main([*BATCH[:2], "--output", f"{store.bucket}/out", *BATCH[4:], *QUICK]) == 0
        assert place(f"{store.bucket}/out/a.txt").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with room for 1 MiB."""
    folder = tmp_path / "out"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True)
    if made.returncode:
        pytest.skip("this user can't mount a small disk")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_fails_what_it_has_no_room_for_and_the_next_run_does_that(
    here: Here, tmp_path: Path, small_disk: Path, capsys: pytest.CaptureFixture[str]
):
    for number in range(3):
        record(tmp_path / "in" / f"{number}.wav", number)
    filler = small_disk / "filler"

    def fill():
        if len(here.done) == 1:
            with suppress(OSError), filler.open("wb", buffering=0) as file:
                while file.write(bytes(4096)):
                    pass

    here.after = fill
    assert main([*BATCH, *QUICK]) == 1
    said = capsys.readouterr().err
    assert said.count("the transcripts are written all the same, and rows wait for room") == 1
    assert said.count("No space left on device") == 3  # for two recordings, and for the rows
    assert "1 done, 2 failed" in said
    assert "error: 3 rows of results have no room; the same command writes them" in said
    filler.unlink()
    assert main([*BATCH, *QUICK]) == 0
    assert "3 done" in capsys.readouterr().err
    assert [row["status"] for row in rows(small_disk)] == ["done"] * 3
    assert len(list(small_disk.glob("*.txt"))) == 3


def test_watching_does_each_recording_once(here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    now = [1000.0]
    folder = tmp_path / "in"
    record(folder / "old.wav", 1)

    def grow():
        with (folder / "growing.wav").open("ab") as file:
            file.write(b"\0")

    def stop():
        raise KeyboardInterrupt

    script: dict[int, Callable[[], object]] = {
        2: lambda: record(folder / "growing.wav", 2),
        **dict.fromkeys((3, 4, 5), grow),
        8: lambda: (folder / "bad.mp3").write_bytes(b"no sound"),
        14: stop,
    }
    looks = [0]

    def pass_time(seconds: float) -> None:
        now[0] += seconds
        looks[0] += 1
        script.get(looks[0], lambda: None)()

    monkeypatch.setattr(batch, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=pass_time))  # no other thread's
    done_at: dict[str, int] = {}
    here.after = lambda: done_at.update({here.done[-1]: looks[0]})
    watch = [*BATCH, *QUICK, "--watch", "--interval", "10", "--settle", "20"]
    assert main(watch) == 130
    assert here.done == ["old.wav", "growing.wav", "bad.mp3"]
    assert done_at["old.wav"] == 2  # looks after which it had not changed for long enough
    assert done_at["growing.wav"] == 7
    assert here.n_starts == 1
    script.clear()
    script[looks[0] + 6] = stop
    (folder / "bad.mp3").unlink()
    assert main(watch) == 130
    assert here.done == ["old.wav", "growing.wav", "bad.mp3"]  # also after a restart
    assert len(rows(tmp_path / "out")) == 3


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--actors", "0"], "argument --actors: expected a number, or MIN-MAX, found '0'"),
        (["--actors", "5-2"], "argument --actors: expected a number, or MIN-MAX"),
        (["--num_cpus", "none"], "argument --num_cpus: expected a whole number of 1 or more"),
        (["--part_minutes", "-1"], "argument --part_minutes: expected a number above 0"),
        (["--vad_threshold", "0.5"], "--vad_threshold needs --vad"),
    ],
)
def test_wrong_usage(here: Here, flags: list[str], told: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        main([*BATCH, *flags])
    assert told in capsys.readouterr().err


def test_http_takes_no_output(here: Here, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    record(tmp_path / "in" / "a.wav", 1)
    assert main([*BATCH[:3], "https://host/out", *BATCH[4:], *QUICK]) == 1
    assert "can't be written" in capsys.readouterr().err
    assert here.n_starts == 0
