"""Recordings and transcripts by URL: a web server that fails in every way, an S3 server, a store in memory."""

import traceback
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from tests.support.http_store import HttpStore, http_store
from tests.support.s3_store import SECRET, S3Store, s3_store
from whisper_max.audio.io import load_audio, open_audio
from whisper_max.audio.opening import spool_url
from whisper_max.audio.spool import temporary_file
from whisper_max.commands.inputs import find_recordings
from whisper_max.errors import AudioError, OptionError, OutputError
from whisper_max.files import remote
from whisper_max.files.remote import find_below, found_at, place, read_blocks, shown_source, source_name
from whisper_max.output import check_writable, write_atomically

pytest.importorskip("fsspec", reason="the extra remote is not installed")

JFK = Path(__file__).parents[2] / "samples" / "jfk.flac"


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between tries, which take no time."""
    taken: list[float] = []
    monkeypatch.setattr(remote, "_pause", taken.append)
    return taken


@pytest.fixture
def web() -> Iterator[HttpStore]:
    with http_store(HttpStore(JFK.read_bytes())) as store:
        yield store


def read(url: str) -> bytes:
    return b"".join(read_blocks(url))


@pytest.mark.parametrize("ranges", [True, False])
def test_a_recording_of_the_web_is_that_of_the_disk(web: HttpStore, ranges: bool):
    web.ranges = ranges
    np.testing.assert_array_equal(load_audio(web.url()), load_audio(JFK))
    assert [path for path, _ in web.requests] == ["/talk.flac"]  # one request where nothing fails


@pytest.mark.parametrize("ranges", [True, False])
def test_connections_that_drop_are_gone_on_from(web: HttpStore, ranges: bool, pauses: list[float]):
    web.ranges, web.drops, web.keep, web.taken = ranges, 3, len(web.content) // 2, 0
    content = b""
    for block in read_blocks(web.url()):
        content += block
        web.taken = len(content)
    assert content == web.content
    first, *others = [start for _, start in web.requests]
    assert first == "bytes=0-"
    assert len(others) == (1 if ranges else 3)  # the second half is whole where only it is asked for
    assert all(start != "bytes=0-" for start in others)
    assert pauses[0] == 0.5


def test_a_server_that_is_busy_is_asked_again(web: HttpStore, pauses: list[float]):
    web.statuses = [503, 429, 500]
    assert read(web.url()) == web.content
    assert pauses == [0.5, 1.0, 2.0]


def test_tries_end(web: HttpStore, pauses: list[float]):
    web.statuses = [503] * 9
    with pytest.raises(AudioError, match=r"talk.flac: can't be read: found status 503"):
        load_audio(web.url())
    assert pauses == [0.5, 1.0, 2.0, 4.0]
    assert len(web.requests) == 5


@pytest.mark.parametrize(("status", "told"), [(404, "no such file"), (403, "status 403"), (401, "status 401")])
def test_what_no_try_would_change_is_asked_once(web: HttpStore, status: int, told: str, pauses: list[float]):
    web.statuses = [status] * 9
    with pytest.raises(AudioError, match=told):
        load_audio(web.url())
    assert pauses == []


def test_no_server(pauses: list[float]):
    with pytest.raises(AudioError, match=r"http://127.0.0.1:9/a.wav: can't be read"):
        load_audio("http://127.0.0.1:9/a.wav")


def test_a_recording_that_changes_meanwhile_is_refused(web: HttpStore, pauses: list[float]):
    web.drops, web.keep, web.etags = 1, 5000, ["one", "two"]
    with pytest.raises(AudioError, match="changed while it was read"):
        load_audio(web.url())


def test_an_empty_recording(web: HttpStore):
    web.content = b""
    with pytest.raises(AudioError, match="empty"):
        load_audio(web.url())


def test_a_stream_without_an_end_is_bounded(web: HttpStore):
    web.endless = True
    with ExitStack() as stack, pytest.raises(AudioError, match=r"too large: expected at most 1 MiB"):
        spool_url(web.url(), temporary_file(stack, "x"), largest=1 << 20)


def test_redirects_are_followed_to_allowed_hosts_only(web: HttpStore, pauses: list[float]):
    web.redirect = web.url()
    assert b"".join(read_blocks(web.url("/moved"), ["127.0.0.1"])) == web.content
    web.redirect = web.url(host="localhost")
    assert read(web.url("/moved")) == web.content
    with pytest.raises(OSError, match="the host localhost is not one of those allowed"):
        list(read_blocks(web.url("/moved"), ["127.0.0.1"]))
    n_requests = len(web.requests)
    with pytest.raises(OSError, match="not one of those allowed"):
        list(read_blocks(web.url(), ["example.org"]))
    assert len(web.requests) == n_requests
    assert pauses == []


@pytest.mark.parametrize("status", [404, 403, 500])
def test_no_password_and_no_signature_is_told(web: HttpStore, status: int, pauses: list[float]):
    web.statuses = [status] * 9
    url = web.url(f"/talk.flac?X-Amz-Signature={SECRET}", user=f"me:{SECRET}@")
    with pytest.raises(AudioError) as caught:
        load_audio(url)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("source", "shown", "name"),
    [
        ("https://me:hunter2@host:8000/a/b.mp3?sig=hunter2#x", "https://host:8000/a/b.mp3", "b.mp3"),
        ("s3://bucket/what?.mp3", "s3://bucket/what?.mp3", "what?.mp3"),
        ("abfs://container@account/x.wav", "abfs://container@account/x.wav", "x.wav"),
        ("a/b?c.wav", "a/b?c.wav", "b?c.wav"),
    ],
)
def test_names(source: str, shown: str, name: str):
    assert (shown_source(source), source_name(source)) == (shown, name)


def test_an_unknown_kind_of_url_is_refused_by_name():
    with pytest.raises(OptionError, match=r"ftp://host/a.wav: unknown kind of URL: expected file, http"):
        load_audio("ftp://host/a.wav")
    with pytest.raises(OptionError, match="unknown kind"):
        place("gopher://x/out")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch):
    import sys

    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(OptionError, match=r"gs:// takes the package gcsfs"):
        load_audio("gs://bucket/a.wav")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(OptionError, match=r"s3:// takes the extra remote"):
        load_audio("s3://bucket/a.wav")


def test_file_urls_are_files(tmp_path: Path):
    copied = tmp_path / "a talk.flac"
    copied.write_bytes(JFK.read_bytes())
    with open_audio(copied.as_uri()) as waveform:
        assert waveform.n_samples == 176_000
    write_atomically(place((tmp_path / "out" / "a.txt").as_uri()), "hello")
    assert (tmp_path / "out" / "a.txt").read_text() == "hello"
    with pytest.raises(OptionError, match="a file of another machine"):
        load_audio("file://elsewhere/a.wav")


def test_transcripts_in_memory():
    recordings, errors = find_recordings([str(JFK)], "memory://store/out", ["txt"])
    (recording,) = recordings
    assert (errors, str(recording.transcripts["txt"])) == ([], "memory://store/out/jfk.txt")
    assert recording.journal.is_absolute()
    write_atomically(recording.transcripts["txt"], "hello")
    assert place("memory://store/out/jfk.txt").read_bytes() == b"hello"
    assert recording.is_done()
    place("memory://store/out/jfk.txt").unlink()
    assert not recording.is_done()


def test_the_web_takes_no_transcripts():
    with pytest.raises(OutputError, match="can't be written"):
        check_writable(place("https://host/out/a.txt"))
    with pytest.raises(OutputError, match="http takes no transcripts"):
        write_atomically(place("https://host/out/a.txt"), "hello")


@pytest.fixture(scope="module")
def store() -> Iterator[S3Store]:
    """An S3 server with three objects."""
    with s3_store() as it:
        import boto3

        client = boto3.client("s3")
        client.upload_file(str(JFK), "archive", "talks/may/jfk.flac")
        client.upload_file(str(JFK), "archive", "talks/june/kennedy.flac")
        client.put_object(Bucket="archive", Key="talks/notes.txt", Body=b"no sound")
        yield it


@pytest.fixture
def s3(store: S3Store) -> str:
    """The URL of its bucket."""
    return store.bucket


def test_a_recording_of_s3(s3: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(remote, "_BLOCK", 100_000)  # several ranges
    np.testing.assert_array_equal(load_audio(f"{s3}/talks/may/jfk.flac"), load_audio(JFK))


def test_a_folder_of_s3_goes_to_s3(s3: str):
    recordings, errors = find_recordings([f"{s3}/talks"], f"{s3}/out/", ["txt"])
    assert errors == []
    assert {each.source: str(each.transcripts["txt"]) for each in recordings} == {
        f"{s3}/talks/june/kennedy.flac": f"{s3}/out/june/kennedy.txt",
        f"{s3}/talks/may/jfk.flac": f"{s3}/out/may/jfk.txt",
    }
    (matched,), _ = find_recordings([f"{s3}/talks/m*/*.flac"], f"{s3}/out", ["txt"])
    assert str(matched.transcripts["txt"]) == f"{s3}/out/may/jfk.txt"
    assert not matched.is_done()
    write_atomically(matched.transcripts["txt"], "hello")
    assert find_below(f"{s3}/out")[0].size == 5
    assert recordings[0].size == JFK.stat().st_size


def test_what_s3_refuses_is_said(s3: str, pauses: list[float]):
    with pytest.raises(AudioError, match=r"s3://archive/none.wav: no such file"):
        load_audio(f"{s3}/none.wav")
    with pytest.raises(AudioError, match="a folder, not a"):
        load_audio(f"{s3}/talks")
    with pytest.raises(OutputError, match="can't be written") as caught:
        write_atomically(place("s3://no-such-bucket/a.txt"), "hello")
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    _, (error,) = find_recordings([f"{s3}/nothing*"], "out", ["txt"])
    assert "no files match" in str(error)


def test_what_s3_denies_is_said_at_once(store: S3Store, pauses: list[float]):
    with store.denying():
        for work in (
            lambda: load_audio(f"{store.bucket}/talks/may/jfk.flac"),
            lambda: write_atomically(place(f"{store.bucket}/denied.txt"), "hello"),
        ):
            with pytest.raises((AudioError, OutputError), match="access denied") as caught:
                work()
            assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert pauses == []
    assert find_below(f"{store.bucket}/denied*") == []


def test_a_version_changes_with_its_object(s3: str):
    where = place(f"{s3}/versions/a.txt")
    where.write_bytes(b"1")
    before = found_at(f"{s3}/versions/a.txt")
    where.write_bytes(b"2")
    assert before.version != found_at(f"{s3}/versions/a.txt").version
