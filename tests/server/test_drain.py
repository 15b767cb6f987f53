"""The end: SIGTERM drains, a second one does not wait; a model that can't be loaded ends the server."""

import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import patient
from tests.support.served import FakeLoader, running
from whisper_max.errors import CheckpointError, OptionError
from whisper_max.server import run
from whisper_max.server.app import create_app
from whisper_max.server.run import DrainingServer
from whisper_max.server.settings import Settings

REPOSITORY = Path(__file__).parents[2]


def drain(server):
    server.server.handle_exit(signal.SIGTERM, None)
    server.wait(server.shared.admission.stopping.is_set)


def start_post(server, answers, **fields):
    thread = threading.Thread(target=lambda: answers.append(server.post(**fields)))
    thread.start()
    return thread


def test_what_runs_is_finished(serving):
    with serving() as server:
        server.loader.inference.go_on.clear()
        answers = []
        thread = start_post(server, answers)
        server.wait(lambda: server.shared.admission.n_requests == 1)
        drain(server)
        assert patient.get(f"{server.url}/ready").json() == {"status": "stopping"}
        assert patient.get(f"{server.url}/ready").status_code == 503
        assert patient.get(f"{server.url}/health").status_code == 200
        refused = server.post()
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "stopping")
        assert "retry-after" in refused.headers
        server.loader.inference.go_on.set()
        thread.join()
        assert answers[0].status_code == 200
        server.wait(lambda: not server.server.servers[0].is_serving())


@pytest.mark.parametrize("stream", ["false", "true"])
def test_what_runs_too_long_is_told(serving, make_wav, stream):
    with serving(grace=0.3) as server:
        server.loader.inference.seconds = 1.0
        answers = []
        thread = start_post(server, answers, file=make_wav(600), stream=stream)
        server.wait(lambda: any(n for _, n in server.shared.engines.loads().values()))
        drain(server)
        thread.join()
        assert server.loader.inference.encoded < 20  # it was not heard to its end
        assert '"code":"stopping"' in answers[0].text.replace(": ", ":")
        assert answers[0].status_code == (200 if answers[0].text.startswith("data: ") else 503)


def test_an_idle_server_ends_at_once():
    with running(grace=600) as server:
        drain(server)
        server.wait(lambda: not server.server.servers[0].is_serving())


def test_a_default_model_that_can_not_be_loaded(caplog):
    loader = FakeLoader()
    loader.fails = CheckpointError("damaged", where="base")
    server = DrainingServer(Settings(port=0), create_app(Settings(port=0), loader.loader))
    thread = threading.Thread(target=server.run)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    assert server.failed
    assert "the model can't be loaded: base: damaged" in caplog.text


PROGRAM = """
import sys
from tests.support.served import FakeLoader
from whisper_max.server import app, run
from whisper_max.server.settings import Settings
create, fake = app.create_app, FakeLoader()
fake.inference.seconds = 1.0  # so that ten minutes of speech are not over before they are cut off
run.create_app = lambda settings: create(settings, fake.loader)
sys.exit(run.serve(Settings(port=0)))
"""


@contextmanager
def other_process(**environment):
    """A server in a process of its own, and its address."""
    command, environment = [sys.executable, "-c", PROGRAM], {**os.environ, **environment}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, cwd=REPOSITORY) as process:
        for line in process.stderr:
            if "running on" in line:
                break
        try:
            yield process, line.split("running on ")[1].split()[0]
        finally:
            process.kill()


def test_a_port_that_is_taken_is_a_failure(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    fake = FakeLoader()
    monkeypatch.setattr(run, "create_app", lambda settings: create_app(settings, fake.loader))
    monkeypatch.setattr("sys.setswitchinterval", lambda _seconds: None)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert run.serve(Settings(port=taken.getsockname()[1])) == 1
    assert "address already in use" in caplog.text


@pytest.mark.parametrize("cert", ["missing.pem", __file__])
def test_a_certificate_that_is_none_is_told_at_once(cert, monkeypatch):
    monkeypatch.setattr(run, "set_up_logging", lambda *_: None)
    with pytest.raises(OptionError, match="tls_cert: no certificate with its key"):
        run.serve(Settings(port=0, tls_cert=cert, tls_key=cert))


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_sigterm():
    with other_process() as (process, address):
        assert patient.get(f"{address}/health").status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(patient.SECONDS) == 0


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_twice_cuts_off_what_runs_without_a_stack_trace(make_wav):
    with other_process() as (process, address):
        form: dict[str, Any] = {"data": {"model": "base", "stream": "true"}}
        form["files"] = {"file": ("a.wav", make_wav(600))}
        with httpx.stream("POST", f"{address}/v1/audio/transcriptions", timeout=patient.SECONDS, **form) as answer:
            assert answer.status_code == 200
            process.send_signal(signal.SIGINT)
            told = list(itertools.takewhile(lambda line: "draining" not in line, process.stderr))
            process.send_signal(signal.SIGINT)
            with pytest.raises(httpx.TransportError):
                answer.read()
        assert process.wait(patient.SECONDS) == 130
        told += process.stderr
    assert [line for line in told if line.endswith(" INFO interrupted: what runs is cut off\n")]
    assert not [line for line in told if "Traceback" in line]


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_killed_server_leaves_nothing_and_its_clients_know(make_wav, tmp_path):
    with other_process(TMPDIR=str(tmp_path)) as (process, address):
        form: dict[str, Any] = {"data": {"model": "base", "stream": "true"}}
        form["files"] = {"file": ("a.wav", make_wav(600))}
        with httpx.stream("POST", f"{address}/v1/audio/transcriptions", timeout=patient.SECONDS, **form) as answer:
            assert answer.status_code == 200
            process.kill()
            with pytest.raises(httpx.TransportError):
                answer.read()
        process.wait(patient.SECONDS)
    assert list(tmp_path.iterdir()) == []
