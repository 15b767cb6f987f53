"""One thread for all: turns, cancelling, closing, and nobody is left without an answer."""

import asyncio
import math
import threading
import time

import numpy as np
import pytest

from tests.support.fake_inference import FakeInference
from tests.support.served import SlowInference
from tests.support.synthetic_vocabulary import synthetic_vocabulary
from whisper_max import api
from whisper_max.errors import OptionError
from whisper_max.server.decoding.parent import Decoders
from whisper_max.server.engine_thread import EngineThread
from whisper_max.server.errors import APIError
from whisper_max.server.jobs import Cancelled, Finished, Progress
from whisper_max.server.recordings import Workers
from whisper_max.transcribe.options import TranscribeOptions

ENGLISH = TranscribeOptions(language="en")


def noise(seconds, key=0):
    return np.random.default_rng(key).normal(0, 0.1, round(seconds * 16000)).astype(np.float32)


def alone(audio, **options):
    return api.Model(FakeInference(), synthetic_vocabulary()).transcribe(audio, **options)


class Engine:
    """An engine thread, for a test on an event loop."""

    def __init__(self, batch_size=4):
        self.inference = SlowInference()
        self.workers = Workers(2, Decoders(1 << 30, 60, 60))
        self.thread = EngineThread("fake", api.Model(self.inference, synthetic_vocabulary()), self.workers, batch_size)

    def submit(self, audio, options=ENGLISH, max_seconds=1e9):
        return self.thread.submit(audio, options, max_seconds=max_seconds)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self.inference.go_on.set()
        await asyncio.to_thread(self.thread.close)
        await asyncio.to_thread(self.workers.close)
        assert self.thread.n_running == 0


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


def at_its_end(job, measure):
    """What is measured on the engine's thread when the job is finished; the event loop may come to it late."""
    put, found = job.put, []

    def noting(event):
        if isinstance(event, Finished):
            found.append(measure())
        put(event)

    job.put = noting
    return found


async def events_of(job):
    return [event async for event in job]


def test_each_is_as_it_is_alone():
    recordings = [noise(seconds, key) for key, seconds in enumerate([70, 0.001, 31, 5, 95, 12, 5, 5])]
    many = [ENGLISH, TranscribeOptions(), TranscribeOptions(beam_size=3), TranscribeOptions(task="translate")]

    async def run():
        async with Engine() as engine:
            jobs = [engine.submit(audio, many[i % 4]) for i, audio in enumerate(recordings)]
            return await asyncio.gather(*map(events_of, jobs))

    for i, events in enumerate(asyncio.run(run())):
        whole = events[-1].result
        options = {"language": ["en", None][i % 4 > 0], "beam_size": 3 if i % 4 == 2 else None}
        wanted = alone(recordings[i], task="translate" if i % 4 == 3 else "transcribe", **options)
        assert (whole.text, whole.segments, whole.language) == (wanted.text, wanted.segments, wanted.language)
        progress = [event for event in events if isinstance(event, Progress)]
        assert [segment for event in progress for segment in event.segments] == whole.segments
        assert all(event.total == whole.duration for event in progress)
        assert [type(event) for event in events] == [Progress] * len(progress) + [Finished]


def test_a_short_recording_does_not_wait_for_a_long_one():
    """The long one has 40 windows; the short one comes when they have begun, and is done after a few of them."""

    async def run():
        async with Engine(batch_size=2) as engine:
            long = engine.submit(noise(1200))
            events = aiter(long)
            for _ in range(3):
                await anext(events)
            engine.inference.go_on.clear()
            short = engine.submit(noise(5))
            await until(lambda: engine.thread.n_running == 2 and engine.inference.n_waiting)
            before = engine.inference.encoded
            heard = at_its_end(short, lambda: engine.inference.encoded - before)
            engine.inference.go_on.set()
            ended = await events_of(short)
            long.cancel()
            return ended[-1], heard

    last, [heard] = asyncio.run(run())
    assert isinstance(last, Finished)
    assert heard <= 10


def test_calls_get_their_turn_while_the_batch_works():
    async def run():
        async with Engine(batch_size=2) as engine:
            job = engine.submit(noise(600))
            await anext(aiter(job))
            calls = [engine.thread.run_on_engine(lambda model: threading.current_thread().name) for _ in range(50)]
            names = await asyncio.gather(*map(asyncio.wrap_future, calls))
            failing = engine.thread.run_on_engine(lambda model: 1 // 0)
            with pytest.raises(ZeroDivisionError):
                await asyncio.wrap_future(failing)
            job.cancel()
            return names

    assert set(asyncio.run(run())) == {"whisper_max-fake"}


def test_slow_calls_do_not_stop_the_batch():
    async def run():
        async with Engine() as engine:
            opened = threading.Event()
            calls = [engine.thread.run_on_engine(lambda model: opened.wait(60))]
            calls += [engine.thread.run_on_engine(lambda model: time.sleep(0.1)) for _ in range(600)]
            job = engine.submit(noise(5))
            left = at_its_end(job, lambda: sum(not call.done() for call in calls))
            await until(lambda: engine.thread.n_running)
            opened.set()
            await events_of(job)
            for call in calls:
                call.cancel()
            return left

    assert asyncio.run(run())[0] > 5  # of a minute's


def test_cancelled_at_every_stage():
    async def run():
        async with Engine() as engine:
            engine.inference.go_on.clear()
            opening = engine.submit(noise(5))
            opening.cancel()
            in_line = [engine.submit(noise(5), TranscribeOptions()) for _ in range(2)]
            await until(lambda: engine.thread.n_running >= 2)
            for job in in_line:
                job.cancel()
            engine.inference.most = (
                engine.inference.encoded + 5
            )  # of more than ten windows, so that it is cancelled in time
            engine.inference.go_on.set()
            running = engine.submit(noise(300))
            events = aiter(running)
            await anext(events)
            running.cancel()
            engine.inference.most = math.inf
            engine.inference.go_on.set()
            for job in (opening, *in_line):
                with pytest.raises(Cancelled):
                    await events_of(job)
            with pytest.raises(Cancelled):
                async for _ in events:
                    pass
            await until(lambda: not engine.thread.n_running)
            return (await events_of(engine.submit(noise(5))))[-1]

    assert asyncio.run(run()).result.text == alone(noise(5), language="en").text


def test_closing_answers_everybody():
    async def run():
        async with Engine() as engine:
            engine.inference.go_on.clear()
            jobs = [engine.submit(noise(5, key), TranscribeOptions()) for key in range(8)]
            call = engine.thread.run_on_engine(lambda model: 1)
            closing = asyncio.create_task(asyncio.to_thread(engine.thread.close))
            await until(lambda: engine.thread._closing)
            engine.inference.go_on.set()
            await closing
            late = engine.submit(noise(5))
            with pytest.raises(APIError):
                engine.thread.run_on_engine(lambda model: 1)
            return await asyncio.gather(*map(events_of, [*jobs, late]), return_exceptions=True), call.result()

    outcomes, called = asyncio.run(run())
    assert {error.code for error in outcomes if isinstance(error, APIError)} == {"stopping"}
    assert sum(isinstance(each, APIError) for each in outcomes) >= 8
    assert called == 1


def test_what_can_not_be_transcribed():
    async def run():
        async with Engine() as engine:
            with pytest.raises(OptionError, match="outside the recording"):
                await events_of(engine.submit(noise(5), TranscribeOptions(clip_timestamps="50,60")))
            with pytest.raises(OptionError):
                await events_of(engine.submit(noise(5), TranscribeOptions(suppress_tokens="99999999")))
            with pytest.raises(Exception, match="too long"):
                await events_of(engine.submit(noise(5), max_seconds=4.9))
            engine.inference.fails = RuntimeError("broken")
            with pytest.raises(APIError, match="the server failed"):
                await events_of(engine.submit(noise(5)))
            return (await events_of(engine.submit(noise(5))))[-1]

    assert asyncio.run(run()).result.text == alone(noise(5), language="en").text
