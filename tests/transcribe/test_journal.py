"""The journal: what a run that was cut off left behind is gone on from, or refused with the reason."""

import errno
import json
import os
import re
import zlib
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.fake_inference import FakeInference
from tests.support.synthetic_vocabulary import synthetic_vocabulary
from whisper_max import api, load
from whisper_max.api import Model
from whisper_max.audio import io as audio_io
from whisper_max.audio.waveform import SAMPLE_RATE, ArrayWaveform
from whisper_max.engine import select_target
from whisper_max.errors import AudioError, JournalError, OptionError, OutputError
from whisper_max.transcribe import journal as journal_module
from whisper_max.transcribe.journal import Journal, audio_identity
from whisper_max.transcribe.window import Cut
from whisper_max.version import VERSION

WORDS: dict[str, Any] = {"word_timestamps": True, "hallucination_silence_threshold": 1.0}
WORDS |= {"temperature": (0.0, 0.4), "best_of": 2}
PLAIN = {"initial_prompt": "Names.", "logprob_threshold": -0.5}
BATCHED = {"batch_size": 3, "multilingual": True, "vad": True, "vad_options": {"threshold": 0.0}}
CLIPPED = {"clip_timestamps": "5,40,50", "language": "en", "temperature": (0.0, 0.8), "best_of": 2, "seed": 3}


@cache
def model():
    return Model(FakeInference(), synthetic_vocabulary())


@cache
def noise(seconds=100, key=1):
    return (np.random.default_rng(key).standard_normal(SAMPLE_RATE * seconds) * 0.1).astype(np.float32)


@cache
def undisturbed(kind):
    """A whole run's result, with the bytes of its journal."""
    path = Path(os.environ["PYTEST_JOURNALS"]) / f"{kind}.jsonl"
    result = model().transcribe(noise(), journal=path, **OPTIONS[kind])
    return result, path.read_bytes()


OPTIONS = {"words": WORDS, "plain": PLAIN, "clipped": CLIPPED, "batched": BATCHED}


@pytest.fixture(scope="module", autouse=True)
def journals(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_JOURNALS", str(tmp_path_factory.mktemp("journals")))
        yield


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A path for journals that tests write over and over."""
    return tmp_path_factory.mktemp("journal") / "talk.journal.jsonl"


def line_ends(data):
    return [match.end() for match in re.finditer(b"\n", data)]


# ---------------------------------------------------------------- going on


@pytest.mark.seconds
@pytest.mark.parametrize("kind", OPTIONS)
def test_a_journal_does_not_change_the_transcript(kind):
    result, data = undisturbed(kind)
    assert result == model().transcribe(noise(), **OPTIONS[kind])
    assert data.count(b"\n") > 4


@pytest.mark.seconds
@pytest.mark.parametrize("kind", OPTIONS)
def test_cut_off_after_any_line_it_goes_on_to_the_same_bytes(kind, path):
    result, data = undisturbed(kind)
    for end in [0, *line_ends(data)]:
        path.write_bytes(data[:end])
        assert model().transcribe(noise(), journal=path, resume=True, **OPTIONS[kind]) == result
        assert kind == "batched" or path.read_bytes() == data  # side by side, the order of windows is another


@pytest.mark.seconds
def test_words_go_on_from_the_end_of_the_last_one(path):
    """In this recording a first word is clipped by the last one of the window before."""
    options = {"word_timestamps": True, "temperature": 0.0, "language": "en"}
    result = model().transcribe(noise(150, 2), journal=path, **options)
    data = path.read_bytes()
    for end in line_ends(data)[:-1]:
        path.write_bytes(data[:end])
        assert model().transcribe(noise(150, 2), journal=path, resume=True, **options) == result


@pytest.mark.seconds
@settings(max_examples=15, deadline=None)
@given(offset=st.integers(0, 10**9), kind=st.sampled_from(sorted(OPTIONS)))
def test_cut_off_anywhere_it_goes_on_to_the_same_bytes(path, offset, kind):
    result, data = undisturbed(kind)
    path.write_bytes(data[: offset % len(data)])
    assert model().transcribe(noise(), journal=path, resume=True, **OPTIONS[kind]) == result


@pytest.mark.seconds
def test_cut_off_at_every_byte_the_whole_lines_are_kept(path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)
    model().transcribe(noise(60), journal=path, language="en", temperature=0.0, sample_len=2, suppress_tokens="")
    data = path.read_bytes()
    ends = [0, *line_ends(data)]
    header = header_of(data)
    cuts = read(path, header)
    assert len(cuts) == len(ends) - 2 > 1
    for offset in range(len(data)):
        path.write_bytes(data[:offset])
        n_lines = sum(end <= offset for end in ends[1:])
        assert read(path, header) == cuts[: max(n_lines - 1, 0)]
        assert path.read_bytes() == data[: ends[max(n_lines, 1)]]


def header_of(data):
    header = json.loads(data.split(b"\n")[0])
    return {name: header[name] for name in ("audio", "model", "options")}


def read(path, header):
    opened = Journal(path, header, resume=True)
    opened.close()
    return opened.cuts


def test_a_complete_journal_needs_no_decoding(path):
    result, data = undisturbed("words")
    path.write_bytes(data)
    inference = FakeInference()
    progress = []
    again = Model(inference, synthetic_vocabulary()).transcribe(
        noise(), journal=path, resume=True, on_progress=lambda *done: progress.append(done), **WORDS
    )
    assert again == result
    assert inference.encoded == 1  # to detect the language
    assert progress == [(100.0, 100.0)]


def test_without_resume_it_starts_over(path):
    _, data = undisturbed("plain")
    path.write_bytes(undisturbed("words")[1])
    model().transcribe(noise(), journal=path, **PLAIN)
    assert path.read_bytes() == data


def test_segments_come_again_before_new_ones(path):
    result, data = undisturbed("plain")
    path.write_bytes(data[: line_ends(data)[2]])
    progress = []
    segments = model().transcribe_segments(
        noise(), journal=path, resume=True, on_progress=lambda *done: progress.append(done), **PLAIN
    )
    assert list(segments) == result.segments
    assert progress[0][0] == json.loads(data.split(b"\n")[2])["seek"] / 100
    assert progress[-1] == (100.0, 100.0)


def test_a_stopped_run_is_gone_on_with(path):
    result, data = undisturbed("plain")
    seen = []
    stopped = model().transcribe(
        noise(), journal=path, on_segment=seen.append, should_stop=lambda: len(seen) > 3, **PLAIN
    )
    assert 3 < len(stopped.segments) < len(result.segments)
    assert model().transcribe(noise(), journal=path, resume=True, **PLAIN) == result
    assert path.read_bytes() == data


def test_a_closed_iterator_frees_the_recording_and_the_journal(path, tmp_path, monkeypatch):
    result, _ = undisturbed("plain")
    opened = []
    real_open_audio = audio_io.open_audio

    @contextmanager
    def open_audio(*args, **named):
        with real_open_audio(*args, **named) as waveform:
            opened.append(waveform)
            yield waveform

    monkeypatch.setattr("whisper_max.audio.io._IN_MEMORY_SAMPLES", 0)
    monkeypatch.setattr(api, "open_audio", open_audio)
    segments = model().transcribe_segments(noise().reshape(-1, 1), journal=path, **PLAIN)
    assert next(segments) == result.segments[0]
    (waveform,) = opened
    assert len(waveform.read(0, 10)) == 10
    segments.close()
    with pytest.raises(AudioError, match="can't be read back"):
        waveform.read(0, 10)
    assert model().transcribe(noise(), journal=path, resume=True, **PLAIN) == result


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize("number", [1, 2, 4])
@pytest.mark.parametrize("damage", ["changed", "removed", "repeated", "checksum", "emptied"])
def test_damage_is_refused_by_its_line(path, number, damage):
    lines = undisturbed("plain")[1].splitlines(keepends=True)
    line = lines[number - 1]
    if damage == "changed":
        lines[number - 1] = re.sub(rb"3000|1600000", b"3001", line, count=1)
        assert lines[number - 1] != line
    elif damage == "removed":
        del lines[number - 1]
    elif damage == "repeated":
        lines.insert(number - 1, line)
        number += 1
    elif damage == "checksum":
        lines[number - 1] = line[:-4] + b'g"}\n'
    else:
        lines[number - 1] = b"\n"
    data = b"".join(lines)
    path.write_bytes(data)
    with pytest.raises(JournalError) as error:
        model().transcribe(noise(), journal=path, resume=True, **PLAIN)
    if not data.startswith(b'{"journal": '):
        assert str(error.value) == f"{path}: there is a file that is no journal; choose another path"
    else:
        hint = "start over without resume, or remove the journal"
        assert str(error.value) == f"{path}, line {number}: damaged; {hint}"
    assert path.read_bytes() == data


@pytest.mark.seconds
@settings(max_examples=200, deadline=None)
@given(place=st.integers(0, 10**9), bit=st.integers(0, 7))
def test_a_flipped_bit_is_never_taken_for_a_transcript(path, place, bit):
    data = bytearray(undisturbed("clipped")[1])
    header = header_of(bytes(data))
    path.write_bytes(data)
    cuts = read(path, header)
    place %= len(data)
    data[place] ^= 1 << bit
    path.write_bytes(data)
    if place == len(data) - 1:  # the last newline: as if it were cut off
        assert read(path, header) == cuts[:-1]
        return
    with pytest.raises(JournalError, match=r"line \d+: damaged|no journal"):
        read(path, header)


@pytest.mark.parametrize("resume", [True, False])
def test_a_file_that_is_no_journal_is_left_alone(tmp_path, resume):
    path = tmp_path / "talk.wav"
    path.write_bytes(b"RIFF....WAVE")
    with pytest.raises(JournalError, match=r"talk\.wav: there is a file that is no journal; choose another path"):
        model().transcribe(noise(), journal=path, resume=resume)
    assert path.read_bytes() == b"RIFF....WAVE"


def test_a_journal_that_another_run_is_writing(path):
    path.unlink(missing_ok=True)  # whatever the tests before it left there
    opened = Journal(path, {})
    with pytest.raises(JournalError, match="another run is writing this journal"):
        Journal(path, {}, resume=True)
    opened.close()
    read(path, {})


def with_right_checksums(lines):
    """Lines of a journal, each without its checksum, as a whole journal."""
    checksum, whole = 0, []
    for text in lines:
        checksum = zlib.crc32(text, checksum)
        whole.append(text + b', "crc32": "%08x"}\n' % checksum)
    return b"".join(whole)


def without_checksums(data):
    return [line[: line.rindex(b', "crc32"')] for line in data.splitlines(keepends=True)]


def test_windows_that_do_not_follow(path):
    lines = without_checksums(undisturbed("plain")[1])
    path.write_bytes(with_right_checksums([lines[0], *lines[2:]]))  # a window left out
    with pytest.raises(JournalError, match="window 1 does not follow from those before"):
        model().transcribe(noise(), journal=path, resume=True, **PLAIN)


def edited(line, where, value):
    """A line whose record has another value at a path of keys."""
    record = json.loads(line + b"}")
    inside = record
    for key in where[:-1]:
        inside = inside[key]
    inside[where[-1]] = value
    return json.dumps(record).encode()[:-1]


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (["seek"], "3000", "line N: damaged: found Cut.seek is '3000'"),
        (["seek"], True, "line N: damaged: found Cut.seek is True"),
        (["seek"], 10**30, "window M is not one of this model's"),
        (["seek"], -1, "window M is not one of this model's"),
        (["window"], None, "line N: damaged: found Cut.window is None"),
        (["window", "prompt"], 7, "line N: damaged: found Cut.window.prompt is 7"),
        (["window", "prompt"], [[]], r"line N: damaged: found Cut.window.prompt is \[\]"),
        (["window", "size"], 2999, "window M does not follow from those before"),
        (["result", "tokens"], {"a": 1}, "line N: damaged: found Cut.result.tokens is"),
        (["result", "tokens", 0], 10**6, "window M is not one of this model's"),
        (["result", "temperature"], "0", "line N: damaged: found Cut.result.temperature is '0'"),
        (["result", "language_probs"], {"en": "1"}, "line N: damaged: found Cut.result.language_probs is '1'"),
        (["result", "text"], "\ud800", "line N: damaged: found Cut.result.text is"),
        (["segments", 0, "tokens", 0], -5, "window M is not one of this model's"),
        (["segments", 0, "end"], float("inf"), "window M is not one of this model's"),
        (["segments", 0, "start"], float("nan"), "window M is not one of this model's"),
        (["segments", 0, "temperature"], float("nan"), "window M is not one of this model's"),
        (["segments", 0, "avg_logprob"], float("-inf"), "window M is not one of this model's"),
        (["segments", 0, "text"], None, "line N: damaged: found Cut.segments.text is None"),
        (["segments", 0, "words"], [{}], "line N: damaged: found Cut.segments.words has other fields"),
        (["segments", 0, "language"], "xx", "window M is not one of this model's"),
        (["segments", 0, "more"], 1, "line N: damaged: found Cut.segments has other fields"),
        (["more"], 1, "line N: damaged: found Cut has other fields"),
    ],
)
def test_a_forged_record_is_refused(path, where, value, message):
    lines = without_checksums(undisturbed("plain")[1])
    number = next(number for number, line in enumerate(lines) if b'"segments": [{' in line)
    lines[number] = edited(lines[number], where, value)
    path.write_bytes(with_right_checksums(lines))
    with pytest.raises(JournalError, match=message.replace(" N:", f" {number + 1}:").replace(" M ", f" {number} ")):
        model().transcribe(noise(), journal=path, resume=True, **PLAIN)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(
    "text",
    [
        b'{"journal": ' + b"[" * 2000 + b"]" * 2000,
        b'{"journal": ' + b'{"a": ' * 900 + b"1" + b"}" * 900,
        b'{"journal": ' + b"9" * 5000,
        b'{"journal": "\xff"',
        b'{"journal": 1, 2',
    ],
)
def test_a_forged_line_that_is_no_record(path, number, text):
    lines = without_checksums(undisturbed("plain")[1])
    lines[number] = text
    path.write_bytes(with_right_checksums(lines))
    with pytest.raises(JournalError, match=r"damaged|of another transcription"):
        model().transcribe(noise(), journal=path, resume=True, **PLAIN)


# ---------------------------------------------------------------- identity


def test_a_first_line_with_many_differences_is_told_in_one_short_line(path):
    lines = without_checksums(undisturbed("plain")[1])
    more = {f"{'x' * 500}{number}": "y" * 500 for number in range(200)}
    lines[0] = json.dumps(json.loads(lines[0] + b"}") | more).encode()[:-1]
    path.write_bytes(with_right_checksums(lines))
    with pytest.raises(JournalError, match=r"195 more") as error:
        model().transcribe(noise(), journal=path, resume=True, **PLAIN)
    assert len(str(error.value)) < 1500


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"options": {"seed": 1}}, "options.seed was 0, is 1"),
        ({"options": {"language": "de"}}, r"options.language was '\w+', is 'de'"),
        ({"options": {"temperature": 0.0}}, r"options.temperature was \[0.0, 0.2, 0.4, 0.6, 0.8, 1.0\], is 0.0"),
        ({"audio": 99}, "audio.n_samples was 1600000, is 1584000; audio.sha256 was '[0-9a-f]{59}..., is '[0-9a-f]{59}"),
        ({"target": "gpu:sm_90a bfloat16"}, "model.target was None, is 'gpu:sm_90a bfloat16'"),
        ({"weights": b"other"}, "model.sha256 was None, is 'd9298a10d1b07358"),
        ({"version": "9.9"}, f"whisper_max was {VERSION!r}, is '9.9'"),
        ({"format": 9}, f"journal was {journal_module.FORMAT}, is 9"),
    ],
)
def test_what_differs_is_named(path, tmp_path, monkeypatch, change, difference):
    data = undisturbed("plain")[1]
    path.write_bytes(data)
    monkeypatch.setattr(journal_module, "VERSION", change.get("version", VERSION))
    monkeypatch.setattr(journal_module, "FORMAT", change.get("format", journal_module.FORMAT))
    monkeypatch.setenv("WHISPER_MAX_CACHE", str(tmp_path))
    weights: tuple[Path, ...] = ()
    if "weights" in change:
        weights = (tmp_path / "model.bin",)
        (tmp_path / "model.bin").write_bytes(change["weights"])
    other = Model(model().inference, model().vocabulary, weights=weights, target=change.get("target"))
    with pytest.raises(JournalError, match=difference) as error:
        other.transcribe(
            noise(change.get("audio", 100)), journal=path, resume=True, **PLAIN | change.get("options", {})
        )
    assert str(error.value).startswith(f"{path}: of another transcription: ")
    assert str(error.value).endswith("; start over without resume, or remove the journal")
    assert path.read_bytes() == data


def test_targets_that_compute_differently_have_other_names():
    codes = [("cpu", "float32"), ("cpu", "int8")]
    names = [load.target_name(select_target(device, compute_type)) for device, compute_type in codes]
    code = select_target("cpu").code
    assert names == [f"{code} float32", f"{code} float32, weights int8"]


def test_one_sample_makes_another_recording():
    samples = noise(130)
    changed = samples.copy()
    changed[SAMPLE_RATE * 90] += np.float32(1e-6)
    assert audio_identity(ArrayWaveform(samples)) == audio_identity(ArrayWaveform(samples.copy()))
    assert audio_identity(ArrayWaveform(samples)) != audio_identity(ArrayWaveform(changed))
    assert audio_identity(ArrayWaveform(samples[:0])) == {
        "n_samples": 0,
        "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    }


def test_every_part_of_a_cut_is_kept():
    """A field that a cut gets later must be read back too: the types of all of them are known here."""
    _, data = undisturbed("words")
    record = json.loads(data.split(b"\n")[1])
    assert set(record) == {*Cut.__dataclass_fields__, "crc32"}


def test_resume_without_a_journal():
    with pytest.raises(OptionError, match="resume: needs journal"):
        model().transcribe(noise(), resume=True)


# ---------------------------------------------------------------- disks


def test_every_line_is_on_the_disk_before_the_next_window(path, monkeypatch):
    expected, synced = line_ends(undisturbed("plain")[1]), []
    real_fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (real_fsync(file), synced.append(path.stat().st_size)))
    model().transcribe(noise(), journal=path, **PLAIN)
    assert synced == expected


def test_a_folder_that_can_not_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="can't be written"):
        model().transcribe(noise(), journal=tmp_path / "file" / "talk.jsonl")


def test_a_full_disk_keeps_the_lines_before(path, monkeypatch):
    result, data = undisturbed("plain")
    room = line_ends(data)[2] + 100
    real_open_locked = journal_module._open_locked
    monkeypatch.setattr(journal_module, "_open_locked", lambda path: SmallDisk(real_open_locked(path), room))
    with pytest.raises(OutputError) as error:
        model().transcribe(noise(), journal=path, **PLAIN)
    assert str(error.value) == f"{path}: can't be written: found No space left on device"
    assert path.read_bytes() == data[:room]
    monkeypatch.undo()
    assert model().transcribe(noise(), journal=path, resume=True, **PLAIN) == result


class SmallDisk:
    """A file on a disk with room for so many bytes."""

    def __init__(self, file, room):
        self._file, self._room = file, room

    def write(self, data):
        if self._room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self._file.write(data[: self._room])
        self._room -= written
        return written

    def __getattr__(self, name):
        return getattr(self._file, name)
