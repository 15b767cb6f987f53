"""Ask two replicas of the server through the proxy of Ray Serve what ``serve`` promises, with tiny.en.

`python scripts/checks/serve_replicas.py` starts Ray on this machine and prints a line for each promise: what was asked,
and what came. The exit status is 1 where a promise was not kept.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import soundfile
import soxr
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from whisper_max.ray.cluster import imported
from whisper_max.ray.serve import app

SAMPLE = Path(__file__).resolve().parents[2] / "samples" / "jfk.flac"
SAID = "what your country can do for you"
PORT = 8765
KEY = {"Authorization": "Bearer secret"}
RATE, PIECE = 24000, 2400  # of the live socket; samples of a message
SETTINGS = {
    **{"model": "tiny.en", "offline": True, "threads": 1, "api_keys": "secret"},
    **{"min_replicas": 2, "max_replicas": 2, "max_requests": 4, "max_upload": 1},
}


def post(content: bytes, **fields: str) -> httpx.Response:
    data = {"model": "tiny.en", **fields}
    url = f"http://127.0.0.1:{PORT}/v1/audio/transcriptions"
    return httpx.post(url, data=data, files={"file": ("a.flac", content)}, headers=KEY, timeout=120)


def upload() -> tuple[bool, str]:
    answer = post(SAMPLE.read_bytes())
    n_ids = len(answer.headers.get_list("x-request-id"))
    return answer.status_code == 200 and SAID in answer.text and n_ids == 1, f"{answer.status_code} {answer.text}"


def stream() -> tuple[bool, str]:
    lines = post(SAMPLE.read_bytes(), stream="true").text.split("\n\n")
    kinds = Counter(json.loads(line.removeprefix("data: "))["type"] for line in lines if line)
    return kinds["transcript.text.delta"] > 0 and kinds["transcript.text.done"] == 1, str(dict(kinds))


def no_key() -> tuple[bool, str]:
    answer = httpx.post(f"http://127.0.0.1:{PORT}/v1/audio/transcriptions", files={"file": ("a.flac", b"")})
    try:
        live("wrong")
    except InvalidStatus as error:
        status = error.response.status_code
    else:
        status = 101
    return (answer.status_code, status) == (401, 403), f"{answer.status_code}, a socket {status}"


def too_large() -> tuple[bool, str]:
    answer = post(bytes(3 << 20))
    return answer.status_code == 413, f"{answer.status_code} {answer.text}"


def many_at_once() -> tuple[bool, str]:
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(post, [SAMPLE.read_bytes()] * 24))
    found = Counter(answer.status_code for answer in answers)
    told = all("retry-after" in answer.headers for answer in answers if answer.status_code == 429)
    return set(found) == {200, 429} and told, str(dict(found))


def of_one_server() -> tuple[bool, str]:
    paths = ("/metrics", "/v1/realtime/client_secrets")
    found = [httpx.get(f"http://127.0.0.1:{PORT}{path}", headers=KEY).status_code for path in paths]
    return found == [501, 501], str(found)


def live(key: str = "secret") -> str:
    """What a live socket says of the sample."""
    samples, rate = soundfile.read(SAMPLE, dtype="float32")
    quiet = np.zeros(RATE, np.float32)
    pcm = (np.concatenate([quiet, soxr.resample(samples, rate, RATE), quiet, quiet]).clip(-1, 1) * 32767).astype("<i2")
    address = f"ws://127.0.0.1:{PORT}/v1/realtime?intent=transcription&model=tiny.en"
    with connect(address, additional_headers={"Authorization": f"Bearer {key}"}) as socket:
        for start in range(0, len(pcm), PIECE):
            audio = base64.b64encode(pcm[start : start + PIECE].tobytes()).decode()
            socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
        socket.send(json.dumps({"type": "input_audio_buffer.commit", "event_id": "last"}))
        messages = [json.loads(socket.recv(timeout=120))]
        while messages[-1]["type"] != "error":  # nothing is left to commit
            messages.append(json.loads(socket.recv(timeout=120)))
    return " ".join(each["transcript"] for each in messages if each["type"].endswith("completed"))


def sockets() -> tuple[bool, str]:
    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(lambda _: live(), range(4)))
    return all(SAID in each.lower() for each in said), " | ".join(said)


def main() -> int:
    ray = imported()
    from ray import serve

    ray.init("local", num_cpus=4, include_dashboard=False, object_store_memory=200 << 20, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": PORT})
    serve.run(app(SETTINGS))
    n_ready, end = 0, time.monotonic() + 300
    while n_ready < 8 and time.monotonic() < end:  # in a row, of replicas that take turns at random
        n_ready = n_ready + 1 if httpx.get(f"http://127.0.0.1:{PORT}/ready").status_code == 200 else 0
        time.sleep(0.2)
    checks: tuple[Callable[[], tuple[bool, str]], ...] = (
        *(upload, stream, no_key, too_large, many_at_once, of_one_server, sockets),
    )
    n_wrong = 0
    for check in checks:
        kept, found = check()
        n_wrong += not kept
        print(f"{'kept' if kept else 'NOT KEPT'}: {check.__name__.replace('_', ' ')}: {found}", flush=True)
    serve.shutdown()
    ray.shutdown()
    return 1 if n_wrong else 0


if __name__ == "__main__":
    sys.exit(main())
