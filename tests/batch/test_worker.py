"""A worker gives a row for each recording, whatever happens, and what one machine gives, however it is shared out."""

import json
import random
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.fake_inference import DIMS, FakeInference
from tests.support.synthetic_vocabulary import synthetic_vocabulary as vocabulary
from whisper_max.api import Model
from whisper_max.batch.job import DONE, FAILED, PART, Item, Job
from whisper_max.batch.worker import MOST_DEATHS, UNSERVED, Worker
from whisper_max.errors import OptionError, UnknownModelError
from whisper_max.files.remote import place
from whisper_max.output import write_result
from whisper_max.transcribe import journal
from whisper_max.transcribe.options import TranscribeOptions
from whisper_max.transcribe.speakers import Diarization
from whisper_max.transcribe.turns import Turn

JFK = Path(__file__).parents[2] / "samples" / "jfk.flac"
FORMATS = ("json", "srt", "txt")


class Counting(FakeInference):
    """Counts windows, and runs out of memory where more than ``most`` are encoded together."""

    def __init__(self, most=1000):
        super().__init__(DIMS)
        self.n_windows = 0
        self.most = most
        self.encode_size = 1000

    def encode(self, mel):
        if len(mel) > self.most:
            raise MemoryError
        self.n_windows += len(mel)
        return super().encode(mel)


def model(**options):
    return Model(Counting(**options), vocabulary())


@cache
def spoken():
    """66 s with pauses."""
    samples, _ = soundfile.read(JFK, dtype="float32")
    noise = np.random.default_rng(1).normal(0, 0.01, (6, len(samples))).astype(np.float32)
    return (noise + samples).ravel()


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    path = tmp_path / "talk.wav"
    soundfile.write(path, spoken(), 16_000)
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WHISPER_MAX_CACHE", str(tmp_path / "cache"))
    return tmp_path


def job(output: Path | str, **fields) -> Job:
    return Job(str(output), formats=FORMATS, **fields)


def item(source: Path | str, output: Path | str, id: int = 0, **fields) -> Item:
    name = Path(source).stem
    return Item(id, str(source), {format: f"{output}/{name}.{format}" for format in FORMATS}, **fields)


def files(folder: Path | str, name: str = "talk") -> list[bytes]:
    return [(place(folder) / f"{name}.{format}").read_bytes() for format in FORMATS]


def on_one_machine(source: Path, folder: Path, options: TranscribeOptions) -> list[bytes]:
    result = model().transcribe(source, options=options)
    write_result(result, {format: folder / f"{source.stem}.{format}" for format in FORMATS})
    return files(folder, source.stem)


@pytest.mark.parametrize("output", ["{home}/out", "memory://worker/out"])
def test_a_recording_is_what_one_machine_gives(home: Path, talk: Path, output: str):
    output = output.format(home=home)
    options = TranscribeOptions(language="en", temperature=0.0)
    (row,) = Worker(job(output, options=options), load=model)([item(talk, output)])
    assert files(output) == on_one_machine(talk, home / "one", options)
    assert (row.status, row.error, row.language) == (DONE, "", "en")
    assert row.duration == pytest.approx(66.0, abs=0.1)
    assert row.transcripts["srt"] == f"{output}/talk.srt"
    assert len(row.content) == 64


@pytest.mark.parametrize("n_parts", [3])
def test_parts_in_any_order_are_joined_to_what_one_machine_gives(home: Path, talk: Path, n_parts: int):
    options = TranscribeOptions(language="en", temperature=0.0, batch_size=4, vad=True, word_timestamps=True)
    wanted = on_one_machine(talk, home / "one", options)
    items = [item(talk, home / "out", part=part, n_parts=n_parts) for part in range(n_parts)]
    random.Random(n_parts).shuffle(items)
    rows = [Worker(job(home / "out", options=options), load=model)([each])[0] for each in items]
    assert [row.status for row in rows] == [PART] * (n_parts - 1) + [DONE]
    assert files(home / "out") == wanted
    assert not list((home / "out").rglob("*.journal.jsonl"))


@pytest.fixture
def told_apart(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Two speakers take turns of 5 s in every recording; the durations of those that were asked for."""
    durations: list[float] = []

    def tell_apart(waveform, count, on_progress, *, speaker_file):
        durations.append(waveform.duration)
        return Diarization([Turn(start, start + 4.5, start // 5 % 2) for start in range(0, int(waveform.duration), 5)])

    monkeypatch.setattr("whisper_max.speakers.diarize.check_speakers", lambda speaker_file: None)
    monkeypatch.setattr("whisper_max.speakers.diarize.tell_apart", tell_apart)
    return durations


def test_speakers_of_parts_are_those_of_one_machine_and_told_apart_once(
    home: Path, talk: Path, told_apart: list[float]
):
    options = TranscribeOptions(language="en", temperature=0.0, batch_size=4, speakers="auto")
    wanted = on_one_machine(talk, home / "one", options)
    assert b"Speaker 2" in wanted[0]
    told_apart.clear()
    items = [item(talk, home / "out", part=part, n_parts=3) for part in (2, 0, 1)]
    rows = [Worker(job(home / "out", options=options), load=model)([each])[0] for each in items]
    assert [row.status for row in rows] == [PART, PART, DONE]
    assert files(home / "out") == wanted
    assert told_apart == [pytest.approx(66.0, abs=0.1)]


@pytest.mark.parametrize("files_at_once", [1, 3])
@pytest.mark.parametrize("asked", [{"speakers": 2}, {"channels": "separate"}])
def test_speakers_and_channels_are_those_of_one_machine(
    home: Path, told_apart: list[float], files_at_once: int, asked: dict
):
    sources = [home / f"call{number}.wav" for number in range(2)]
    for number, source in enumerate(sources):
        left, right = spoken().reshape(2, -1)
        sides = np.stack([left, np.roll(right, 30_000 + number)], axis=1)  # (n_samples, 2), not the same sound
        soundfile.write(source, sides, 16_000)
    options = TranscribeOptions(language="en", temperature=0.0, **asked)
    wanted = [on_one_machine(source, home / "one", options) for source in sources]
    assert all(b"Speaker 2" in transcripts[0] for transcripts in wanted)
    items = [item(source, home / "out", id) for id, source in enumerate(sources)]
    rows = Worker(job(home / "out", options=options, files_at_once=files_at_once), load=model)(items)
    assert [(row.status, row.error) for row in rows] == [(DONE, "")] * 2
    assert [files(home / "out", source.stem) for source in sources] == wanted


def test_separate_channels_are_never_done_in_parts():
    options = TranscribeOptions(batch_size=4, channels="separate")
    assert not Job("out", options=options).can_split


def test_parts_share_the_work(home: Path, talk: Path):
    options = TranscribeOptions(language="en", temperature=0.0, batch_size=4)
    whole = model()
    whole.transcribe(talk, options=options)
    models = [model(), model()]
    for part, of_part in enumerate(models):
        worker = Worker(job(home / "out", options=options), load=partial(next, iter([of_part])))
        worker([item(talk, home / "out", part=part, n_parts=2)])
    n_windows = [of_part.inference.n_windows for of_part in models]
    assert sum(n_windows) == whole.inference.n_windows
    assert min(n_windows) >= whole.inference.n_windows // 2 - 1


def test_options_that_permit_no_split_say_so(home: Path, talk: Path):
    with pytest.raises(OptionError, match="batch_size: can't be transcribed in parts"):
        model().transcribe_part(talk, 0, 2, home / "part.jsonl")
    assert not Job("out").can_split
    assert Job("out", options=TranscribeOptions(batch_size=2)).can_split


def test_what_is_done_is_not_done_again(home: Path, talk: Path):
    first, again = model(), model()
    Worker(job(home / "out"), load=lambda: first)([item(talk, home / "out")])
    copied = talk.with_name("copied.wav")
    copied.write_bytes(talk.read_bytes())
    rows = Worker(job(home / "out"), load=lambda: again)([item(talk, home / "out"), item(copied, home / "out", 1)])
    assert [row.status for row in rows] == [DONE, DONE]
    assert files(home / "out", "copied") == files(home / "out")
    assert (first.inference.n_windows > 0, again.inference.n_windows) == (True, 0)
    other = model()  # of other options
    Worker(job(home / "out", options=TranscribeOptions(language="de")), load=lambda: other)([item(talk, home / "out")])
    assert other.inference.n_windows > 0


def test_a_worker_that_died_left_what_it_had_done(home: Path, talk: Path):
    class Dies(Counting):
        def encode(self, mel):
            if self.n_windows == 4:
                raise KeyboardInterrupt  # ends the worker as a signal does
            return super().encode(mel)

    options = TranscribeOptions(language="en", temperature=0.0)
    wanted = on_one_machine(talk, home / "one", options)
    with pytest.raises(KeyboardInterrupt):
        Worker(job(home / "out", options=options), load=lambda: Model(Dies(), vocabulary()))([item(talk, home / "out")])
    assert not list((home / "out").glob("talk*"))
    after = model()
    Worker(job(home / "out", options=options), load=lambda: after)([item(talk, home / "out")])
    assert files(home / "out") == wanted
    whole = model()
    whole.transcribe(talk, options=options)
    assert after.inference.n_windows < whole.inference.n_windows


def test_bad_recordings_are_rows_and_the_others_are_done(home: Path, talk: Path):
    (home / "broken.mp3").write_bytes(b"no sound at all" * 100)
    (home / "empty.wav").touch()
    (home / "out" / "taken.json").mkdir(parents=True)
    taken = home / "taken.wav"
    taken.write_bytes(talk.read_bytes())
    sources: list[Path | str] = [
        home / "missing.wav",
        home / "broken.mp3",
        home / "empty.wav",
        home,
        taken,
        "gopher://x/a.wav",
        talk,
    ]
    items = [item(source, home / "out", id) for id, source in enumerate(sources)]
    for files_at_once in (1, 4):
        rows = Worker(job(home / "out", files_at_once=files_at_once), load=model)(items)
        assert [row.status for row in rows] == [FAILED] * 6 + [DONE]
        kinds = ["AudioError"] * 4 + ["OutputError", "OptionError"]
        assert [row.error_kind for row in rows[:6]] == kinds
        assert rows[0].error == f"{home}/missing.wav: no such file"
        assert all("\n" not in row.error for row in rows)
        assert [row.id for row in rows] == list(range(7))


def test_side_by_side_is_as_alone(home: Path, talk: Path):
    sources = []
    for number in range(5):
        sources.append(home / f"clip{number}.wav")
        soundfile.write(sources[-1], soundfile.read(talk, start=number * 40_000, frames=300_000)[0], 16_000)
    options = TranscribeOptions(language="en", temperature=0.0)
    wanted = [on_one_machine(source, home / "one", options) for source in sources]
    items = [item(source, home / "out", id) for id, source in enumerate(sources)]
    rows = Worker(job(home / "out", options=options, files_at_once=3), load=model)(items)
    assert [row.status for row in rows] == [DONE] * 5
    assert [files(home / "out", source.stem) for source in sources] == wanted
    assert not list((home / "cache").rglob("*.jsonl"))


@pytest.mark.parametrize(("size", "batches"), [(300_000, [5]), (1, [2, 2, 1])])
def test_rows_share_a_batch_unless_how_large_they_are_is_unknown(
    home: Path, talk: Path, size: int, batches: list[int], monkeypatch
):
    shared = []
    transcribe_many = Model.transcribe_many

    def told(model, audios, **options):
        shared.append(len(audios))
        return transcribe_many(model, audios, **options)

    monkeypatch.setattr(Model, "transcribe_many", told)
    samples = soundfile.read(talk, frames=16_000 + 4)[0]
    items = []
    for id in range(5):
        path = home / f"clip{id}.wav"
        soundfile.write(path, samples[id:], 16_000)
        items.append(replace(item(path, home / "out", id), size=size))
    rows = Worker(job(home / "out", files_at_once=2), load=model)(items)
    assert [(row.id, row.status) for row in rows] == [(id, DONE) for id in range(5)]
    assert shared == batches


@pytest.mark.parametrize(("size", "kept"), [(1, True), (300_000, False), (3 << 20, True)])
def test_a_short_recording_has_no_journal(home: Path, talk: Path, size: int, kept: bool, monkeypatch):
    opened = []
    real = journal._open_locked
    monkeypatch.setattr(journal, "_open_locked", lambda path: (opened.append(path), real(path))[1])
    (row,) = Worker(job(home / "out"), load=model)([item(talk, home / "out", size=size)])
    assert row.status == DONE
    assert bool(opened) is kept


@pytest.mark.parametrize("files_at_once", [1, 8])
def test_where_memory_runs_out_batches_are_smaller(home: Path, talk: Path, files_at_once: int):
    options = TranscribeOptions(language="en", temperature=0.0, batch_size=8 if files_at_once == 1 else 1)
    wanted = on_one_machine(talk, home / "one", options)
    copied = talk.with_name("copied.wav")
    copied.write_bytes(talk.read_bytes() + b"\0")
    items = [item(talk, home / "out"), item(copied, home / "out", 1)]
    small = model(most=1)
    rows = Worker(job(home / "out", options=options, files_at_once=files_at_once), load=lambda: small)(items)
    assert [row.status for row in rows] == [DONE, DONE]
    assert files(home / "out") == wanted
    none = model(most=0)
    talk.write_bytes(talk.read_bytes() + b"\0\0")
    (row, *_) = Worker(job(home / "out", options=options, files_at_once=files_at_once), load=lambda: none)(items)
    assert (row.status, row.error_kind) == (FAILED, "MemoryError")


class Died:
    """Attempts of which so many ended with the worker's death, for some keys."""

    def __init__(self, deaths):
        self.deaths = deaths
        self.open = set()

    def begin(self, keys):
        self.open |= set(keys)
        return max(self.deaths.get(key, 0) for key in keys)

    def end(self, keys):
        self.open -= set(keys)


def test_after_a_death_batches_are_smaller_and_a_row_that_kills_is_given_up(home: Path, talk: Path):
    options = TranscribeOptions(language="en", temperature=0.0, batch_size=8)
    attempts = Died({"0/0 alone": 3, "1/0 alone": MOST_DEATHS})
    small = model(most=1)
    worker = Worker(job(home / "out", options=options), attempts, load=lambda: small)
    rows = worker([item(talk, home / "out"), item(talk, home / "out", 1), item(talk, home / "out", 2)])
    assert [row.status for row in rows] == [DONE, FAILED, DONE]
    assert rows[1].error_kind == "WorkerDied"
    assert "4 workers died over it" in rows[1].error
    assert not attempts.open


def test_after_a_death_in_company_each_goes_alone(home: Path, talk: Path):
    begun: list[list[str]] = []

    class Told(Died):
        def begin(self, keys):
            begun.append(list(keys))
            return super().begin(keys)

    attempts = Told({"0/0": 1})
    items = [item(talk, home / "out"), item(home / "missing.wav", home / "out", 1)]
    rows = Worker(job(home / "out", files_at_once=2), attempts, load=model)(items)
    assert [row.status for row in rows] == [DONE, FAILED]
    assert begun == [["0/0", "1/0"], ["0/0 alone"], ["1/0 alone"]]
    assert not attempts.open


def test_without_a_model_rows_are_left_to_others(home: Path, talk: Path):
    def missing():
        raise UnknownModelError("no such model", where="base")

    rows = Worker(job(home / "out"), load=missing)([item(talk, home / "out"), item(talk, home / "out", 1)])
    assert {(row.status, row.error_kind, row.error) for row in rows} == {
        (UNSERVED, "UnknownModelError", "base: no such model")
    }


def test_no_secret_is_in_a_row(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("whisper_max.files.remote._pause", lambda seconds: None)
    url = "http://me:hunter2@127.0.0.1:9/a.wav?sig=hunter2"
    (row,) = Worker(job(home / "out"), load=model)([item(url, home / "out")])
    assert row.status == FAILED
    assert row.source == "http://127.0.0.1:9/a.wav"
    assert "hunter2" not in json.dumps(asdict(row))
