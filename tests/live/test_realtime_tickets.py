"""Keys of one session, and OpenAI's own clients over TLS."""

import asyncio
import base64
import json
import os
import shutil
import ssl
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import openai
import pytest

pytest.importorskip("fastapi", reason="the extra server is not installed")
websockets_client = pytest.importorskip("websockets.sync.client", reason="the extra server is not installed")

from websockets.exceptions import InvalidStatus  # noqa: E402

from tests.support import patient, served  # noqa: E402
from whisper_max.server.realtime import socket as realtime  # noqa: E402
from whisper_max.server.realtime import tickets  # noqa: E402

NODE = Path(__file__).parents[2] / "build" / "node"
JAVASCRIPT = Path(__file__).with_name("realtime_client.mjs")
COMPLETED = "conversation.item.input_audio_transcription.completed"


@pytest.fixture(autouse=True)
def _ear(monkeypatch):
    monkeypatch.setattr(realtime, "new_detector", lambda: lambda chunk: float(np.abs(chunk).max() > 0.1))


@pytest.fixture
def guarded():
    with served.running(api_keys=("secret",)) as server:
        yield server


def session_of(server, key):
    address = f"ws://127.0.0.1:{server.port}/v1/realtime"
    protocols = ["realtime", f"openai-insecure-api-key.{key}"]
    with websockets_client.connect(address, subprotocols=protocols, **patient.SOCKET) as socket:
        return json.loads(socket.recv(timeout=60))["session"]


def test_a_ticket_opens_its_session_and_nothing_else(guarded):
    client = guarded.openai("secret")
    heard = {"transcription": {"model": "base", "language": "de"}, "format": {"type": "audio/pcmu"}}
    made = client.realtime.client_secrets.create(session={"type": "transcription", "audio": {"input": heard}})
    assert made.value.startswith("ek_")
    assert (made.session.type, made.session.audio.input.transcription.language) == ("transcription", "de")
    opened = session_of(guarded, made.value)["audio"]["input"]
    assert (opened["transcription"]["language"], opened["format"]["type"]) == ("de", "audio/pcmu")
    with pytest.raises(openai.AuthenticationError):
        guarded.openai(made.value).models.list()
    with pytest.raises(openai.AuthenticationError):
        guarded.openai(made.value).realtime.client_secrets.create()


def test_the_betas_shape(guarded):
    body = {"input_audio_format": "g711_alaw", "input_audio_transcription": {"model": "whisper-1", "language": "fr"}}
    with guarded.http(headers={"Authorization": "Bearer secret"}) as client:
        made = client.post("/v1/realtime/transcription_sessions", json=body).json()
    assert made["input_audio_format"] == "g711_alaw"
    assert session_of(guarded, made["client_secret"]["value"])["audio"]["input"]["transcription"]["language"] == "fr"


def test_tickets_end(guarded, monkeypatch):
    key = guarded.openai("secret").realtime.client_secrets.create(expires_after={"anchor": "created_at", "seconds": 10})
    later = time.time() + 11
    monkeypatch.setattr(tickets, "time", SimpleNamespace(time=lambda: later))
    with pytest.raises(InvalidStatus):
        session_of(guarded, key.value)
    with pytest.raises(InvalidStatus):
        session_of(guarded, "ek_")


def test_tickets_are_not_without_number(guarded, monkeypatch):
    monkeypatch.setattr(tickets, "_MOST_TICKETS", 2)
    with guarded.http(headers={"Authorization": "Bearer secret"}) as client:
        answers = [client.post("/v1/realtime/client_secrets") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b"[" * 20000, 400),
        (b'{"session": 1}', 400),
        (b'{"session": {"type": "realtime"}}', 400),
        (b'{"session": {"audio": {"input": {"transcription": {"language": "klingon"}}}}}', 400),
        (b'{"session": {"audio": {"input": {"transcription": {"model": "large-v9"}}}}}', 404),
        (b'{"expires_after": {"seconds": %s}}' % (b"9" * 400), 400),
        (b'{"expires_after": {"seconds": true}}', 400),
        (b'{"expires_after": 5}', 400),
        (b'{"x": "' + b"y" * 70_000 + b'"}', 413),
    ],
)
def test_what_no_ticket_is_made_of(guarded, body, status):
    with guarded.http(headers={"Authorization": "Bearer secret"}) as client:
        answer = client.post("/v1/realtime/client_secrets", content=body)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


@pytest.fixture
def certificate(tmp_path):
    trustme = pytest.importorskip("trustme", reason="trustme is not installed")
    authority = trustme.CA()
    own = authority.issue_cert("localhost", "127.0.0.1")
    own.private_key_pem.write_to_path(tmp_path / "key.pem")
    with open(tmp_path / "cert.pem", "wb") as file:
        file.writelines(blob.bytes() for blob in own.cert_chain_pems)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path


def spoken() -> str:
    """Two seconds of sound and one and a half of silence, as a client sends them."""
    samples = np.concatenate([np.random.default_rng(11).uniform(-0.5, 0.5, 48000), np.zeros(36000)])
    return base64.b64encode((samples * 32767).astype("<i2").tobytes()).decode()


@pytest.mark.filterwarnings("ignore:connect\\(\\) must be used:DeprecationWarning")  # the client's own use
def test_openais_python_client_over_tls(certificate):
    files = {"tls_cert": str(certificate / "cert.pem"), "tls_key": str(certificate / "key.pem")}
    trusted = ssl.create_default_context(cafile=certificate / "ca.pem")

    async def talk(port):
        http = openai.DefaultAsyncHttpxClient(verify=trusted)
        client = openai.AsyncOpenAI(base_url=f"https://localhost:{port}/v1", api_key="none", http_client=http)
        async with client:
            return await use(client)

    async def use(client):
        assert [model.id async for model in client.models.list()] == ["base"]
        options = {"ssl": trusted, **patient.SOCKET}
        async with client.realtime.connect(model="whisper-1", websocket_connection_options=options) as connection:
            heard = {"transcription": {"language": "en"}, "noise_reduction": {"type": "near_field"}}
            await connection.session.update(session={"type": "transcription", "audio": {"input": heard}})
            await connection.input_audio_buffer.append(audio=spoken())
            kinds = []
            async for event in connection:
                kinds.append(event.type)
                if event.type == COMPLETED:
                    return kinds

    with served.running(**files) as server:
        kinds = asyncio.run(talk(server.port))
    assert kinds[:3] == ["session.created", "session.updated", "whisper_max.warning"]


def test_openais_javascript_client_over_tls(certificate):
    if shutil.which("node") is None or not (NODE / "node_modules" / "openai").is_dir():
        pytest.skip("no node, or no client: npm install --prefix build/node openai ws")
    files = {"tls_cert": str(certificate / "cert.pem"), "tls_key": str(certificate / "key.pem")}
    (certificate / "audio.txt").write_text(spoken())
    environment = {**os.environ, "NODE_EXTRA_CA_CERTS": str(certificate / "ca.pem")}
    with served.running(**files) as server:
        where = [str(NODE), f"https://localhost:{server.port}/v1", str(certificate / "audio.txt")]
        command = ["node", str(JAVASCRIPT), *where]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert told["models"] == ["base"]
    assert told["kinds"][:3] == ["session.created", "session.updated", "whisper_max.warning"]
    assert told["transcript"]
