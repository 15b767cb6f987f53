"""A server with a model of fake logits, in a thread of this process, and clients of it."""

import asyncio
import io
import math
import threading
import time
from contextlib import ExitStack, contextmanager
from functools import cache

import httpx
import numpy as np
import openai
import soundfile

from tests.support.fake_inference import DIMS, FakeInference
from tests.support.patient import SECONDS
from tests.support.synthetic_vocabulary import synthetic_vocabulary
from whisper_max import api
from whisper_max.server.app import create_app
from whisper_max.server.loading import Loader
from whisper_max.server.run import DrainingServer
from whisper_max.server.settings import Settings

TLS = httpx.create_ssl_context()
"""No server here speaks it, but each client would make one, which takes longer than most answers."""


class SlowInference(FakeInference):
    """Waits before it encodes, until ``go_on`` is set, which ``most`` encoded windows end; ``fails`` breaks it once.

    n_waiting: calls that wait there now.
    """

    def __init__(self, dims=DIMS):
        super().__init__(dims)
        self.go_on = threading.Event()
        self.go_on.set()
        self.fails = None
        self.seconds = 0.0
        self.most = math.inf
        self.n_waiting = 0

    def encode(self, mel):
        if self.encoded >= self.most:
            self.go_on.clear()
        self.n_waiting += 1
        assert self.go_on.wait(SECONDS)
        self.n_waiting -= 1
        time.sleep(self.seconds)
        if self.fails is not None:
            error, self.fails = self.fails, None
            raise error
        return super().encode(mel)


class FakeLoader:
    """Loads a fake model for every source, each said to take ``n_bytes``."""

    def __init__(self, n_bytes=1 << 20):
        self.n_bytes = n_bytes
        self.loaded = []
        self.fails = None
        self.inference = SlowInference()

    def load(self, source):
        if self.fails is not None:
            raise self.fails
        self.loaded.append(source)
        return api.Model(self.inference, synthetic_vocabulary(), source)

    @property
    def loader(self):
        return Loader(self.load, lambda source: self.n_bytes)


class Loop(asyncio.SelectorEventLoop):
    """Whose clock is so many seconds ahead."""

    ahead = 0.0

    def time(self):
        return super().time() + self.ahead


class Running:
    """A server that runs. url: its address; app: its app; loader: of its models."""

    def __init__(self, settings, loader, server, loop):
        self.settings, self.loader, self.server, self._loop = settings, loader, server, loop
        self.clients = ExitStack()
        self.app = server.config.app
        self.shared = self.app.state.shared

    @property
    def port(self):
        return self.server.servers[0].sockets[0].getsockname()[1]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def http(self, **options):
        client = httpx.Client(base_url=self.url, timeout=SECONDS, verify=TLS, **options)
        self.clients.callback(client.close)
        return client

    def openai(self, key="none", **options):
        client = openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=SECONDS, **options)
        return self.clients.enter_context(client)

    def post(self, file=None, endpoint="transcriptions", **fields):
        file = wav(3) if file is None else file
        data = {"model": "whisper-1", **fields}
        address, files = f"{self.url}/v1/audio/{endpoint}", {"file": ("a.wav", file)}
        return httpx.post(address, data=data, files=files, timeout=SECONDS, verify=TLS)

    def on_its_loop(self, call):
        """What it returns, called between the server's own callbacks."""

        async def run():
            return call()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(SECONDS)

    def later(self, seconds):
        """Let so many seconds pass, at once, for all that the server waits for on its event loop."""

        def put_forward():
            self._loop.ahead += seconds

        self.on_its_loop(put_forward)

    def wait(self, condition, seconds=SECONDS):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it did not happen in time"
            time.sleep(0.01)


@contextmanager
def running(loader=None, wait=True, **settings):
    loader = loader or FakeLoader()
    wanted = Settings(**{"port": 0, **settings})
    server = DrainingServer(wanted, create_app(wanted, loader.loader))
    loop = Loop()
    thread = threading.Thread(target=run, args=(server, loop))
    thread.start()
    try:
        it = Running(wanted, loader, server, loop)
        it.wait(lambda: server.started and (not wait or it.app.state.loading.done()))
        with it.clients:
            yield it
    finally:
        loader.inference.go_on.set()
        server.should_exit = True
        thread.join(SECONDS)
        assert not thread.is_alive()


def run(server, loop):
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(server.serve())


@cache
def wav(seconds, key=0, rate=16000):
    samples = np.random.default_rng(key).normal(0, 0.1, round(seconds * rate))
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def bomb(seconds):
    """Silence in flac: about 2 kB a minute."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 8000, 1, format="FLAC") as sound:
        for _ in range(seconds // 60):
            sound.write(np.zeros(8000 * 60, np.int16))
    return file.getvalue()
