"""Keys, hosts, origins, the page and its policy."""

import socket

import openai
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from whisper_max.server.http.page import POLICY, add_page
from whisper_max.server.realtime.tickets import Tickets
from whisper_max.server.security import add_security
from whisper_max.server.settings import Settings


def test_keys(serving, make_wav):
    with serving(api_keys=("first", "second")) as server:
        with server.http() as client:
            assert [client.get(path).status_code for path in ("/health", "/ready")] == [200, 200]
            for path in ("/v1/models", "/metrics", "/openapi.json"):
                assert client.get(path).status_code == 401
                for key in ("first", "second"):
                    assert client.get(path, headers={"Authorization": f"Bearer {key}"}).status_code == 200
            for wrong in ("Bearer third", "Bearer", "Basic first", "first", "Bearer firstt", "Bearer \xff"):
                answer = client.get("/v1/models", headers={"Authorization": wrong.encode("latin-1")})
                assert answer.status_code == 401
                assert answer.headers["www-authenticate"] == "Bearer"
                assert answer.json()["error"]["code"] == "invalid_api_key"
        with pytest.raises(openai.AuthenticationError):
            server.openai("third").audio.transcriptions.create(model="base", file=("a.wav", make_wav(3)))
        assert server.openai("first").models.retrieve("base").id == "base"


@pytest.mark.parametrize("path", ["//v1/models", "/v1//models", "/V1/models", "/./v1/models", "/x/../v1/models"])
def test_no_way_around_the_key(serving, path):
    with serving(api_keys=("k",)) as server, socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
        assert answer.split(b" ")[1] in (b"401", b"404", b"421")
        assert b"whisper_max" not in answer.partition(b"\r\n\r\n")[2]


def test_hosts_and_origins(server):
    with server.http() as client:

        def status(**headers):
            return client.get("/health", headers=headers).status_code

        assert status(Host="evil.example") == 421
        assert status(Host="localhost:1") == 200
        assert status(Host="LOCALHOST") == 200
        assert status(Host="[::1]:8000") == 200
        assert status(Origin="https://evil.example") == 403
        assert status(Origin="null") == 403
        assert status(Origin=server.url) == 200
        assert status(Origin=server.url + "0") == 403
        assert client.options("/v1/models", headers={"Origin": "https://evil.example"}).status_code == 403


def test_cors_is_off_unless_asked_for(serving):
    preflight = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    with serving(cors_origins=("https://app.example",)) as server, server.http() as client:
        allowed = client.options("/v1/audio/transcriptions", headers=preflight)
        assert allowed.headers["access-control-allow-origin"] == "https://app.example"
        assert client.get("/health", headers={"Origin": "https://app.example"}).status_code == 200
        assert client.get("/health", headers={"Origin": "https://other.example"}).status_code == 403
    with serving() as server, server.http() as client:
        assert "access-control-allow-origin" not in client.options("/v1/models", headers=preflight).headers


def test_forwarded_headers_count_for_trusted_proxies_only(serving):
    def client_seen(server):
        seen = []

        async def peek(scope, receive, send):
            seen.append(scope["client"][0])
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        server.app.mount("/peek", peek)
        with server.http() as client:
            client.get("/peek/", headers={"X-Forwarded-For": "9.9.9.9"})
        return seen

    with serving() as server:
        assert client_seen(server) == ["127.0.0.1"]
    with serving(trusted_proxies=("127.0.0.1",)) as server:
        assert client_seen(server) == ["9.9.9.9"]


def test_sockets():
    app = FastAPI()

    @app.websocket("/v1/realtime")
    async def echo(socket: WebSocket):
        await socket.accept(subprotocol="realtime")
        await socket.close()

    add_security(app, Settings(api_keys=("k",), allowed_hosts=("testserver",)), Tickets())
    client = TestClient(app)
    good = ["realtime", "openai-insecure-api-key.k", "openai-beta.realtime-v1"]
    with client.websocket_connect("/v1/realtime", subprotocols=good) as socket:
        assert socket.accepted_subprotocol == "realtime"
    with client.websocket_connect("/v1/realtime", headers={"Authorization": "Bearer k"}):
        pass
    for subprotocols, headers in (
        (["realtime"], {}),
        (["realtime", "openai-insecure-api-key.x"], {}),
        (good, {"Origin": "https://evil.example"}),
        (good, {"Host": "evil.example"}),
    ):
        with pytest.raises(WebSocketDisconnect) as refused:
            client.websocket_connect("/v1/realtime", subprotocols=subprotocols, headers=headers).__enter__()
        assert refused.value.code == 1008


def test_the_description_as_a_page_needs_nothing_else(serving):
    with serving(api_keys=("k",)) as server, server.http() as client:
        assert client.get("/docs").status_code == 401
        page = client.get("/docs", headers={"Authorization": "Bearer k"})
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for name in ("POST /v1/audio/transcriptions", "temperature_inc", "minimum 0", "Too many requests"):
        assert name in page.text
    assert "<script" not in page.text
    assert "http" not in page.text.replace("httpx", "")


def test_the_page(tmp_path):
    (tmp_path / "static").mkdir()
    (tmp_path / "index.html").write_text("<p>page")
    (tmp_path / "static" / "app.js").write_text("1")
    (tmp_path / "secret.txt").write_text("no")
    app = FastAPI()
    add_page(app, tmp_path)
    client = TestClient(app)
    page, script = client.get("/"), client.get("/assets/app.js")
    assert (page.text, script.text) == ("<p>page", "1")
    for answer in (page, script):
        assert answer.headers["content-security-policy"] == POLICY
    for path in ("/assets/", "/assets/../secret.txt", "/assets/%2e%2e/secret.txt", "/secret.txt"):
        assert client.get(path).status_code == 404
    assert "'unsafe-inline'" not in POLICY
    assert "http" not in POLICY


def test_no_page_no_address(tmp_path):
    app = FastAPI()
    add_page(app, tmp_path)
    assert TestClient(app).get("/").status_code == 404
