"""What the server tells: times, levels, the id of the request; one line an event, whatever clients send."""

import json
import logging
import re
import threading

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from tests.support.raw_http import error_of
from whisper_max.server.logs import JsonLines, RequestLog, TextLines, set_up_logging

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture
def lines():
    """What is logged, in each format."""
    kept = {"text": [], "json": []}

    class Keep(logging.Handler):
        def emit(self, record):
            kept["text"].append(TextLines().format(record))
            kept["json"].append(json.loads(JsonLines().format(record)))

    handler = Keep()
    logging.getLogger("whisper_max").addHandler(handler)
    logging.getLogger("whisper_max").setLevel(logging.DEBUG)
    yield kept
    logging.getLogger("whisper_max").removeHandler(handler)
    logging.getLogger("whisper_max").setLevel(logging.NOTSET)


def test_requests_have_ids_in_and_out(server, lines):
    with server.http() as client:
        own = client.get("/v1/models", headers={"X-Request-Id": "abc-1"})
        new = client.get("/v1/models")
    assert own.headers["x-request-id"] == "abc-1"
    assert re.fullmatch("[0-9a-f]{32}", new.headers["x-request-id"])
    server.wait(lambda: any("abc-1" in line for line in lines["text"]))
    [told] = [line for line in lines["text"] if "abc-1" in line]
    assert re.fullmatch(rf"{STAMP} INFO GET /v1/models 200 \d+\.\d\d\d s \[abc-1\]", told)
    [said] = [line for line in lines["json"] if line["request_id"] == "abc-1"]
    assert (said["level"], said["request_id"], said["logger"]) == ("info", "abc-1", "whisper_max.server.logs")
    assert (said["method"], said["path"], said["status"]) == ("GET", "/v1/models", 200)
    assert re.fullmatch(STAMP, said["time"])


@pytest.mark.parametrize("sent", ["", "a b", "x" * 200, "a\tb", "\x1b[31m", "é"])
def test_an_id_that_could_not_stand_in_a_line_is_replaced(server, sent):
    with server.http() as client:
        answer = client.get("/health", headers={"X-Request-Id": sent.encode("latin-1")})
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


def test_refusals_have_ids(serving):
    with serving(api_keys=("k",)) as server, server.http(headers={"X-Request-Id": "mine"}) as client:
        for answer in (client.get("/v1/models"), client.get("/nothing"), client.get("/health", headers={"Host": "x"})):
            assert answer.status_code in (401, 404, 421)
            assert answer.headers["x-request-id"] == "mine"


def test_what_happens_on_other_threads_is_told_with_the_request(serving, lines, monkeypatch):
    """A worker tells that its process ended."""
    monkeypatch.setattr("whisper_max.server.decoding.parent.PROGRAM", "raise SystemExit")
    with serving() as server, server.http(headers={"X-Request-Id": "mine"}) as client:
        form = {"data": {"model": "base"}, "files": {"file": ("a.wav", b"RIFF" + bytes(100))}}
        assert client.post("/v1/audio/transcriptions", **form).status_code == 500
    [told] = [line for line in lines["json"] if line["logger"].endswith("decoding.parent")]
    assert told["request_id"] == "mine"


def test_lines_that_clients_write_stay_one(server, lines):
    with server.http(headers={"X-Request-Id": "mine"}) as client:
        client.get("/a%0d%0a2026-01-01T00:00:00.000Z%20INFO%20forged")
        client.get("/health")

    def mine():
        return [line["level"] for line in lines["json"] if line.get("request_id") == "mine"]

    server.wait(lambda: len(mine()) >= 2)
    assert all("\n" not in line for line in lines["text"])
    assert mine() == ["info", "debug"]


def test_control_characters_are_escaped():
    record = logging.LogRecord("a", logging.WARNING, "", 0, "x\ny\x1b[0m\u2028\ud800", None, None)
    assert TextLines().format(record).endswith(" WARNING x\\ny\\x1b[0m\\u2028\\ud800")
    assert json.loads(JsonLines().format(record))["message"] == "x\ny\x1b[0m\u2028\ud800"


def test_a_fault_is_answered_and_told_with_its_stack(lines, caplog):
    app = FastAPI()

    @app.get("/v1/fault")
    async def fault():
        raise RuntimeError("a secret")

    app.add_middleware(RequestLog)
    answer = TestClient(app).get("/v1/fault", headers={"X-Request-Id": "mine"})
    assert error_of(answer) == (500, "internal_error")
    assert answer.headers["x-request-id"] == "mine"
    [told] = [line for line in lines["json"] if "error" in line]
    assert told["request_id"] == "mine"
    assert "RuntimeError: a secret" in told["error"]


@pytest.mark.parametrize("format", ["text", "json"])
def test_the_level_and_the_format_of_a_server(format, capsys):
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        root.handlers[:] = []
        set_up_logging("warning", format)
        thread = threading.Thread(target=lambda: [logging.info("no"), logging.warning("yes")])
        thread.start()
        thread.join()
    finally:
        root.handlers[:] = before[0]
        root.setLevel(before[1])
    [line] = capsys.readouterr().err.splitlines()
    if format == "json":
        assert json.loads(line)["message"] == "yes"
    else:
        assert re.fullmatch(f"{STAMP} WARNING yes", line)
