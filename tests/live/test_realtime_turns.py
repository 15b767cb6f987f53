"""Sessions that wait for each other: a few decode at a time, and each takes its audio when it is its turn."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the extra server is not installed")

from tests.support.fake_inference import FakeInference
from tests.support.synthetic_vocabulary import synthetic_vocabulary
from whisper_max.api import Model
from whisper_max.errors import AudioError
from whisper_max.server.engine_thread import LIVE_PLACES
from whisper_max.server.realtime.session import RealtimeSession

RATE = 24000


class Engine:
    """Takes decodings and never ends them before it is told to."""

    id = "fake"

    def __init__(self):
        self.model = Model(FakeInference(), synthetic_vocabulary())
        self.live_places = asyncio.Semaphore(LIVE_PLACES)
        self.heard = []  # seconds of each decoding
        self.brief = []  # whether its window is encoded quickly
        self.go_on = asyncio.Event()

    @asynccontextmanager
    async def use(self, _name):
        yield self

    def renewal(self):
        return SimpleNamespace(new_window=Window)

    def submit(self, samples, _options, *, max_seconds, encode):
        assert len(samples) <= max_seconds * 16000
        self.heard.append(len(samples) / 16000)
        self.brief.append(encode(None))
        return Job(self.go_on)


class Window:
    """Tells how it is asked to encode."""

    def encode(self, _mel, start, *, brief):
        assert start >= 0
        return brief


class FailingEngine(Engine):
    """Fails all decodings."""

    def submit(self, samples, options, *, max_seconds, encode):
        super().submit(samples, options, max_seconds=max_seconds, encode=encode)
        return FailingJob()


class FailingJob:
    """A decoding that fails."""

    async def __aiter__(self):
        raise AudioError("no")
        yield

    def cancel(self):
        pass


class Job:
    """A decoding that hears nothing."""

    def __init__(self, go_on):
        self.go_on = go_on

    async def __aiter__(self):
        await self.go_on.wait()
        for nothing in ():
            yield nothing

    def cancel(self):
        self.go_on.set()


def talk(seconds):
    return (np.random.default_rng(11).uniform(-0.5, 0.5, round(seconds * RATE)) * 32767).astype(np.int16)


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def speaking(engine, n_sessions, stuck=None):
    """Sessions at work; a client takes no message once ``stuck`` says so of one."""

    async def send(message):
        if stuck is not None and stuck(message):
            await asyncio.Event().wait()

    def ear():
        return lambda chunk: float(np.abs(chunk).max() > 0.1)

    sessions = [RealtimeSession(engine, send, lambda *_: None, ear, None) for _ in range(n_sessions)]
    tasks = [asyncio.create_task(session.work()) for session in sessions]
    try:
        yield sessions
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for session in sessions:
            await session.close()


async def five_at_once():
    """The engine of the first five decodings; more is said once the first of them are at work."""
    engine = Engine()
    async with speaking(engine, 5) as sessions:
        for session in sessions:
            await session.append(talk(2))
        await until(lambda: len(engine.heard) >= LIVE_PLACES and not any(session._waiting for session in sessions))
        for session in sessions:
            await session.append(talk(1.5))
        engine.go_on.set()
        await until(lambda: len(engine.heard) >= 5)
        return engine


def test_a_few_sessions_decode_at_a_time_and_the_others_hear_what_has_come_by_their_turn():
    engine = asyncio.run(five_at_once())
    waited = 5 - LIVE_PLACES
    assert waited > 0
    assert engine.heard[:5] == pytest.approx([2.0] * LIVE_PLACES + [3.5] * waited, abs=0.05)
    assert engine.brief[:5] == [False] * LIVE_PLACES + [True] * waited  # the others wait for those that waited


async def all_fail_and_no_client_reads():
    """How many of five sessions decode, whose clients take no message that says that it failed."""
    engine = FailingEngine()
    async with speaking(engine, 5, lambda message: message["type"].endswith("failed")) as sessions:
        for session in sessions:
            await session.append(talk(2))
        await until(lambda: len(engine.heard) >= 5)
        return len(engine.heard)


def test_clients_that_take_no_messages_keep_no_place():
    assert asyncio.run(all_fail_and_no_client_reads()) == 5


async def told_of_lag():
    """The seconds of lag that clients are told, whose audio goes on while their sessions wait for their turn."""
    engine, told = Engine(), []

    def note(message):
        if message["type"] == "whisper_max.lag":
            told.append(message["seconds"])
        return False

    async with speaking(engine, LIVE_PLACES + 1, note) as sessions:
        for session in sessions:
            await session.append(talk(2))
        await until(lambda: len(engine.heard) >= LIVE_PLACES and not any(session._waiting for session in sessions))
        for session in sessions:
            await session.append(talk(6))
        for session in sessions:
            await session.commit()
        assert told == []
        engine.go_on.set()
        await until(lambda: told.count(0.0) > LIVE_PLACES)
        return told


def test_audio_that_waits_for_a_turn_or_its_end_is_told_as_lag():
    told = asyncio.run(told_of_lag())
    assert [seconds for seconds in told if seconds] == pytest.approx([6.0] * (LIVE_PLACES + 1), abs=0.1)
