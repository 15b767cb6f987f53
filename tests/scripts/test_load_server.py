"""The clients that load a server: what they count, when they end, and that they let go of the long recording."""

import asyncio
import importlib
import time

import numpy as np
import pytest

from tests.support.scripts import scripts_of

pytest.importorskip("fastapi", reason="the extra server is not installed")
pytest.importorskip("psutil", reason="the group benchmark is not installed")
pytest.importorskip("matplotlib", reason="the group benchmark is not installed")


from tests.support.served import bomb, running, wav


@pytest.fixture
def module():
    """Modules of scripts/server/serverload by name."""
    with scripts_of("server"):
        yield lambda name: importlib.import_module(f"serverload.{name}")


@pytest.fixture
def clips(module):
    return [module("clips").Clip(3.0, wav(3)), module("clips").Clip(5.0, wav(5))]


def timed(work):
    """What is awaited, and the seconds that it took at most."""
    start = time.monotonic()
    found = asyncio.run(work)
    return found, time.monotonic() - start


def test_a_level(module, clips):
    with running() as server:
        found, seconds = timed(module("load").load(server.url, clips, 3, 10.0))
    level = found.summary()
    assert level["requests"] == len(level["latencies"]) >= 3
    assert (level["clients"], level["unfinished"], level["refused"], level["failed"]) == (3, 0, 0, 0)
    assert 5.0 <= level["wall_seconds"] <= seconds + 0.01
    assert 3 * level["requests"] <= level["audio_seconds_per_second"] * level["wall_seconds"] * 1.01
    assert level["p50"] <= level["p95"] <= level["p99"] <= max(level["latencies"]) + 1e-3


def test_a_level_ends_though_the_server_hangs(module, clips):
    with running(max_requests=1) as server:
        server.loader.inference.go_on.clear()
        found, seconds = timed(module("load").load(server.url, clips, 2, 3.0))
        level = found.summary()
    assert (level["requests"], level["unfinished"]) == (0, 1)
    assert level["refused"] >= 1
    assert 1.5 <= level["p50"] <= seconds


def test_fairness(module, clips, tmp_path):
    long = tmp_path / "long.flac"
    long.write_bytes(bomb(1200))  # whose upload takes no time
    with running() as server:
        server.loader.inference.seconds = 0.3
        found, seconds = timed(module("load").fairness(server.url, clips[0], long, 12.0, progress=True))
        server.wait(lambda: all(n == 0 for _, n in server.shared.engines.loads().values()))
    assert 9.0 <= found["cancelled_after"] <= seconds
    assert 0 < found["long_first_after"] < found["cancelled_after"]
    assert (found["long_finished"], found["given_up"]) == (False, [])
    assert 0 < found["long_seconds_done"] < 1200
    parts = module("load").parts(found)
    assert min(len(waits) for waits in parts.values()) >= 1
    assert sum(len(waits) for waits in parts.values()) == len(found["short"])


def test_figures(module, tmp_path):
    figures = module("figures")
    level = {"clients": 1, "audio_seconds_per_second": 9.0, "p50": 1.0, "p95": 2.0, "p99": 2.5, "began": 0.0}
    what = {"what": "a model", "clients": [1]}
    figures.draw_load({**what, "servers": {"ours": {"levels": [level], "rss": [(0.5, 1 << 20)]}}}, tmp_path / "load")
    short = [(-1.0, 0.5), (1.0, 0.7), (6.0, 0.5)]
    ours = {"short": short, "cancelled_after": 5.0, "long_first_after": 0.5}
    peers = {**ours, "long_first_after": None}
    figures.draw_fairness({**what, "servers": {"ours": ours, "theirs": peers}}, tmp_path / "fairness")
    assert {path.name for path in tmp_path.iterdir()} == {"load.png", "load.svg", "fairness.png", "fairness.svg"}


def test_the_recordings_are_always_the_same(module, tmp_path):
    clips = module("clips")
    samples = np.random.default_rng(0).normal(0, 0.1, 70 * clips.RATE).astype(np.float32)
    assert clips.clips_of(samples, 8) == clips.clips_of(samples, 8)
    assert [clip.seconds for clip in clips.clips_of(samples, 8)] == list(clips.LENGTHS)
    clips.long_recording(samples, 150.0, tmp_path / "long.ogg")
    assert len(clips.load_audio(tmp_path / "long.ogg")) == 150 * clips.RATE
