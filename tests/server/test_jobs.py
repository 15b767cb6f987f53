"""The desk: jobs that outlive their requests, restarts and kills; results by id and by signed webhook; its bounds."""

import base64
import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import openai
import pytest

from tests.support import patient
from tests.support.served import FakeLoader, running, wav
from whisper_max.errors import OptionError
from whisper_max.server.desk import desk as desk_module
from whisper_max.server.desk import store as store_module
from whisper_max.server.desk.store import JobStore
from whisper_max.server.desk.webhooks import Webhooks, origin_of
from whisper_max.server.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()


def leave(url, seconds=3, key=None, **fields):
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    files = {"file": ("talk.wav", wav(seconds))}
    return patient.post(f"{url}/v1/jobs", data={"model": "base", **fields}, files=files, headers=headers)


def job_of(url, id, **options):
    return patient.get(f"{url}/v1/jobs/{id}", **options).json()


def until_ended(url, id, seconds=patient.SECONDS):
    end = time.monotonic() + seconds
    while (job := job_of(url, id))["status"] not in ("done", "failed"):
        assert time.monotonic() < end, job
        time.sleep(0.05)
    return job


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    with running(jobs=str(tmp_path_factory.mktemp("jobs"))) as server:
        yield server


@pytest.mark.parametrize("format", ["json", "text", "srt", "verbose_json"])
def test_the_result_is_that_of_a_request(desk, format):
    response = leave(desk.url, response_format=format, language="en")
    assert response.status_code == 202
    job = response.json()
    assert response.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["object"], job["file_name"], job["bytes"]) == ("transcription.job", "talk.wav", len(wav(3)))
    ended = until_ended(desk.url, job["id"])
    assert (ended["status"], ended["error"], ended["webhook"]) == ("done", None, "none")
    assert ended["created_at"] <= ended["started_at"] <= ended["ended_at"]
    assert ended["expires_at"] == ended["ended_at"] + 168 * 3600
    result = patient.get(f"{desk.url}/v1/jobs/{job['id']}/result")
    direct = desk.post(response_format=format, language="en")
    assert (result.status_code, result.content) == (200, direct.content)
    assert result.headers["content-type"] == direct.headers["content-type"]


def test_openai_s_endpoints_are_as_they_were_without_a_desk(desk):
    with running() as plain:
        assert patient.get(f"{plain.url}/v1/jobs").status_code == 404
        assert leave(plain.url).status_code == 404
        paths = patient.get(f"{plain.url}/openapi.json").json()["paths"]
    assert not [path for path in paths if "jobs" in path]
    with_desk = patient.get(f"{desk.url}/openapi.json").json()["paths"]
    assert {path: with_desk[path] for path in paths} == paths


def test_the_answer_does_not_wait_and_segments_come_as_they_are_found(serving, tmp_path):
    loader = FakeLoader()
    with serving(loader, jobs=str(tmp_path)) as server:
        loader.inference.go_on.clear()
        id = leave(server.url, 70, word_timestamps="true").json()["id"]
        server.wait(lambda: job_of(server.url, id)["status"] == "running")
        early = patient.get(f"{server.url}/v1/jobs/{id}/result")
        assert (early.status_code, early.json()["error"]["code"]) == (409, "job_not_ended")
        assert early.headers["retry-after"] == "2"
        assert patient.get(f"{server.url}/v1/jobs/{id}/segments").json() == {"object": "list", "data": []}
        loader.inference.go_on.set()
        assert until_ended(server.url, id)["status"] == "done"
        all = patient.get(f"{server.url}/v1/jobs/{id}/segments").json()
        assert all["duration"] == 70
        assert "".join(word["word"] for word in all["data"][0]["words"]) == all["data"][0]["text"]
        rest = patient.get(f"{server.url}/v1/jobs/{id}/segments?start=1").json()["data"]
        assert rest == all["data"][1:]


def test_a_full_disk_ends_nothing_and_loses_nothing(serving, tmp_path, monkeypatch):
    monkeypatch.setattr(desk_module, "_AGAIN", 0.05)
    loader = FakeLoader()
    with serving(loader, jobs=str(tmp_path)) as server:
        loader.inference.go_on.clear()
        first = leave(server.url).json()["id"]
        server.wait(lambda: job_of(server.url, first)["status"] == "running")
        with full_disk(monkeypatch) as refused:
            loader.inference.go_on.set()
            response = leave(server.url)
            assert (response.status_code, response.json()["error"]["code"]) == (507, "disk_full")
            before = len(refused)
            server.wait(lambda: len(refused) > before + 3)
            assert job_of(server.url, first)["status"] == "running"
        assert until_ended(server.url, first)["status"] == "done"
        assert until_ended(server.url, leave(server.url).json()["id"])["status"] == "done"
        assert len(patient.get(f"{server.url}/v1/jobs").json()["data"]) == 2


@contextmanager
def full_disk(monkeypatch):
    """Every change of the list of jobs fails as SQLite fails on a full disk; gives those that did."""
    write, refused = JobStore._write, []
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL

    @contextmanager
    def refuse(store):
        with write(store):
            refused.append(store)
            raise error
        yield

    with monkeypatch.context() as patch:
        patch.setattr(JobStore, "_write", refuse)
        yield refused


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"language": "klingon"}, "language"),
        ({"beam_size": "99"}, "beam_size"),
        ({"stream": "true"}, "stream"),
        (
            {"known_speaker_names[]": "Ann", "known_speaker_references[]": "data:audio/wav;base64,AAAA"},
            "known_speaker_references",
        ),
        ({"model": "gone"}, "model"),
        ({"webhook": "http://127.0.0.1:1/"}, "webhook"),
    ],
)
def test_what_is_wrong_is_said_at_once(desk, fields, param):
    before = len(patient.get(f"{desk.url}/v1/jobs?limit=100").json()["data"])
    response = leave(desk.url, **fields)
    assert response.status_code in (400, 404)
    assert response.json()["error"]["param"] == param
    assert len(patient.get(f"{desk.url}/v1/jobs?limit=100").json()["data"]) == before


def test_a_file_that_is_no_recording_fails_with_its_error(desk):
    files = {"file": ("notes.mp3", b"not a recording at all" * 50)}
    id = patient.post(f"{desk.url}/v1/jobs", data={"model": "base"}, files=files).json()["id"]
    job = until_ended(desk.url, id)
    direct = patient.post(f"{desk.url}/v1/audio/transcriptions", data={"model": "base"}, files=files)
    assert job["status"] == "failed"
    assert {"error": job["error"]} == direct.json()
    for address in ("result", "segments"):
        failed = patient.get(f"{desk.url}/v1/jobs/{id}/{address}")
        assert (failed.status_code, failed.json()) == (direct.status_code, direct.json())


def test_lists_come_in_pages_and_jobs_are_forgotten(serving, tmp_path):
    with serving(jobs=str(tmp_path)) as server:
        ids = [leave(server.url, 1).json()["id"] for _ in range(5)]
        for id in ids:
            until_ended(server.url, id)
        seen, after = [], None
        while True:
            page = patient.get(
                f"{server.url}/v1/jobs", params={"limit": 2, **({"after": after} if after else {})}
            ).json()
            seen += [job["id"] for job in page["data"]]
            if not page["has_more"]:
                break
            after = seen[-1]
        assert seen == ids[::-1]
        assert patient.delete(f"{server.url}/v1/jobs/{ids[2]}").json()["deleted"] is True
        for method, path in (("GET", ""), ("GET", "/result"), ("GET", "/segments"), ("DELETE", "")):
            assert patient.request(method, f"{server.url}/v1/jobs/{ids[2]}{path}").status_code == 404
        assert list((tmp_path / "audio").iterdir()) == []


def test_a_job_that_is_deleted_frees_the_engine(serving, tmp_path):
    loader = FakeLoader()
    with serving(loader, jobs=str(tmp_path), jobs_at_once=1) as server:
        loader.inference.go_on.clear()
        first, second = (leave(server.url, 40).json()["id"] for _ in range(2))
        server.wait(lambda: job_of(server.url, first)["status"] == "running")
        assert job_of(server.url, second)["status"] == "queued"
        assert patient.delete(f"{server.url}/v1/jobs/{first}").status_code == 200
        loader.inference.go_on.set()
        assert until_ended(server.url, second)["status"] == "done"


def test_keys_see_their_own_jobs_only(serving, tmp_path):
    with serving(jobs=str(tmp_path), api_keys=("one", "two")) as server:
        assert leave(server.url).status_code == 401
        id = leave(server.url, key="one").json()["id"]
        for key, status, count in (("one", 200, 1), ("two", 404, 0)):
            headers = {"Authorization": f"Bearer {key}"}
            assert patient.get(f"{server.url}/v1/jobs/{id}", headers=headers).status_code == status
            assert len(patient.get(f"{server.url}/v1/jobs", headers=headers).json()["data"]) == count
        assert patient.delete(f"{server.url}/v1/jobs/{id}", headers={"Authorization": "Bearer two"}).status_code == 404


# ---------------------------------------------------------------- restarts


@contextmanager
def process(folder, *how):
    command = [sys.executable, "-m", "tests.support.desk_server", str(folder), *map(str, how or [0.0])]
    child = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert child.stdout is not None
        yield child, f"http://127.0.0.1:{int(child.stdout.readline())}"
    finally:
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()


@pytest.mark.slow
def test_jobs_live_through_kill_9_and_a_restart(tmp_path):
    with process(tmp_path, 0.0, 8) as (child, url):  # 2 of 3 windows of each of the 4 that run
        ids = [leave(url, 65, response_format="text").json()["id"] for _ in range(6)]
        end = time.monotonic() + patient.SECONDS
        while not any((job_of(url, id)["progress"] or {}).get("seconds_done") for id in ids):
            assert time.monotonic() < end, "none has begun"
            time.sleep(0.02)
        child.send_signal(signal.SIGKILL)
        child.wait()
    with process(tmp_path, 0.2) as (child, url):
        assert len(patient.get(f"{url}/v1/jobs").json()["data"]) == 6
        assert until_ended(url, ids[0])["status"] == "done"
        child.send_signal(signal.SIGTERM)  # a restart in good order
        assert child.wait(patient.SECONDS) == 0
    with process(tmp_path) as (child, url):
        assert [until_ended(url, id)["status"] for id in ids] == ["done"] * 6
        texts = {patient.get(f"{url}/v1/jobs/{id}/result").text for id in ids}
        direct = {"file": ("talk.wav", wav(65))}
        form = {"model": "base", "response_format": "text"}
        assert texts == {patient.post(f"{url}/v1/audio/transcriptions", data=form, files=direct).text}
    assert list((tmp_path / "audio").iterdir()) == []


def kept(folder, file=b"RIFF"):
    """A list with one job that waits."""
    (folder / "audio").mkdir(exist_ok=True)
    source = folder / "upload"
    source.write_bytes(file)
    store = JobStore(folder)
    with source.open("rb", buffering=0) as upload:
        job = store.add("", upload, "talk.wav", {"model": ["base"]}, None)
    return store, job


def test_a_job_with_which_the_server_ends_each_time_is_given_up(serving, tmp_path):
    store, job = kept(tmp_path, wav(1))
    for _ in range(3):
        assert store.claim().id == job.id
        store.close()
        store = JobStore(tmp_path)  # as after a kill
    store.close()
    with serving(jobs=str(tmp_path)) as server:
        ended = until_ended(server.url, job.id)
        assert (ended["status"], ended["error"]["code"]) == ("failed", "gave_up")


def test_what_a_kill_left_half_done_is_cleared_up(tmp_path):
    store, job = kept(tmp_path)
    store.close()
    (tmp_path / "audio" / "job_without_a_row").write_bytes(b"x")
    store = JobStore(tmp_path)
    assert [path.name for path in (tmp_path / "audio").iterdir()] == [job.id]
    store.close()
    (tmp_path / "audio" / job.id).unlink()
    store = JobStore(tmp_path)
    assert store.get(job.id).status == "failed"
    assert store.claim() is None
    store.close()


def test_folders_that_can_t_be_had_are_said(tmp_path):
    store = JobStore(tmp_path)
    with pytest.raises(OptionError, match="another server"):
        JobStore(tmp_path)
    store.close()
    with sqlite3.connect(tmp_path / "jobs.sqlite") as db:
        db.execute("PRAGMA user_version=9")
    db.close()
    with pytest.raises(OptionError, match=r"another version.*1.*9"):
        JobStore(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    (other / "jobs.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(OptionError, match="no list of jobs"):
        JobStore(other)
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match="can't be written"):
        JobStore(tmp_path / "file")


# ---------------------------------------------------------------- bounds


def test_it_is_bounded(serving, tmp_path):
    loader = FakeLoader()
    with serving(loader, jobs=str(tmp_path), jobs_max=2, jobs_budget=1) as server:
        loader.inference.go_on.clear()
        assert leave(server.url, 40).json()["error"]["code"] == "jobs_budget"  # 1.2 MiB
        assert [leave(server.url, 1).status_code for _ in range(3)] == [202, 202, 429]
        refused = leave(server.url, 1)
        assert (refused.json()["error"]["code"], refused.headers["retry-after"]) == ("overloaded", "60")
        loader.inference.go_on.set()
        server.wait(lambda: leave(server.url, 1).status_code == 202)


def test_jobs_expire(serving, tmp_path, monkeypatch):
    now = time.time()
    monkeypatch.setattr(store_module, "time", SimpleNamespace(time=lambda: now))
    with serving(jobs=str(tmp_path), jobs_age=1.5 / 3600) as server:
        id = leave(server.url, 1).json()["id"]
        until_ended(server.url, id)
        now += 2
        server.wait(lambda: patient.get(f"{server.url}/v1/jobs/{id}").status_code == 404)


# ---------------------------------------------------------------- webhooks


@pytest.fixture
def hook():
    """A server that is told: answers what ``statuses`` has, then 200; ``told`` has headers and bodies."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            told.append((self.path, dict(self.headers), body))
            self.send_response(statuses.pop(0) if statuses else 200)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    told, statuses = [], []
    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", told, statuses
    server.shutdown()
    thread.join()
    server.server_close()


def test_who_is_told_can_verify_it(serving, tmp_path, hook, monkeypatch):
    address, told, statuses = hook
    monkeypatch.setattr(desk_module, "WAITS", (0.1, 0.1))
    statuses += [500, 302]  # tried again, and followed nowhere
    with serving(jobs=str(tmp_path), webhook_origins=(address,), webhook_secret=SECRET) as server:
        id = leave(server.url, 1, webhook=f"{address}/done?x=1", response_format="text").json()["id"]
        server.wait(lambda: job_of(server.url, id)["webhook"] == "delivered")
        text = patient.get(f"{server.url}/v1/jobs/{id}/result").text
    assert [path for path, *_ in told] == ["/done?x=1"] * 3
    assert len({headers["webhook-id"] for _, headers, _ in told}) == 1
    _, headers, body = told[-1]
    client = openai.OpenAI(api_key="none", webhook_secret=SECRET)
    client.webhooks.verify_signature(body.decode(), headers)
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.verify_signature(body.decode().replace("done", "dome"), headers)
    event = json.loads(body)
    assert (event["type"], event["data"]["id"], event["data"]["result"]) == ("transcription.job.completed", id, text)


def test_an_error_is_told_too_and_telling_is_given_up(serving, tmp_path, hook, monkeypatch):
    address, told, statuses = hook
    monkeypatch.setattr(desk_module, "WAITS", (0.1,))
    statuses += [500, 500]
    files = {"file": ("notes.mp3", b"not a recording at all" * 50)}
    with serving(jobs=str(tmp_path), webhook_origins=(address,), webhook_secret=SECRET) as server:
        form = {"model": "base", "webhook": address}
        id = patient.post(f"{server.url}/v1/jobs", data=form, files=files).json()["id"]
        server.wait(lambda: job_of(server.url, id)["webhook"] == "failed")
    assert [json.loads(body)["type"] for *_, body in told] == ["transcription.job.failed"] * 2


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9001/",
        "https://127.0.0.1:9000/",
        "http://localhost:9000/",
        "http://hooks.example:9000@127.0.0.1:9000/",
        "http://127.0.0.1:9000\\@169.254.169.254/",
        "http://127.0.0.1:9000 @evil/",
        "http://127.0.0.1.evil.example:9000/",
        "http://127.0.0.1:9000\r\nHost: evil/",
        "http://[::1]:9000/",
        "file:///etc/passwd",
        "ftp://127.0.0.1:9000/",
        "http://127.0.0.1:99999/",
        "http:///x",
        "//127.0.0.1:9000/",
        "",
        "http://127.0.0.1:9000/" + "x" * 3000,
        "http://127.0.0.1:9000/é",
    ],
)
def test_no_address_but_those_told_at_the_start(url):
    webhooks = Webhooks(frozenset([origin_of("http://127.0.0.1:9000")]), b"k" * 32)
    assert webhooks.allows("http://127.0.0.1:9000/any/path?a=b")
    assert webhooks.allows("HTTP://127.0.0.1:9000")
    assert not webhooks.allows(url)
    assert not webhooks.deliver(url, "msg_1", b"{}")


@pytest.mark.parametrize(
    "wrong",
    [
        {"webhook_origins": ("https://hooks.example",), "webhook_secret": SECRET},
        {"jobs": "x", "webhook_origins": ("https://hooks.example",)},
        {"jobs": "x", "webhook_origins": ("https://hooks.example",), "webhook_secret": "short"},
        {"jobs": "x", "webhook_origins": ("https://hooks.example",), "webhook_secret": "whsec_!"},
        {"jobs": "x", "webhook_origins": ("https://hooks.example/path",), "webhook_secret": SECRET},
        {"jobs": "x", "webhook_origins": ("hooks.example",), "webhook_secret": SECRET},
        {"jobs": "x", "webhook_origins": ("*",), "webhook_secret": SECRET},
        {"jobs_max": 0},
        {"jobs_age": 0},
        {"jobs_age": float("nan")},
        {"jobs_at_once": 0},
        {"jobs_budget": 0},
    ],
)
def test_settings_that_are_impossible(wrong):
    with pytest.raises(OptionError):
        Settings(**wrong)
    assert SECRET not in repr(Settings(webhook_secret=SECRET))
