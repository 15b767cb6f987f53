"""A job before and after its workers: what it names, what is left to do, how it is shared out, and its table."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from whisper_max.batch.job import DONE, FAILED, Item, Job, Outcome
from whisper_max.batch.plan import in_order, look_at, not_done
from whisper_max.batch.results import Results
from whisper_max.commands.manifest import find_items
from whisper_max.errors import OptionError, OutputError
from whisper_max.files.remote import place
from whisper_max.ray.pipeline import packed
from whisper_max.transcribe.options import TranscribeOptions

JFK = Path(__file__).parents[2] / "samples" / "jfk.flac"


def found(tmp_path: Path, *words: str) -> tuple[dict[str, str], list[str], int]:
    """The text transcript of each recording, below the output folder; the errors; how many are named again."""
    items, errors, n_repeated = find_items(words, tmp_path / "out", ("txt",))
    folder = str(tmp_path / "out") + "/"
    names = {item.source: item.transcripts["txt"].removeprefix(folder) for item in items}
    return names, [str(error) for error in errors], n_repeated


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("talks/a.wav", "talks/may/b.mp3", "single.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"sound")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_folders_and_files_have_whole_paths(tree: Path):
    names, errors, n_repeated = found(tree, "talks", "single.wav", "talks/a.wav")
    assert names == {
        f"{tree}/talks/a.wav": "a.txt",
        f"{tree}/talks/may/b.mp3": "may/b.txt",
        f"{tree}/single.wav": "single.txt",
    }
    assert (errors, n_repeated) == ([], 0)


def test_a_manifest_with_broken_lines(tree: Path):
    lines = [
        '{"path": "talks/a.wav", "language": "german"}',
        "{broken",
        '["talks/a.wav"]',
        '{"language": "en"}',
        '{"path": 7}',
        '{"path": "x.wav", "language": "klingon"}',
        '{"path": "ftp://host/x.wav"}',
        '{"path": "x.wav", "output": "../../etc/x"}',
        '{"path": "talks/may/b.mp3", "output": "june/second"}',
        "",
        '{"path": "single.wav", "output": "june/second"}',
        '{"path": "talks/a.wav"}',
        '{"path": "https://me:secret@host/2026/c.wav?sig=secret"}',
        '{"path": "s3://bucket/2026/c.wav"}',
    ]
    (tree / "list.jsonl").write_text("\n".join(lines))
    names, errors, n_repeated = found(tree, "list.jsonl")
    assert names == {
        f"{tree}/talks/a.wav": "talks/a.txt",
        f"{tree}/talks/may/b.mp3": "june/second.txt",
        "https://me:secret@host/2026/c.wav?sig=secret": "host/2026/c.txt",
        "s3://bucket/2026/c.wav": "bucket/2026/c.txt",
    }
    assert n_repeated == 1
    assert [error.split(": ")[0] for error in errors] == [f"list.jsonl:{n}" for n in (2, 3, 4, 5, 6)] + [
        "ftp://host/x.wav",
        "list.jsonl:8",
        "list.jsonl:11",
    ]
    assert errors[-1] == (
        f"list.jsonl:11: would write the same transcript: found that of {tree}/talks/may/b.mp3; "
        "give its line an output of its own"
    )
    items, _, _ = find_items(["list.jsonl"], tree / "out", ("txt",))
    assert [item.language for item in items][:2] == ["de", None]


def test_a_line_of_a_manifest_ends_where_files_say(tree: Path):
    (tree / "list.txt").write_bytes("a\u2028b.wav\r\nc\x85.wav\n".encode())
    (tree / "list.jsonl").write_bytes('{"path": "d\u2029.wav"}\r\n'.encode())
    names, errors, _ = found(tree, "list.txt", "list.jsonl")
    assert (list(names), errors) == ([f"{tree}/{name}.wav" for name in ("a\u2028b", "c\x85", "d\u2029")], [])


def test_names_of_a_manifest_do_not_depend_on_its_order(tree: Path):
    lines = ["talks/a.wav", "talks/a.mp3", "single.wav"]
    for ordered in (lines, lines[::-1]):
        (tree / "list.txt").write_text("\n".join(ordered))
        names, errors, _ = found(tree, "list.txt")
        assert errors == []
        assert sorted(names.values()) == ["single.txt", "talks/a.mp3.txt", "talks/a.wav.txt"]


def test_a_manifest_that_is_none(tree: Path):
    (tree / "empty.jsonl").touch()
    (tree / "binary.txt").write_bytes(b"\xff\xfe\x00")
    _, errors, _ = found(tree, "empty.jsonl", "binary.txt", "missing.jsonl", "-")
    assert [error.split(":")[0] for error in errors] == ["empty.jsonl", "binary.txt", "missing.jsonl", "-"]


def test_a_manifest_of_a_store(tree: Path):
    place("memory://lists/list.txt").write_bytes(b"a.wav\nmay/b.wav\n")
    names, errors, _ = found(tree, "memory://lists/list.txt")
    assert (names, errors) == ({"memory://lists/a.wav": "a.txt", "memory://lists/may/b.wav": "may/b.txt"}, [])


def items_of(tree: Path) -> list[Item]:
    return look_at(find_items(["talks", "single.wav"], tree / "out", ("txt",))[0])


def done(item: Item, job: Job, **changes) -> Outcome:
    row = Outcome(item.id, item.source, DONE, transcripts=item.transcripts, version=item.version)
    return replace(row, options=job.digest(item), **changes)


def test_what_stands_is_not_done_again(tree: Path):
    job = Job(str(tree / "out"))
    items = items_of(tree)
    rows = [done(item, job) for item in items]
    assert not_done(items, job, rows) == ([], rows, [])
    failed = replace(rows[0], status=FAILED)
    assert not_done(items, job, [failed, *rows[1:]]) == ([items[0]], rows[1:], [failed])
    (tree / "single.wav").write_bytes(b"other sound")
    changed = items_of(tree)
    left, standing, outdated = not_done(changed, job, rows)
    assert ([item.source for item in left], len(standing), len(outdated)) == ([f"{tree}/single.wav"], 2, 1)
    other = replace(job, options=TranscribeOptions(language="de"))
    assert not_done(items, other, rows)[0] == items
    elsewhere = [replace(item, transcripts={"txt": "/elsewhere.txt"}) for item in items]
    assert not_done(elsewhere, job, rows)[0] == elsewhere


def test_what_takes_no_part_in_the_transcript_changes_nothing():
    item = Item(0, "a.wav", {})
    job = Job("out", {"model": "base"})
    others = [
        replace(job, output="elsewhere", files_at_once=8, formats=("srt",), part_minutes=1.0),
        replace(job, model={"model": "base", "threads": 4, "offline": True}),
    ]
    assert {other.digest(item) for other in others} == {job.digest(item)}
    different = [
        replace(job, model={"model": "small"}),
        replace(job, model={"model": "base", "compute_type": "int8"}),
        replace(job, options=TranscribeOptions(beam_size=5)),
    ]
    assert len({each.digest(item) for each in [job, *different]}) == 4
    assert job.digest(replace(item, language="de")) != job.digest(item)


def test_a_file_of_voices_is_refused():
    with pytest.raises(OptionError, match="speaker_file: can't be written by several workers at once"):
        Job("out", options=TranscribeOptions(speakers="auto", speaker_file="voices.json"))


def test_long_recordings_are_split_where_options_permit(tmp_path: Path):
    long, broken = tmp_path / "long.wav", tmp_path / "broken.wav"
    soundfile.write(long, np.zeros(8000 * 60 * 100, np.int16), 8000)  # a hundred minutes
    broken.write_bytes(bytes(4 << 20))
    names = [long, JFK, broken, tmp_path / "missing.wav"]
    items = look_at([Item(id, str(name), {}) for id, name in enumerate(names)])
    whole = in_order(items, Job("out"))
    assert [(item.id, item.n_parts) for item in whole] == [(0, 1), (2, 1), (1, 1), (3, 1)]
    rows = in_order(items, Job("out", options=TranscribeOptions(batch_size=2)))
    assert [(item.id, item.part, item.n_parts) for item in rows if item.id == 0] == [(0, 0, 3), (0, 1, 3), (0, 2, 3)]
    assert [(item.id, item.n_parts) for item in rows if item.id] == [(2, 1), (1, 1), (3, 1)]


def test_short_recordings_are_handed_out_together_and_long_ones_alone():
    rows = [Item(0, "long", {}, size=10 << 20), *(Item(1 + n, "short", {}, size=100_000) for n in range(400))]
    packs = packed(rows, n_actors=2, files_at_once=4)
    assert [item.id for pack in packs for item in pack] == list(range(401))
    assert max(len(pack) for pack in packs) <= 64
    assert len(packs) < 50
    assert max(sum(item.size for item in pack) for pack in packs[1:]) < 10 << 20
    assert [len(pack) for pack in packed(rows[1:4], n_actors=2, files_at_once=1)] == [1, 1, 1]
    assert [len(pack) for pack in packed(rows[1:101], n_actors=1, files_at_once=4)] == [64, 36]


def rows(n: int, start: int = 0) -> list[Outcome]:
    row = Outcome(0, "a.wav", DONE, text="né\n\u2028", transcripts={"txt": "a.txt"}, warnings=["w\x85"])
    return [replace(row, id=id, source=f"{id}.wav") for id in range(start, start + n)]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize("output", ["{}/out", "memory://results/{}"])
def test_the_table_is_what_was_added(tmp_path: Path, kind: str, output: str):
    if kind == "parquet":
        pytest.importorskip("pyarrow", reason="the extra ray is not installed")
    folder = place(output.format(tmp_path).replace("///", "//" + kind + "/"))
    for start in (0, 3):
        results = Results(folder, kind, print)
        assert sorted(row.id for row in results.known()) == list(range(start))
        for row in rows(3, start):
            results.add(row)
        assert results.flush()
        results.close()
    results = Results(folder, kind, print)
    assert sorted(results.known(), key=lambda row: row.id) == rows(6)
    results.drop([row for row in results.known() if row.id in (0, 1, 2, 4)])
    results.close()
    results = Results(folder, kind, print)
    assert [row.id for row in results.known()] == [3, 5]
    results.close()


def test_a_line_of_the_table_can_be_read_by_others(tmp_path: Path):
    results = Results(tmp_path, "jsonl", print)
    results.add(rows(1)[0])
    results.flush()
    results.close()
    (path,) = (tmp_path / "results").iterdir()
    (line,) = path.read_text().removesuffix("\n").split("\n")
    assert json.loads(line)["transcripts"] == {"txt": "a.txt"}
    assert json.loads(line)["text"] == "né\n\u2028"


def test_one_job_writes_at_a_time(tmp_path: Path):
    results = Results(tmp_path, "jsonl", print)
    with pytest.raises(OutputError, match="another batch is writing here"):
        Results(tmp_path, "jsonl", print)
    results.close()
    Results(tmp_path, "jsonl", print).close()


def test_a_full_disk_is_said_once_and_rows_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    said: list[str] = []
    results = Results(tmp_path, "jsonl", said.append)
    for row in rows(2):
        results.add(row)

    def full(path, *, flush=True):
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr("whisper_max.output.files.whole_file", full)
        assert not results.flush()
        assert not results.flush()
    assert (len(said), results.n_waiting) == (1, 2)
    assert "No space left on device" in said[0]
    assert results.flush()
    assert results.n_waiting == 0
    results.close()


def test_a_file_that_is_no_table_is_named(tmp_path: Path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "mine.jsonl").write_text("{}\n")
    with pytest.raises(OutputError, match=r"mine.jsonl: not a file of results"):
        Results(tmp_path, "jsonl", print)
