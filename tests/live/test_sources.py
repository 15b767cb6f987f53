"""Where ``live`` gets its sound from: containers at any rate, samples, addresses, files."""

import argparse
import functools
import http.server
import io
import os
import socketserver
import threading
import types
import wave
from contextlib import ExitStack
from typing import Any

import av
import numpy as np
import pytest
import soundfile

from whisper_max.audio.formats.elements import MATROSKA, without_size
from whisper_max.audio.formats.heads import container_of
from whisper_max.audio.formats.stream_repair import RepairedStream
from whisper_max.audio.stream import SoundStream
from whisper_max.commands import sound
from whisper_max.errors import AudioError, OptionError

SECONDS = 3
FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "wav in float": ("WAV", "FLOAT"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"),
}


def tone(rate, channels=1):
    """(n, channels): 440 Hz that swells."""
    time = np.arange(SECONDS * rate) / rate
    mono = 0.4 * np.sin(2 * np.pi * 440 * time) * np.minimum(time, 1)
    return np.repeat(mono[:, None], channels, axis=1)


def encoded(name, rate, channels=1):
    format, subtype = FORMATS[name]
    file = io.BytesIO()
    soundfile.write(file, tone(rate, channels), rate, format=format, subtype=subtype)
    return file.getvalue()


def muxed(format, codec, rate, *, hole=False, options=None):
    """A container by FFmpeg; with a hole, its second second is not there."""
    file = io.BytesIO()
    with av.open(file, "w", format=format, options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        samples = tone(rate)[:, 0].astype(np.float32)
        for start in range(0, len(samples), 960):
            if hole and rate <= start < 2 * rate:
                continue
            frame = av.AudioFrame.from_ndarray(samples[None, start : start + 960], format="flt", layout="mono")
            frame.sample_rate, frame.pts = rate, start
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return file.getvalue()


@pytest.fixture
def stop():
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def heard(monkeypatch, stop):
    """Opens a source and gives its rate, channels and samples; bytes come through a pipe, a few at a time."""

    def hear(source, rate=None, channels=None, input_device=None):
        args = argparse.Namespace(source="-", rate=rate, channels=channels, input_device=input_device)
        if isinstance(source, bytes):
            reading, writing = os.pipe()
            monkeypatch.setattr("sys.stdin", opened_files.enter_context(os.fdopen(reading, "rb")))
            threads.append(threading.Thread(target=write, args=(writing, source)))
            threads[-1].start()
        else:
            args.source = source
        with sound.open_source(args, stop) as opened:
            pieces = []
            while (piece := opened.pieces.get(timeout=60)) is not None:
                if isinstance(piece, Exception):
                    raise piece
                pieces.append(piece / 32768 if piece.dtype == np.int16 else piece)
            return opened.rate, opened.channels, np.concatenate(pieces)

    def write(file, data):
        try:
            with os.fdopen(file, "wb", buffering=0) as pipe:
                for start in range(0, len(data), 5000):
                    pipe.write(data[start : start + 5000])
        except BrokenPipeError:
            pass

    threads: list[threading.Thread] = []
    with ExitStack() as opened_files:
        yield hear
        stop.set()
    for thread in threads:
        thread.join(60)


def level(samples, rate, second):
    """The mean square of a second."""
    return float(np.mean(np.square(samples[second * rate : (second + 1) * rate])))


@pytest.mark.parametrize("rate", [8000, 44100])
@pytest.mark.parametrize("name", FORMATS)
def test_containers_are_heard_at_their_own_rate(heard, name, rate):
    found, channels, samples = heard(encoded(name, rate))
    assert (found, channels) == (rate, 1)
    assert len(samples) / rate == pytest.approx(SECONDS, abs=0.1)  # mp3: what an encoder puts around it
    assert level(samples, rate, 1) == pytest.approx(0.08, rel=0.1)


@pytest.mark.parametrize(
    ("format", "codec", "rate"),
    [("webm", "libopus", 48000), ("ogg", "libopus", 48000), ("matroska", "flac", 44100), ("mpegts", "mp2", 48000)],
)
def test_containers_of_browsers_and_radios(heard, format, codec, rate):
    found, _, samples = heard(muxed(format, codec, rate))
    assert len(samples) / found == pytest.approx(SECONDS, abs=0.1)
    assert level(samples, found, 1) == pytest.approx(0.08, rel=0.1)


@pytest.mark.parametrize(
    ("format", "codec", "rate"),
    [("adts", "aac", 48000), ("ac3", "ac3", 48000), ("w64", "pcm_s16le", 22050), ("caf", "pcm_s16be", 22050)],
)
def test_what_has_no_mark_at_its_beginning_or_a_rare_one_is_no_samples(heard, format, codec, rate):
    found, _, samples = heard(muxed(format, codec, rate))
    assert found == rate
    assert len(samples) / found == pytest.approx(SECONDS, abs=0.1)


@pytest.mark.parametrize(
    ("format", "codec", "rate"), [("mp3", "libmp3lame", 44100), ("adts", "aac", 48000), ("mpegts", "mp2", 48000)]
)
@pytest.mark.parametrize("n_missing", [1, 700, 5001])
def test_a_radio_is_joined_within_a_frame(heard, format, codec, rate, n_missing):
    found, _, samples = heard(muxed(format, codec, rate)[n_missing:])
    assert found == rate
    assert SECONDS - 1.5 < len(samples) / found < SECONDS + 0.1
    assert level(samples, rate, 1) == pytest.approx(0.08, rel=0.1)


@pytest.mark.parametrize("period", [1, 2, 7, 16, 188])
@pytest.mark.parametrize("value", [0, 1, 71, 583, 0x4747, -1, -15, -441])
def test_samples_that_repeat_themselves_stay_samples(period, value):
    wave = np.where(np.arange(2048) % period < (period + 1) // 2, value, -value).astype("<i2").tobytes()
    assert container_of(wave, "x") is None


@pytest.mark.parametrize("level", [1, 3, 15, 40, 300, 20000])
def test_noise_of_any_level_stays_samples(level):
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(0, level, 3000).clip(-32768, 32767).astype("<i2").tobytes()
        assert container_of(noise[:4096], "x") is container_of(noise[1:4097], "x") is None


def test_a_stream_of_which_the_header_did_not_tell_is_passed_over(heard):
    samples = heard(muxed("flv", "libmp3lame", 44100) + encoded("wav", 22050, channels=2))[2]
    assert len(samples) / 44100 == pytest.approx(SECONDS, abs=0.1)


def test_whatever_ends_a_stream_is_told_to_who_waits(heard, monkeypatch):
    def fail(self):
        raise ValueError("a fault of ours")

    monkeypatch.setattr(SoundStream, "blocks", fail)
    with pytest.raises(ValueError, match="a fault of ours"):
        heard(encoded("wav", 16000))


def test_sound_that_is_none_is_silence_and_told_to_its_end(heard, capsys):
    data = encoded("wav in float", 16000)
    middle = len(data) // 2
    rate, _, samples = heard(data[:middle] + data[middle + 1 :])  # from there on bytes are in no order
    assert len(samples) / rate == pytest.approx(SECONDS, abs=0.01)
    assert level(samples, rate, 2) == 0
    told = capsys.readouterr().err.splitlines()
    assert told[-1].startswith("standard input: 1.")
    assert told[-1].endswith(f" to {SECONDS}.00 s: what was decoded is no sound, taken for silence")


def test_channels_come_as_they_are(heard):
    rate, channels, samples = heard(encoded("wav", 44100, channels=2))
    assert (rate, channels, samples.shape[1]) == (44100, 2, 2)


def test_a_header_that_tells_no_length_is_right(heard):
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, 22050, 0, "NONE", ""))
        writer.writeframes((tone(22050)[:, 0] * 32767).astype("<i2").tobytes())
    data = bytearray(file.getvalue())
    for unknown in (0xFFFFFFFF, 0):
        data[40:44] = unknown.to_bytes(4, "little")
        rate, _, samples = heard(bytes(data))
        assert (rate, len(samples)) == (22050, SECONDS * 22050)


def test_a_gap_keeps_the_clock(heard, capsys):
    rate, _, samples = heard(muxed("webm", "libopus", 48000, hole=True))
    assert len(samples) / rate == pytest.approx(SECONDS, abs=0.1)
    assert level(samples, rate, 0) > 0.01
    assert level(samples[rate + rate // 10 : 2 * rate - rate // 10], rate, 0) < 1e-6
    assert level(samples, rate, 2) == pytest.approx(0.08, rel=0.15)
    assert "no sound was found for this time, taken for silence" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["over", "inserted", "missing"])
@pytest.mark.parametrize("n_bytes", [1, 60, 1500])
@pytest.mark.parametrize("live", ["0", "1"])
def test_damage_in_webm_costs_no_more_than_what_it_is_in(heard, damage, n_bytes, live):
    whole = muxed("webm", "libopus", 48000, options={"live": live, "cluster_time_limit": "500"})
    for seed in range(6):
        rng = np.random.default_rng(seed)
        place = int(rng.uniform(0.2, 0.5) * len(whole))
        junk = (rng.bytes, bytes)[seed % 2](n_bytes) if damage != "missing" else b""
        rate, _, samples = heard(whole[:place] + junk + whole[place + (0 if damage == "inserted" else n_bytes) :])
        assert len(samples) / rate == pytest.approx(SECONDS, abs=0.1)
        silent = np.abs(samples[: len(samples) // 480 * 480].reshape(-1, 480)).max(axis=1) < 1e-3
        assert silent.mean() < 0.45
        assert level(samples, rate, 2) == pytest.approx(0.08, rel=0.1)


@pytest.mark.parametrize("byte", [b"\x00", b"\xff"])
def test_what_follows_damage_in_a_cluster_is_heard(heard, byte):
    whole = muxed("webm", "libopus", 48000)  # one cluster
    place, n_bytes = len(whole) * 2 // 5, len(whole) // 10
    rate, _, samples = heard(whole[:place] + byte * n_bytes + whole[place + n_bytes :])
    assert len(samples) / rate == pytest.approx(SECONDS, abs=0.1)
    assert level(samples, rate, 2) == pytest.approx(0.08, rel=0.1)


def test_a_rest_that_is_damaged_is_told(heard, capsys):
    whole = muxed("webm", "libopus", 48000, options={"live": "1", "cluster_time_limit": "500"})
    place = whole.rindex(b"\x1f\x43\xb6\x75")
    heard(whole[:place] + np.random.default_rng(0).bytes(3000))
    assert capsys.readouterr().err == "standard input: 3000 bytes of it are damaged, and left out\n"


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_elements_that_are_whole_go_through_as_they_come(size):
    whole = muxed("webm", "libopus", 48000)
    file = io.BytesIO(whole)
    stream = RepairedStream(lambda n_bytes: file.read(min(size, n_bytes)), MATROSKA, without_size)
    passed = b"".join(iter(lambda: stream.read(1000), b""))
    assert stream.n_damaged == 0
    assert len(passed) == len(whole)
    changed = np.flatnonzero(np.frombuffer(passed, np.uint8) != np.frombuffer(whole, np.uint8))
    headers = [whole.index(name) + len(name) for name in (b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75")]
    assert {min(place - header for header in headers if header <= place) for place in changed} <= set(range(8))
    assert without_size(b"\x1f\x43\xb6\x75\x41\x00") == b"\x1f\x43\xb6\x75\x7f\xff"
    assert without_size(b"\xa3\x84") == b"\xa3\x84"


def test_samples_without_a_header_stay_samples(heard):
    data = (tone(16000)[:, 0] * 32767).astype("<i2").tobytes()
    assert heard(data)[0::2][0] == 16000
    rate, channels, samples = heard(data, rate=8000, channels=2)
    assert (rate, channels, samples.shape) == (8000, 2, (len(data) // 4, 2))
    looks = b"\xff\xfb\x90\x00" * 3000  # begins as a frame of mp3 does, and is none
    assert len(heard(looks)[2]) == len(looks) // 2


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"RIFF\0\0\0\0WAVE", "wav"),
        (b"RF64\xff\xff\xff\xffWAVE", "wav"),
        (b"ID3\x04" + bytes(8), "mp3"),
        (b"\x1a\x45\xdf\xa3" + bytes(8), "matroska"),
        (b"", None),
        (bytes(4096), None),
        (b"\xff" * 4096, None),
        (b"\x47" * 100, None),
    ],
)
def test_a_container_is_known_by_its_first_bytes(head, name):
    assert container_of(head, "x") == name


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (bytes(4) + b"ftypM4A " + bytes(90), "standard input: mp4 can't be read while it comes"),
        (b"RIFF" + bytes(4) + b"AVI " + bytes(90), "standard input: avi can't be read while it comes"),
        (b"OggS" + bytes(900), "standard input: damaged, or no sound"),
        (b"fLaC" + bytes(900), "standard input: damaged, or no sound"),
        (b"ID3\x04" + bytes(900), "standard input: damaged, or no sound"),
        (encoded("wav", 16000)[:44], "standard input: no sound in it"),
        (b"wvpk" + bytes(90), "standard input: wavpack can't be read while it comes"),
        (bytes(range(200)) + b"OggS" + bytes(500), "standard input: ogg without its beginning"),
        (b'{"error": "no such radio"}', "standard input: a text, not sound"),
    ],
)
def test_what_is_no_stream_is_refused_in_one_line(heard, data, message):
    with pytest.raises(AudioError, match=message) as refused:
        heard(data)
    assert "\n" not in str(refused.value)


def test_a_rate_that_is_not_the_streams_is_refused(heard):
    assert heard(encoded("wav", 44100), rate=44100, channels=1)[0] == 44100
    with pytest.raises(OptionError, match="rate: the stream has another: expected 44100, found 16000"):
        heard(encoded("wav", 44100), rate=16000)
    with pytest.raises(OptionError, match="channels: the stream has another: expected 1, found 2"):
        heard(encoded("wav", 44100), channels=2)


def test_files_and_named_pipes(heard, tmp_path):
    (tmp_path / "said.flac").write_bytes(encoded("flac", 32000))
    assert heard(str(tmp_path / "said.flac"))[0] == 32000
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(encoded("wav", 22050)))
    writer.start()
    assert heard(str(tmp_path / "pipe"))[0] == 22050
    writer.join(60)
    with pytest.raises(AudioError, match="can't be read"):
        heard(str(tmp_path))


@pytest.fixture
def address(tmp_path):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format, *args):
            return None

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_an_address(heard, address, tmp_path):
    (tmp_path / "radio.mp3").write_bytes(encoded("mp3", 44100))
    assert heard(f"http://{address}/radio.mp3")[0] == 44100
    with pytest.raises(AudioError, match="the stream can't be opened") as refused:
        heard(f"http://someone:secret@{address}/nothing?key=secret")
    assert "secret" not in str(refused.value)


@pytest.fixture
def radio():
    """Answers each request with the bytes that are put into it, and closes the connection."""
    answer: list[bytes] = []

    class Answer(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.recv(4096)
            self.request.sendall(answer[0])

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield answer, f"http://someone:secret@127.0.0.1:{server.server_address[1]}/radio?key=secret"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nConnection: close", b"HTTP/1.0 200 OK", b"ICY 200 OK"])
@pytest.mark.parametrize("name", ["mp3", "ogg"])
def test_a_radio_that_tells_no_length_ends_where_it_closes(heard, radio, head, name):
    answer, url = radio
    answer.append(head + b"\r\nContent-Type: audio/mpeg\r\n\r\n" + encoded(name, 44100))
    rate, _, samples = heard(url)
    assert len(samples) / rate == pytest.approx(SECONDS, abs=0.1)


def test_a_radio_that_ends_before_its_length_breaks_off_and_no_secret_is_told(heard, radio):
    answer, url = radio
    answer.append(b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n" + encoded("mp3", 44100))
    with pytest.raises(AudioError, match="the stream breaks off: found Input/output error") as broken:
        heard(url)
    assert "secret" not in str(broken.value)


@pytest.mark.parametrize("name", ["wav", "wav in float", "aiff"])
def test_a_second_recording_that_is_not_heard_is_told(heard, capsys, name):
    rate, _, samples = heard(2 * encoded(name, 16000))
    assert len(samples) == SECONDS * rate
    assert capsys.readouterr().err == "standard input: a second recording follows, and is not heard\n"
    heard(encoded(name, 16000) + bytes(9000))
    assert len(heard(2 * encoded("flac", 16000))[2]) == 2 * SECONDS * 16000
    assert capsys.readouterr().err == ""


def test_the_end_is_asked_for_while_nothing_comes(monkeypatch, stop):
    reading, writing = os.pipe()
    args = argparse.Namespace(source="-", rate=None, channels=None)
    threading.Timer(0.3, stop.set).start()
    with os.fdopen(reading, "rb") as file:
        monkeypatch.setattr("sys.stdin", file)
        with sound.open_source(args, stop) as opened:
            assert opened.pieces.get(timeout=60) is None
    os.close(writing)


def test_what_a_microphone_drops_is_silence():
    clock = sound._Clock(16000)
    times = [1.0, 1.1, 1.5, 1.6]
    missing = [clock.missing(types.SimpleNamespace(inputBufferAdcTime=time), 1600) for time in times]
    assert missing == [0, 0, pytest.approx(4800, abs=1), pytest.approx(0, abs=1)]
    nothing: Any = None
    assert sound._Clock(16000).missing(nothing, 1600) == 0
