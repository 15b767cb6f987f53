"""Uploads are decoded by processes of their own: what a codec does there costs its request, and nothing else."""

import io
import itertools
import os
import socket
import threading
import time
from contextlib import ExitStack, closing
from pathlib import Path

import av
import httpx
import numpy as np
import pytest
import soundfile

from tests.support.patient import SECONDS
from tests.support.raw_http import error_of
from tests.support.served import bomb
from whisper_max.audio.io import load_audio
from whisper_max.audio.reading import Reading
from whisper_max.errors import AudioError
from whisper_max.server.decoding import parent
from whisper_max.server.decoding.parent import Decoders
from whisper_max.server.errors import APIError
from whisper_max.server.jobs import Cancelled

CHILD = """
import ctypes, os, resource, signal, socket, time
from whisper_max.audio.io import decode_audio
from whisper_max.audio.warnings import AudioWarning
from whisper_max.server.decoding import child
def decode(recording, reading):
    what = os.pread(recording.fileno(), 20, 0).decode("latin-1").strip()
    if what == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "hang":
        time.sleep(60)
    if what == "spin":
        while True:
            pass
    if what == "memory":
        kept = bytearray(400 << 20)
    if what == "socket":
        socket.create_connection(("127.0.0.1", 9))
    if what == "file":
        open("/proc/self/status")
    if what == "fault":
        raise RuntimeError("a secret in /etc")
    if what == "lies":
        os.write(4, b"?" * 100)
    if what == "huge":
        os.write(4, b"S" + b"\\xff" * 4)
    if what == "unset":
        raise SystemExit(0)
    if what == "warned":
        reading.warnings.append(AudioWarning("phase", 1.0, 2.5, "the channels cancel"))
    if what == "environment":
        for name in os.environ:
            assert not name.startswith("WHISPER_MAX_"), name
    if what == "nice":
        nice, (core, _) = os.getpriority(os.PRIO_PROCESS, 0), resource.getrlimit(resource.RLIMIT_CORE)
        reading.warnings.append(AudioWarning("nice", nice, core, ""))
    return decode_audio(recording, reading) if what[:4] == "RIFF" else iter(())
child.decode_audio = decode
child.main()
"""


@pytest.fixture
def new_decoders(monkeypatch):
    """Makes decoders of files that say what happens while they are decoded; 200 MiB for each."""
    monkeypatch.setenv("WHISPER_MAX_API_KEYS", "hush")
    monkeypatch.setattr(parent, "PROGRAM", CHILD)
    with ExitStack() as stack:
        yield lambda patience=60.0, processor_seconds=60: stack.enter_context(
            closing(Decoders(200 << 20, patience, processor_seconds))
        )


@pytest.fixture
def decoders(new_decoders):
    return new_decoders()


@pytest.fixture
def file_of(tmp_path):
    """Writes a file and opens it."""
    opened = []

    def make(content):
        (tmp_path / str(len(opened))).write_bytes(content)
        opened.append(open(tmp_path / str(len(opened)), "rb", buffering=0))  # noqa: SIM115 - closed below
        return opened[-1]

    yield make
    for file in opened:
        file.close()


def wait(condition, seconds=SECONDS):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def decoded(decoders, file, check=lambda: None, later=False, **reading):
    warnings = []
    asked = Reading("file", **reading)
    with closing(decoders.decode(file, asked, warnings.append, check=check, later=later)) as pieces:
        kept = list(pieces)
    return (np.concatenate(kept) if kept else np.zeros(0, np.float32)), warnings


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"crash", "ends the process that decodes it"),
        (b"hang", "takes too long to decode: 1 s without a sample"),
        (b"spin", "ends the process that decodes it"),
        (b"memory", "takes more memory than an upload may"),
        (b"lies", "ends the process that decodes it"),
        (b"huge", "ends the process that decodes it"),
        (b"unset", "ends the process that decodes it"),
        (b"no audio", "."),
    ],
)
def test_what_a_recording_does_to_its_process_is_its_own_error(new_decoders, file_of, make_wav, content, found):
    decoders = new_decoders(1.0 if content == b"hang" else 60.0, 2 if content == b"spin" else 60)
    if content != b"no audio":
        with pytest.raises(AudioError, match=found):
            decoded(decoders, file_of(content))
    decoders._patience = 60.0  # with the next one
    samples, _ = decoded(decoders, file_of(make_wav(3)))
    assert len(samples) == 3 * 16000


@pytest.mark.parametrize("content", [b"socket", b"file", b"fault"])
def test_a_process_opens_nothing_and_tells_no_secrets(decoders, file_of, content, caplog):
    with pytest.raises(APIError) as raised:
        decoded(decoders, file_of(content))
    assert (raised.value.status, raised.value.code) == (500, "internal_error")
    assert {b"fault": "a secret in /etc"}.get(content, "Too many open files") in caplog.text


def test_a_process_does_not_know_the_keys(decoders, file_of):
    assert len(decoded(decoders, file_of(b"environment"))[0]) == 0


def test_warnings_come_through(decoders, file_of):
    _, [warning] = decoded(decoders, file_of(b"warned"))
    assert (warning.kind, warning.start, warning.end, warning.message) == ("phase", 1.0, 2.5, "the channels cancel")


def test_a_process_reads_as_it_is_asked_to(decoders, file_of, make_wav):
    cut = make_wav(3)[:-20_000]
    samples, [warning] = decoded(decoders, file_of(cut))
    assert (warning.kind, warning.end, len(samples)) == ("truncated", 3.0, 38_000)
    with pytest.raises(AudioError, match="truncated: expected 96000 bytes of audio, found 76000"):
        decoded(decoders, file_of(cut), strict=True)
    with pytest.raises(AudioError, match="no such audio track: expected 1, the only one, found 2"):
        decoded(decoders, file_of(make_wav(1)), track="2")


def test_what_is_decoded_later_comes_after_others_and_leaves_no_core(decoders, file_of):
    own = os.getpriority(os.PRIO_PROCESS, 0)
    for later, priority in ((False, own), (True, min(own + 5, 19))):
        _, [warning] = decoded(decoders, file_of(b"nice"), later=later)
        assert (warning.start, warning.end) == (priority, 0)


def test_what_nobody_wants_ends_before_its_first_sample(decoders, file_of):
    checks = itertools.count()

    def check():
        if next(checks) > 9:  # it is asked ten times a second
            raise Cancelled("cancelled")

    with pytest.raises(Cancelled):  # not what would have come in the end, of too long a decoding
        decoded(decoders, file_of(b"hang"), check)


def test_a_process_that_is_gone_is_started_again(decoders, file_of, make_wav):
    decoded(decoders, file_of(make_wav(1)))
    decoders._process.kill()
    decoders._process.wait()
    assert len(decoded(decoders, file_of(make_wav(1)))[0]) == 16000


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="the processes of a process are listed on Linux only")
def test_no_process_outlives_its_server(decoders, file_of):
    ended = []

    def work():
        try:
            decoded(decoders, file_of(b"hang"))
        except (AudioError, APIError) as error:  # APIError where it had not begun
            ended.append(error)

    def forks():
        process = decoders._process
        return [] if process is None else Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()

    thread = threading.Thread(target=work)
    thread.start()
    wait(forks)
    [fork] = forks()
    decoders.close()
    wait(lambda: not os.path.exists(f"/proc/{fork}"))
    thread.join()
    assert len(ended) == 1


def in_format(samples, format, subtype, rate):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=format, subtype=subtype)
    return file.getvalue()


def media(samples, format, codec, rate):
    file = io.BytesIO()
    with av.open(file, "w", format=format) as container:
        stream = container.add_stream(codec, rate=rate)
        frame = av.AudioFrame.from_ndarray((samples * 32767).astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate = rate
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return file.getvalue()


@pytest.mark.parametrize(
    "made",
    [
        lambda samples: in_format(samples, "WAV", "PCM_16", 16000),
        lambda samples: in_format(samples, "FLAC", "PCM_16", 44100),
        lambda samples: in_format(samples, "OGG", "VORBIS", 44100),
        lambda samples: in_format(samples, "OGG", "OPUS", 48000),
        lambda samples: in_format(samples, "MP3", "MPEG_LAYER_III", 44100),
        lambda samples: in_format(samples, "AIFF", "PCM_24", 22050),
        lambda samples: media(samples, "mp4", "aac", 44100),
        lambda samples: media(samples, "webm", "libopus", 48000),
        lambda samples: media(samples, "matroska", "pcm_s16le", 44100),
    ],
)
def test_all_formats_are_decoded_as_in_this_process(decoders, file_of, made, monkeypatch):
    monkeypatch.setattr(parent, "PROGRAM", "from whisper_max.server.decoding.child import main; main()")
    content = made(np.random.default_rng(3).normal(0, 0.1, 300_000).clip(-1, 1).astype(np.float32))
    samples, warnings = decoded(decoders, file_of(content))
    assert warnings == []
    assert len(samples) > 16000
    np.testing.assert_array_equal(samples, load_audio(io.BytesIO(content)))


def test_a_codec_that_crashes_costs_one_request(serving, make_wav, monkeypatch):
    monkeypatch.setattr(parent, "PROGRAM", CHILD)
    with serving() as server:
        answers = {}
        threads = [
            threading.Thread(target=lambda key, audio: answers.update({key: server.post(audio)}), args=each)
            for each in [("crash", b"crash"), *((key, make_wav(3, key)) for key in range(4))]
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert error_of(answers.pop("crash")) == (400, "invalid_audio")
        assert [answer.status_code for answer in answers.values()] == [200] * 4


# ---------------------------------------------------------------- bytes on disk


def test_samples_on_disk_have_a_budget(serving):
    """Four minutes of silence, 8 kB, are 15 MiB decoded: once it fits, twice at a time it does not, 8 minutes never."""
    with serving(spool_budget=20) as server:
        server.loader.inference.go_on.clear()
        answers = []
        first = threading.Thread(target=lambda: answers.append(server.post(bomb(240))))
        first.start()
        server.wait(lambda: any(n for _, n in server.shared.engines.loads().values()))
        assert 240 * 64000 <= server.shared.spool.n_taken < 20 << 20
        refused = server.post(bomb(240))
        assert error_of(refused) == (429, "spool_budget")
        assert "retry-after" in refused.headers
        short = threading.Thread(target=lambda: answers.append(server.post()))
        short.start()
        server.loader.inference.go_on.set()
        for thread in (first, short):
            thread.join()
        assert [answer.status_code for answer in answers] == [200, 200]
        server.wait(lambda: server.shared.spool.n_taken == 0)
        assert error_of(server.post(bomb(480))) == (413, "too_large")


def test_uploads_have_a_budget(serving, make_wav):
    with serving(spool_budget=1, max_upload=4) as server:
        assert error_of(server.post(make_wav(60))) == (413, "too_large")
        assert server.shared.spool.n_taken == 0
        assert server.post(make_wav(10)).status_code == 200
        for audio in (b"", b"junk"):
            assert error_of(server.post(audio))[0] == 400
        server.wait(lambda: server.shared.spool.n_taken == 0)


def test_who_leaves_gives_its_bytes_back(serving):
    with serving() as server:
        server.loader.inference.go_on.clear()
        sent = httpx.Request("POST", server.url, data={"model": "base", "stream": "true"}, files={"file": bomb(240)})
        with socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS) as connection:
            connection.sendall(b"POST /v1/audio/transcriptions HTTP/1.1\r\n")
            connection.sendall(b"".join(b"%s: %s\r\n" % header for header in sent.headers.raw) + b"\r\n" + sent.read())
            server.wait(lambda: server.loader.inference.n_waiting)
            assert server.shared.spool.n_taken > 0
        server.wait(lambda: server.shared.admission.n_requests == 0)
        server.loader.inference.go_on.set()
        server.wait(lambda: server.shared.spool.n_taken == 0)
        assert server.post().status_code == 200
