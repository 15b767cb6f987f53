"""Wyoming through its own package, as Home Assistant speaks it; and what no package would send."""

import asyncio
import json
import socket
import warnings

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of audioop, which the package imports
    asr = pytest.importorskip("wyoming.asr", reason="the package wyoming is not installed")
    from wyoming.audio import AudioChunk, AudioStart, AudioStop
    from wyoming.client import AsyncTcpClient
    from wyoming.error import Error
    from wyoming.info import Describe, Info
    from wyoming.ping import Ping, Pong

from tests.support import served
from whisper_max.server.doors import wyoming


@pytest.fixture(scope="module")
def server():
    with served.running(wyoming="tcp://127.0.0.1:0", models=("tiny.en",)) as it:
        yield it


def port(server):
    return server.app.state.wyoming.port


def noise(seconds, rate=16000, key=0):
    return (np.random.default_rng(key).normal(0, 0.1, round(seconds * rate)) * 32767).clip(-32768, 32767).astype("<i2")


def asked(server, *events):
    """The events that answer those that are sent."""

    async def talk():
        async with AsyncTcpClient("127.0.0.1", port(server)) as client:
            for event in events:
                await client.write_event(event.event())
            return await asyncio.wait_for(client.read_event(), 60)

    return asyncio.run(talk())


def spoken(samples, rate=16000, channels=1):
    about = {"rate": rate, "width": 2, "channels": channels}
    data = samples.tobytes()
    chunks = [AudioChunk(audio=data[i : i + 2048], **about) for i in range(0, len(data), 2048)]
    return [AudioStart(**about), *chunks, AudioStop()]


def test_it_says_what_it_is(server):
    info = Info.from_event(asked(server, Describe()))
    [program] = info.asr
    assert [(model.name, len(model.languages)) for model in program.models] == [("base", 100), ("tiny.en", 1)]
    assert Pong.is_type(asked(server, Ping()).type)


@pytest.mark.parametrize("language", [None, "de", "de-CH"])
def test_an_utterance(server, language):
    samples = noise(5)
    transcript = asr.Transcript.from_event(asked(server, asr.Transcribe(language=language), *spoken(samples)))
    wanted = server.loader.load("base").transcribe(samples.astype(np.int16), language=language)
    assert (transcript.text, transcript.language) == (wanted.text.strip(), wanted.language)


def test_other_rates_channels_and_models(server):
    samples = np.repeat(noise(4, 48000), 2)
    events = [asr.Transcribe(name="tiny.en", language="en"), *spoken(samples, 48000, 2)]
    assert asr.Transcript.is_type(asked(server, *events).type)


def test_one_connection_after_the_other(server):
    async def talk():
        async with AsyncTcpClient("127.0.0.1", port(server)) as client:
            found = []
            for _ in range(2):
                for event in spoken(noise(3)):
                    await client.write_event(event.event())
                found.append((await client.read_event()).data["text"])
            return found

    first, second = asyncio.run(talk())
    assert first == second


@pytest.mark.parametrize(
    ("events", "code"),
    [
        ([asr.Transcribe(language="klingon"), *spoken(noise(1))], "invalid_option"),
        ([asr.Transcribe(name="large-v9"), *spoken(noise(1))], "model_not_found"),
        ([AudioStart(rate=16000, width=4, channels=1)], "invalid_audio"),
        ([AudioStart(rate=1, width=2, channels=1)], "invalid_option"),
        ([AudioStart(rate=16000, width=2, channels=10**30)], "invalid_option"),
        (spoken(noise(1)[:-1], channels=2), "invalid_audio"),
    ],
)
def test_what_can_not_be_is_an_error_and_the_server_goes_on(server, events, code):
    answer = asked(server, *events)
    assert (Error.is_type(answer.type), answer.data["code"]) == (True, code)
    assert asr.Transcript.is_type(asked(server, *spoken(noise(1))).type)


def test_an_utterance_that_is_refused_gets_one_error(server):
    wide = {"rate": 16000, "width": 4, "channels": 1}

    async def talk():
        async with AsyncTcpClient("127.0.0.1", port(server)) as client:
            refused = (AudioStart(**wide), AudioChunk(**wide, audio=noise(1).tobytes()), AudioStop())
            for event in (*refused, *spoken(noise(1))):
                await client.write_event(event.event())
            return [(await client.read_event()).type for _ in range(2)]

    assert asyncio.run(talk()) == ["error", "transcript"]


def raw(server, data):
    """All that comes for these bytes until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port(server)), timeout=60) as connection:
        connection.sendall(data)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"{}\n",
        b"[]\n",
        b"[" * 60_000 + b"\n",
        b"x" * 70_000 + b"\n",
        b'{"type": 1}\n',
        b'{"type": "describe", "data": 1}\n',
        b'{"type": "describe", "data_length": 2}\n[]',
        b'{"type": "describe", "data_length": -1}\n',
        b'{"type": "describe", "data_length": true}\n',
        b'{"type": "audio-chunk", "payload_length": 1000000000000}\n',
        b'{"type": "audio-chunk", "payload_length": %s}\n' % (b"9" * 400),
        b'{"type": "audio-chunk", "payload_length": "1"}\n',
        b"{}\n" + b"x" * (4 << 20),  # which is still on its way when the first line is answered
    ],
)
def test_what_is_no_event_ends_the_connection(server, data):
    head, _, body = raw(server, data).partition(b"\n")
    assert json.loads(head)["type"] == "error"
    assert json.loads(body)["code"] == "malformed_event"


def test_limits(monkeypatch):
    monkeypatch.setattr(wyoming, "_MOST_BYTES", 10_000)
    with served.running(wyoming="tcp://127.0.0.1:0") as server:
        assert asked(server, *spoken(noise(1))).data["code"] == "too_large"
    with served.running(wyoming="tcp://127.0.0.1:0", idle_timeout=0.5) as server:
        assert raw(server, b"") == b""  # nothing came in time
        assert raw(server, b'{"type": "describe"') == b""
        monkeypatch.setattr(wyoming, "_MOST_CONNECTIONS", 0)
        assert b"too many connections" in raw(server, b"")
