"""Bad uploads, bad clients and bad days: each is answered, nothing else is lost, nothing is left behind."""

import errno
import io
import json
import os
import socket
import threading
from contextlib import suppress

import pytest

from tests.support.patient import SECONDS
from tests.support.raw_http import answer_on, error_of, exchange, until_closed
from tests.support.served import bomb
from whisper_max.errors import AudioError

HEAD = b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
FORM = b"Content-Type: multipart/form-data; boundary=b\r\n"
MODEL = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
FILE = b'--b\r\nContent-Disposition: form-data; name="file"; filename="../../etc/a.wav"\r\n\r\n'
END = b"\r\n--b--\r\n"


def body_of(received):
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), json.loads(body)["error"]["code"]


def request(body, kind=FORM):
    return HEAD + kind + b"Content-Length: %d\r\n\r\n" % len(body) + body


# ---------------------------------------------------------------- forms


@pytest.mark.parametrize(
    ("body", "kind", "wanted"),
    [
        (b"", FORM, (400, "malformed_form")),
        (b"no form at all", FORM, (400, "malformed_form")),
        (MODEL + FILE + b"RIFF", FORM, (400, "malformed_form")),
        (MODEL + END, FORM, (400, "missing_field")),
        (FILE + b"RIFF" + END, FORM, (400, "missing_field")),
        (MODEL + FILE + b"RIFF\r\n" + FILE + b"RIFF" + END, FORM, (400, "duplicate_field")),
        (MODEL + FILE + b"" + END, FORM, (400, "invalid_audio")),
        (b"--b\r\nContent-Disposition: form-data\r\n\r\nx" + END, FORM, (400, "malformed_form")),
        (b"--b\r\n\r\nx" + END, FORM, (400, "malformed_form")),
        (b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n\xff\xfe' + END, FORM, (400, "malformed_form")),
        (b"--b\r\n" + b"X-Many: 1\r\n" * 1000 + b"\r\nx" + END, FORM, (400, "malformed_form")),
        (b"--b\r\nX: " + b"y" * 100_000 + b"\r\n\r\nx" + END, FORM, (400, "malformed_form")),
        (MODEL * 2100 + END, FORM, (400, "malformed_form")),
        (MODEL.replace(b"whisper-1", b"x" * 300_000) + END, FORM, (413, "too_large")),
        (b"{}", b"Content-Type: application/json\r\n", (415, "unsupported_media_type")),
        (b"model=base", b"Content-Type: application/x-www-form-urlencoded\r\n", (415, "unsupported_media_type")),
        (b"x", b"Content-Type: multipart/form-data\r\n", (415, "unsupported_media_type")),
        (b"x", b"", (415, "unsupported_media_type")),
        (b"x", b"Content-Type: multipart/form-data; boundary=" + b"b" * 1000 + b"\r\n", (400, "malformed_form")),
    ],
)
def test_malformed_forms(server, body, kind, wanted):
    assert body_of(exchange(server, request(body, kind))) == wanted


def test_a_form_in_single_bytes(server, make_wav):
    body = MODEL + FILE + make_wav(0.01) + END
    whole = exchange(server, request(body))
    head = HEAD + FORM + b"Content-Length: %d\r\n\r\n" % len(body)
    in_bytes = exchange(server, head, *(body[i : i + 1] for i in range(len(body))))
    assert whole.partition(b"\r\n\r\n")[2] == in_bytes.partition(b"\r\n\r\n")[2]
    assert whole.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("junk", [b"GARBAGE\r\n\r\n", b"\x16\x03\x01\x02\x00", HEAD + b"X: " + b"y" * 66_000])
def test_no_http(server, junk):
    assert exchange(server, junk).startswith(b"HTTP/1.1 400")


CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("head", [HEAD + FORM, b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\n"])
def test_a_body_that_is_no_http_is_answered_once_and_is_no_fault_of_ours(server, caplog, head):
    received = exchange(server, head + CHUNKED + b"no length\r\n")
    assert received.startswith(b"HTTP/1.1 400")
    assert received.count(b"HTTP/1.1") == 1
    assert server.post().status_code == 200
    assert [record.message for record in caplog.records if record.exc_info] == []


def test_a_body_that_is_no_http_behind_its_answer_ends_the_connection(server, caplog):
    with socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n" + CHUNKED)
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
        connection.sendall(b"no length\r\n")
        assert b"HTTP/1.1" not in b"".join(until_closed(connection))
    assert server.post().status_code == 200
    assert [record.message for record in caplog.records if record.exc_info] == []


def test_unknown_addresses_and_methods(server):
    with server.http() as client:
        assert error_of(client.get("/v2")) == (404, "not_found")
        assert error_of(client.get("/v1/audio/transcriptions")) == (405, "method_not_allowed")
        assert error_of(client.get("/assets/../settings.py")) == (404, "not_found")


# ---------------------------------------------------------------- too much


def test_large_uploads(serving):
    with serving(max_upload=1) as server:
        large = bytes(1 << 20)
        assert error_of(server.post(large + b"x")) == (413, "too_large")
        assert error_of(server.post(large)) == (400, "invalid_audio")
        assert body_of(exchange(server, HEAD + FORM + b"Content-Length: 999999999999\r\n\r\n")) == (413, "too_large")


def test_an_endless_upload(serving):
    """Chunks without end and without a declared length: refused at the limit, however much more is sent."""
    with serving(max_upload=1) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS) as connection:
            connection.sendall(HEAD + FORM + b"Transfer-Encoding: chunked\r\n\r\n")
            for part in (MODEL, FILE):
                connection.sendall(b"%x\r\n" % len(part) + part + b"\r\n")
            sent = 0
            with suppress(OSError):  # reset, or a broken pipe
                while sent < 200 << 20:
                    connection.sendall(b"10000\r\n" + bytes(0x10000) + b"\r\n")
                    sent += 0x10000
        assert 1 << 20 < sent < 100 << 20
        server.wait(lambda: server.shared.admission.n_requests == 0)
        assert server.post().status_code == 200


def test_audio_bombs(serving):
    with serving(max_seconds=60) as server:
        audio = bomb(3600)
        assert len(audio) < 300_000
        answer = server.post(audio)
        assert error_of(answer) == (413, "audio_too_long")
        assert "at most 60 s" in answer.text
        assert server.post(bomb(60)).status_code == 200


@pytest.mark.parametrize(
    "audio",
    [
        b"RIFF\xff\xff\xff\xffWAVE",
        b"OggS" + bytes(40),
        b"fLaC" + bytes(100),
        b"ID3" + bytes(1000),
        b"<svg/>",
        bytes(5000),
    ],
)
def test_what_is_no_audio(server, audio):
    assert error_of(server.post(audio)) == (400, "invalid_audio")


# ---------------------------------------------------------------- slow and leaving clients


def connected(server):
    """A connection whose end is not uvicorn's, which keeps none for minutes."""
    server.server.config.timeout_keep_alive = 3600
    return socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS)


def until_closed_after(server, connection, seconds, *sent):
    """Send one after the other, each so many seconds before what comes next, and give what comes until the end."""
    for data in sent:
        with suppress(OSError):  # what is refused need not be read to its end
            connection.sendall(data)
        server.later(seconds)
    return b"".join(until_closed(connection))


@pytest.mark.parametrize("sent", [b"", HEAD])
def test_slow_headers(serving, sent):
    with serving(idle_timeout=600) as server, connected(server) as connection:
        server.wait(lambda: server.server.server_state.connections)
        assert until_closed_after(server, connection, 601, sent) == b""


@pytest.mark.parametrize(("seconds", "sent"), [(601, [MODEL, b""]), (400, [MODEL[:9], MODEL[9:20], MODEL[20:]])])
def test_slow_bodies(serving, seconds, sent):
    """One that pauses for longer than it may, and one that takes longer in all."""
    with serving(idle_timeout=600, upload_timeout=1000) as server:
        with connected(server) as connection:
            connection.sendall(HEAD + FORM + b"Content-Length: 1000\r\n\r\n")
            server.wait(lambda: server.shared.admission.n_requests == 1)
            assert body_of(until_closed_after(server, connection, seconds, *sent)) == (408, "upload_timeout")
        server.wait(lambda: server.shared.admission.n_requests == 0)
        assert server.post().status_code == 200


HEALTH = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@pytest.mark.parametrize("rest", [HEALTH + b"X: ", b"", b"\r\n"])
def test_a_second_request_must_come_in_time_as_the_first(serving, rest):
    """Its headers come in single bytes, and never end."""
    with serving(idle_timeout=600) as server, connected(server) as connection:
        connection.sendall(HEALTH + b"\r\n" + rest)
        assert answer_on(connection).count(b"HTTP/1.1 200") == 1
        assert b"HTTP/1.1 200" not in until_closed_after(server, connection, 250, *3 * [b"x" if rest else b""])


def test_a_body_that_nobody_reads_must_not_go_on(serving):
    with serving(idle_timeout=600) as server, connected(server) as connection:
        connection.sendall(HEALTH + b"Content-Length: 1000\r\n\r\n")
        assert answer_on(connection).count(b"HTTP/1.1 200") == 1
        assert b"HTTP/1.1 200" not in until_closed_after(server, connection, 250, *3 * [b"x"])


def test_a_connection_in_use_is_not_cut(serving, make_wav):
    """Requests one after the other, each beginning in time, and one that takes longer than a client may."""
    with serving(idle_timeout=600) as server, connected(server) as connection:
        for _ in range(4):
            connection.sendall(HEALTH + b"\r\n")
            assert answer_on(connection).startswith(b"HTTP/1.1 200")
            server.later(400)
        server.loader.inference.go_on.clear()
        connection.sendall(request(MODEL + FILE + make_wav(1) + END))
        server.wait(lambda: server.loader.inference.n_waiting)
        server.later(1000)
        server.loader.inference.go_on.set()
        assert answer_on(connection).startswith(b"HTTP/1.1 200")


def test_bytes_after_the_last_boundary(server, make_wav):
    """A few are ignored, as RFC 2046 has it; no more than a form may have apart from its file."""
    whole = MODEL + FILE + make_wav(0.01) + END
    assert exchange(server, request(whole + b"epilogue")).startswith(b"HTTP/1.1 200")
    assert body_of(exchange(server, request(whole + bytes(300_000)))) == (413, "too_large")
    with socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS) as connection:
        connection.sendall(HEAD + FORM + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(whole) + whole + b"\r\n")
        sent = 0
        with suppress(OSError):
            while sent < 50 << 20:
                connection.sendall(b"10000\r\n" + bytes(0x10000) + b"\r\n")
                sent += 0x10000
    assert sent < 40 << 20


def test_more_connections_than_may_be(serving):
    with serving(max_connections=4, idle_timeout=600) as server:
        held = [socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS) for _ in range(4)]
        server.wait(lambda: len(server.server.server_state.connections) == 4)
        for sent in (b"", request(MODEL + FILE + bytes(3 << 20) + END)):  # which it would not read
            answer = exchange(server, sent)
            assert body_of(answer) == (429, "overloaded")
            assert b"\r\nRetry-After: " in answer
        for connection in held:
            connection.close()
        server.wait(lambda: not server.server.server_state.connections)
        assert server.post().status_code == 200


def test_who_leaves_frees_its_places(server, make_wav):
    """While uploading, while waiting for the whole answer, in the middle of a stream."""
    body = MODEL + FILE + make_wav(60) + END
    streamed = b'--b\r\nContent-Disposition: form-data; name="stream"\r\n\r\ntrue\r\n' + body
    engine_idle = lambda: all(n == 0 for _, n in server.shared.engines.loads().values())  # noqa: E731
    server.wait(lambda: engine_idle() and not server.server.server_state.connections)  # who left before is counted
    gone = server.shared.metrics.disconnects._value.get()
    for sent, held in ((request(body)[:-5000], False), (request(body), True), (request(streamed), True)):
        if held:
            server.loader.inference.go_on.clear()
        with socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS) as connection:
            connection.sendall(sent)
            server.wait(lambda: server.shared.admission.n_requests == 1)
            if held:
                server.wait(lambda: not engine_idle())
        server.wait(lambda: server.shared.admission.n_requests == 0)
        server.loader.inference.go_on.set()
        server.wait(engine_idle)
        gone += 1
        server.wait(lambda gone=gone: server.shared.metrics.disconnects._value.get() == gone)
    assert server.post().status_code == 200


def test_a_reader_that_does_not_read(serving, make_wav, monkeypatch):
    """The socket fills up, and the stream ends; the engine is free again."""
    monkeypatch.setattr("whisper_max.server.http.events.segment_of", lambda segment: {"padding": "x" * 4_000_000})
    with serving(idle_timeout=600, request_timeout=1e9) as server:
        body = MODEL + FILE + make_wav(200) + END
        fields = b'--b\r\nContent-Disposition: form-data; name="stream"\r\n\r\ntrue\r\n'
        fields += b'--b\r\nContent-Disposition: form-data; name="response_format"\r\n\r\nverbose_json\r\n'
        with socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS) as connection:
            connection.sendall(request(fields + body))
            server.wait(lambda: server.loader.inference.encoded)
            server.wait(lambda: server.later(601) or server.shared.metrics.disconnects._value.get() == 1)
            server.wait(lambda: server.shared.admission.n_requests == 0)
        assert server.post().status_code == 200


# ---------------------------------------------------------------- a full house


def test_more_requests_than_places(serving, make_wav):
    with serving(max_requests=2) as server:
        server.loader.inference.go_on.clear()
        answers = []
        waiting = [threading.Thread(target=lambda: answers.append(server.post())) for _ in range(2)]
        for thread in waiting:
            thread.start()
        server.wait(lambda: server.shared.admission.n_requests == 2)
        refused = server.post(make_wav(30))
        assert error_of(refused) == (429, "overloaded")
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        server.loader.inference.go_on.set()
        for thread in waiting:
            thread.join()
        assert [answer.status_code for answer in answers] == [200, 200]
        assert server.post().status_code == 200


def test_a_request_that_takes_too_long(serving):
    with serving(request_timeout=1.0) as server:
        server.loader.inference.go_on.clear()
        answer = server.post()
        assert error_of(answer) == (504, "request_timeout")
        assert answer.headers["x-should-retry"] == "false"
        server.loader.inference.go_on.set()
        server.wait(lambda: server.post().status_code == 200)


# ---------------------------------------------------------------- disks, engines


class FullDisk(io.RawIOBase):
    def writable(self):
        return True

    def write(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk(server, make_wav, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("whisper_max.server.http.uploads.tempfile.TemporaryFile", lambda **_: FullDisk())
        assert error_of(server.post()) == (507, "disk_full")
    with monkeypatch.context() as patch:
        patch.setattr("whisper_max.server.recordings._IN_MEMORY_SECONDS", 0.1)
        patch.setattr("whisper_max.audio.spool.temporary_file", lambda *_: FullDisk())
        assert error_of(server.post()) == (507, "disk_full")
    assert server.post().status_code == 200


def test_nothing_is_left_on_the_disk(serving, make_wav, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("whisper_max.server.recordings._IN_MEMORY_SECONDS", 0.1)
    with serving() as server:
        n_open = len(os.listdir("/proc/self/fd"))
        server.loader.inference.go_on.clear()
        waiting = threading.Thread(target=server.post)
        waiting.start()
        server.wait(lambda: any(n for _, n in server.shared.engines.loads().values()))
        assert os.listdir(tmp_path) == []  # not even while it works
        server.loader.inference.go_on.set()
        waiting.join()
        for audio in (b"", b"junk", bomb(60)[:-100], make_wav(3)):
            server.post(audio)
        assert os.listdir(tmp_path) == []
        server.wait(lambda: len(os.listdir("/proc/self/fd")) <= n_open + 1)


@pytest.mark.parametrize("fails", [RuntimeError("a secret in /etc/secret.py"), MemoryError()])
def test_an_engine_that_fails(server, fails, caplog):
    server.loader.inference.fails = fails
    assert error_of(server.post()) == (500, "internal_error")
    assert server.post().status_code == 200
    assert repr(fails) in caplog.text or type(fails).__name__ in caplog.text


def test_a_recording_that_fails_half_way(server, make_wav, monkeypatch):
    """One that can't be read any more ends, in the middle of its stream; another goes on."""
    from whisper_max.audio import waveform

    read = waveform.ArrayWaveform.read

    def fail_late(self, start, stop):
        if self.n_samples == 70 * 16000 and server.loader.inference.encoded > encoded + 1:
            raise AudioError("decoded samples can't be read back")
        return read(self, start, stop)

    encoded = server.loader.inference.encoded
    monkeypatch.setattr(waveform.ArrayWaveform, "read", fail_late)
    monkeypatch.setattr("whisper_max.audio.mel._KEPT_FRAMES", 0)
    monkeypatch.setattr("whisper_max.server.recordings._IN_MEMORY_SECONDS", 600)
    answer = server.post(make_wav(70), stream="true")
    lines = [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n\n") if line]
    assert lines[-1]["error"]["code"] == "invalid_audio"
    assert [line["type"] for line in lines[:-1]] == ["transcript.text.delta"] * (len(lines) - 1)
    assert server.post().status_code == 200
