"""The servers under load: started, paused while another is measured, and watched for their memory."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from whisper_max.checkpoint import resolve

REPOSITORY = Path(__file__).resolve().parents[3]
_SAMPLE_EVERY = 0.5  # seconds between two measurements of memory
_START_SECONDS = 300  # until a server is ready


@dataclass
class Server:
    """One that runs. ours: it knows this server's own fields. rss: (seconds under load so far, bytes), in turn."""

    name: str
    url: str
    process: psutil.Process
    ours: bool
    rss: list[tuple[float, int]] = field(default_factory=list)
    seconds: float = 0.0

    @contextmanager
    def active(self) -> Iterator[None]:
        """It runs for as long as the context, and its memory is watched; before and after it stands still."""
        for process in self._tree():
            process.resume()
        end = threading.Event()
        watching = threading.Thread(target=self._watch, args=(end,), daemon=True)
        start = time.monotonic()
        watching.start()
        try:
            yield
        finally:
            end.set()
            watching.join()
            self.seconds += time.monotonic() - start
            self.pause()

    def pause(self) -> None:
        """Stand still, so that others have the machine for themselves."""
        for process in self._tree():
            process.suspend()

    def _tree(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def _watch(self, end: threading.Event) -> None:
        start = time.monotonic()
        with suppress(psutil.NoSuchProcess):
            while not end.wait(_SAMPLE_EVERY):
                bytes_now = sum(each.memory_info().rss for each in self._tree())
                self.rss.append((round(self.seconds + time.monotonic() - start, 1), bytes_now))


@contextmanager
def servers(model: str, compute_type: str, peer_python: Path | None, folder: Path) -> Iterator[list[Server]]:
    """This server, and one of faster-whisper where a Python has it; all paused."""
    with ExitStack() as stack:
        serve = [sys.executable, "-m", "whisper_max", "serve", "--model", model, "--offline", "--max_requests", "128"]
        command = [*serve, "--compute_type", compute_type]
        running = [stack.enter_context(_serving("whisper_max", command, folder, ours=True))]
        running[0].pause()
        if peer_python is not None:
            script = str(REPOSITORY / "scripts" / "server" / "peer_server.py")
            weights = str(_peer_weights(model, folder))
            command = [str(peer_python), script, "--model", weights, "--compute_type", compute_type]
            running.append(stack.enter_context(_serving("faster-whisper", command, folder, ours=False)))
            running[1].pause()
        yield running


@contextmanager
def _serving(name: str, command: list[str], folder: Path, *, ours: bool) -> Iterator[Server]:
    port, log = _free_port(), folder / f"{name}.log"
    url = f"http://127.0.0.1:{port}"
    command = [*command, "--port", str(port)]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output, cwd=REPOSITORY) as process:
        server = Server(name, url, psutil.Process(process.pid), ours)
        try:
            _wait_until_ready(process, url, log)
            yield server
        finally:
            with suppress(psutil.NoSuchProcess):
                server.process.resume()
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        with suppress(httpx.TransportError):
            if httpx.get(f"{url}/ready").status_code == 200:
                return
        time.sleep(0.5)
    raise SystemExit(f"{log.stem} does not start: {log.read_text(errors='replace')[-2000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _peer_weights(model: str, folder: Path) -> Path:
    """The checkpoint as the folder that faster-whisper reads."""
    files = resolve(model, offline=True)
    if files.format != "ctranslate2":
        raise SystemExit(f"{model} is here as {files.format}; the peer reads ctranslate2")
    with (folder / "model.bin").open("wb") as whole:
        for part in files.weights:
            whole.write(part.read_bytes())
    for name, path in files.companions.items():
        shutil.copyfile(path, folder / name)
    return folder
