import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_max.errors import OptionError, OutputError
from whisper_max.output import WriterOptions, output_paths, write_atomically, write_result
from whisper_max.transcribe.result import Segment, TranscriptionResult


@pytest.fixture
def result():
    segment = Segment(0, 0, 0.0, 1.0, " ahoj", [], 0.0, 0.0, 1.0, 0.0)
    return TranscriptionResult(" ahoj", [segment], "cs", options={"initial_prompt": "\udce9"})


def names(inputs, output_dir="out"):
    return {source: str(paths["srt"]) for source, paths in output_paths(inputs, output_dir, ["srt"]).items()}


def test_names_keep_all_but_the_last_extension():
    assert names(["a.b.wav", "/x/c.mp3", "-", "d", ".e", "f g.flac"]) == {
        "a.b.wav": "out/a.b.srt",
        "/x/c.mp3": "out/c.srt",
        "-": "out/stdin.srt",
        "d": "out/d.srt",
        ".e": "out/.e.srt",
        "f g.flac": "out/f g.srt",
    }


def test_each_format_has_a_path():
    paths = output_paths(["a.wav"], Path("out"), ["txt", "json"])
    assert paths == {"a.wav": {"txt": Path("out/a.txt"), "json": Path("out/a.json")}}


def test_inputs_of_one_stem_keep_their_extensions_and_then_are_numbered():
    assert names(["1/talk.wav", "talk.mp3", "2/talk.wav", "3/talk.wav", "other.wav"]) == {
        "1/talk.wav": "out/talk.wav.srt",
        "talk.mp3": "out/talk.mp3.srt",
        "2/talk.wav": "out/talk.wav-2.srt",
        "3/talk.wav": "out/talk.wav-3.srt",
        "other.wav": "out/other.srt",
    }


def test_a_name_given_to_one_input_is_free_for_no_other():
    assert names(["a/talk.wav", "b/talk.wav", "talk.wav.mp3", "talk.wav-2.mp3", "stdin.wav", "-"]) == {
        "talk.wav.mp3": "out/talk.wav.srt",
        "talk.wav-2.mp3": "out/talk.wav-2.srt",
        "a/talk.wav": "out/talk.wav-3.srt",
        "b/talk.wav": "out/talk.wav-4.srt",
        "stdin.wav": "out/stdin.wav.srt",
        "-": "out/stdin.srt",
    }


LONG = ["a" * 237, "a" * 242, "a" * 251, "a" * 300, "b/" + "a" * 251, "ж" * 127, "日" * 84, "\udcff" * 254]


def test_names_longer_than_the_file_system_allows_are_shortened_and_distinct(tmp_path):
    inputs = [f"{stem}.wav" for stem in LONG] + [f"{'a' * 250}{end}.wav" for end in "xyz"]
    formats = ("srt", "json", "journal.jsonl")
    found = output_paths(inputs, tmp_path, formats)
    for format in formats:
        paths = [found[source][format] for source in inputs]
        assert len(set(paths)) == len(inputs)
        for path in paths:
            path.write_bytes(b"")  # what is too long is refused
    assert found[inputs[1]]["srt"].name == "a" * 242 + ".srt"
    assert found[inputs[1]]["journal.jsonl"].name.startswith("a" * 200)


def test_a_recording_called_like_a_shortened_name_keeps_its_own():
    long = "a" * 255
    short = output_paths([long], "out", ["srt"])[long]["srt"].name
    for inputs in ([long, short], [short, long]):
        found = output_paths(inputs, "out", ["srt"])
        assert found[short]["srt"].name == short
        assert found[long]["srt"].name == short.replace(".srt", "-2.srt")
        assert len(found[long]["srt"].name) <= 255


def test_names_that_a_file_system_may_confuse_count_as_the_same():
    assert names(["Talk.wav", "talk.mp3", "caf\u00e9.wav", "cafe\u0301.mp3"]) == {
        "Talk.wav": "out/Talk.wav.srt",
        "talk.mp3": "out/talk.mp3.srt",
        "caf\u00e9.wav": "out/caf\u00e9.wav.srt",
        "cafe\u0301.mp3": "out/cafe\u0301.mp3.srt",
    }


@given(st.lists(st.text("aAb./-2", max_size=6) | st.sampled_from(["..", "/", "a/..", "../a", "-", "a.wav", "b/a.wav"])))
def test_names_are_distinct_and_stay_in_the_folder(inputs):
    found = names(inputs)
    assert set(found) == set(inputs)
    assert len({name.casefold() for name in found.values()}) == len(found)
    assert {os.path.dirname(os.path.normpath(name)) for name in found.values()} <= {"out"}
    assert found == names(inputs)


def test_a_result_is_written_in_each_format(result, tmp_path):
    write_result(result, output_paths(["a.wav"], tmp_path / "new" / "folder", ["txt", "tsv", "json"])["a.wav"])
    folder = tmp_path / "new" / "folder"
    assert sorted(os.listdir(folder)) == ["a.json", "a.tsv", "a.txt"]
    assert (folder / "a.txt").read_bytes() == b"ahoj\n"
    assert (folder / "a.tsv").read_bytes() == b"start\tend\ttext\n0\t1000\tahoj\n"
    assert rb'{"initial_prompt": "\udce9"}' in (folder / "a.json").read_bytes()


def test_layout_without_a_format_that_has_one_is_refused(result, tmp_path):
    with pytest.raises(OptionError, match="highlight_words needs the format srt, vtt or ass: found txt, json"):
        write_result(
            result,
            {"txt": tmp_path / "a.txt", "json": tmp_path / "a.json"},
            WriterOptions(highlight_words=True),
        )
    assert os.listdir(tmp_path) == []


def test_an_older_file_is_replaced_with_the_umask_of_the_user(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old and longer")
    mask = os.umask(0o027)
    try:
        write_atomically(path, "new\r\n")
    finally:
        os.umask(mask)
    assert path.read_bytes() == b"new\r\n"
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, function):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, function, full)
    with pytest.raises(OutputError) as error:
        write_atomically(path, "new")
    assert str(error.value) == f"{path}: can't be written: found No space left on device"
    assert os.listdir(tmp_path) == ["a.txt"]
    assert path.read_text() == "old"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
def test_a_device_that_is_full_is_an_output_error(tmp_path, monkeypatch):
    real_open = open
    monkeypatch.setattr("builtins.open", lambda path, mode: real_open("/dev/full", "wb"))
    with pytest.raises(OutputError, match="can't be written: found No space left on device"):
        write_atomically(tmp_path / "a.txt", "new")


def test_an_interruption_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "a.txt", "new")
    assert os.listdir(tmp_path) == []


def test_a_folder_in_the_place_of_the_file_is_an_output_error(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(OutputError, match=r"a\.txt: can't be written: found Is a directory"):
        write_atomically(tmp_path / "a.txt", "new")
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_file_in_the_place_of_the_folder_is_an_output_error(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match=r"out/a\.txt: can't be written: found (File exists|Not a directory)"):
        write_atomically(tmp_path / "out" / "a.txt", "new")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder_is_an_output_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="can't be written: found Permission denied"):
        write_atomically(tmp_path / "a.txt", "new")


def test_a_name_too_long_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match="File name too long"):
        write_atomically(tmp_path / ("a" * 252 + ".json"), "new")
    assert os.listdir(tmp_path) == []
