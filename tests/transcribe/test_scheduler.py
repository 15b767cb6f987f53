from functools import cache

import pytest

from tests.support.fake_device import FakeDevice
from tests.support.fake_inference import DIMS, FakeInference, FakeMel
from tests.support.recordings import begun
from tests.support.synthetic_vocabulary import synthetic_vocabulary as vocabulary
from whisper_max.errors import AudioError, OptionError
from whisper_max.transcribe.options import TranscribeOptions
from whisper_max.transcribe.scheduler import Scheduler, transcribe_windows

RECORDINGS = [
    (7000, {"temperature": (0.0, 0.6), "logprob_threshold": -0.5, "language": "en"}),
    (0, {"language": "de"}),
    (3000, {"beam_size": 3, "temperature": 0.0, "language": "fr"}),
    (9000, {"temperature": (0.0, 0.4), "best_of": 2, "compression_ratio_threshold": 1.0, "initial_prompt": "abc"}),
    (500, {"word_timestamps": True, "temperature": 0.0, "task": "translate"}),
    (6400, {"multilingual": True, "temperature": 0.0, "hotwords": "xyz"}),
    (12_345, {"temperature": (0.0, 0.8), "logprob_threshold": -0.3, "seed": 5}),
]


def transcription(inference, key, n_frames, options):
    return begun(inference, vocabulary(), FakeMel(n_frames, key), TranscribeOptions(**options))


def run(scheduler, found):
    while not scheduler.idle:
        for advance in scheduler.advance():
            found.setdefault(advance.id, []).append(advance)


@cache
def alone(key):
    inference = FakeInference()
    work = transcription(inference, key, *RECORDINGS[key])
    return list(transcribe_windows(inference, work))


@pytest.mark.seconds
@pytest.mark.parametrize("encode_size", [1, 4])
@pytest.mark.parametrize("max_windows", [1, 3, 8])
def test_recordings_of_different_options_share_a_batch(max_windows, encode_size):
    inference = FakeInference(encode_size=encode_size)
    scheduler = Scheduler(inference, max_windows=max_windows)
    found = {}
    tickets = []
    for key, recording in enumerate(RECORDINGS):
        tickets.append(scheduler.add(transcription(inference, key, *recording)))
        for _ in range(25):  # the next one joins while the others are under way
            for advance in scheduler.advance():
                found.setdefault(advance.id, []).append(advance)
    run(scheduler, found)
    for key, ticket in enumerate(tickets):
        assert [segment for advance in found[ticket] for segment in advance.segments] == alone(key)
        assert [advance.done for advance in found[ticket]] == [False] * (len(found[ticket]) - 1) + [True]


@pytest.mark.seconds
@pytest.mark.parametrize(("max_windows", "fits"), [(1, 9), (8, 2), (8, 9)])
def test_a_device_that_chooses_tokens_gives_the_hosts_segments(max_windows, fits):
    """Each recording with its own options: beams, a language to each window and the like stay with the host."""
    device = FakeDevice(fits=fits, encode_size=4)
    scheduler = Scheduler(device, max_windows=max_windows)
    found = {}
    tickets = [scheduler.add(transcription(device, key, *recording)) for key, recording in enumerate(RECORDINGS)]
    run(scheduler, found)
    for key, ticket in enumerate(tickets):
        assert [segment for advance in found[ticket] for segment in advance.segments] == alone(key)
    assert device.started > 10
    assert device.lent == []
    assert (max_windows, 3) in device.shapes  # of the beams


def test_a_recording_removed_from_a_device_leaves_its_places_at_once():
    device = FakeDevice()
    scheduler = Scheduler(device, max_windows=2)
    first, second = (scheduler.add(transcription(device, key, *RECORDINGS[key])) for key in (0, 6))
    while len(scheduler._work) < 2:
        assert scheduler.advance() == []
    scheduler.remove(first)
    assert scheduler._pool.room == 1
    third = scheduler.add(transcription(device, 3, *RECORDINGS[3]))
    found = {}
    run(scheduler, found)
    assert sorted(found) == [second, third]
    for ticket, key in ((second, 6), (third, 3)):
        assert [segment for advance in found[ticket] for segment in advance.segments] == alone(key)
    assert device.lent == []


def test_recordings_take_turns():
    inference = FakeInference()
    scheduler = Scheduler(inference, max_windows=1)
    options = {"language": "en", "temperature": 0.0}
    scheduler.add(transcription(inference, 0, 30_000, options))
    scheduler.add(transcription(inference, 1, 30_000, options))
    short = None
    order = []
    while not scheduler.idle:
        if len(order) == 4 and short is None:
            short = scheduler.add(transcription(inference, 2, 300, options))
        order += [advance.id for advance in scheduler.advance()]
    assert order[:4] == [0, 1, 0, 1]
    assert short in order[4:7]


def test_a_removed_recording_leaves_its_places_at_once():
    inference = FakeInference()
    scheduler = Scheduler(inference, max_windows=2)
    first, second = (scheduler.add(transcription(inference, key, *RECORDINGS[key])) for key in (0, 6))
    while not scheduler._work or len(scheduler._work) < 2:
        assert scheduler.advance() == []
    scheduler.remove(first)
    scheduler.remove(first)
    third = scheduler.add(transcription(inference, 3, *RECORDINGS[3]))
    found = {}
    run(scheduler, found)
    assert sorted(found) == [second, third]
    for ticket, key in ((second, 6), (third, 3)):
        assert [segment for advance in found[ticket] for segment in advance.segments] == alone(key)


@pytest.mark.parametrize("make", [FakeInference, FakeDevice])
def test_one_that_fails_does_not_stop_the_others(monkeypatch, make):
    inference = make()
    scheduler = Scheduler(inference, max_windows=4)
    nothing_left = {"suppress_tokens": list(range(DIMS.n_vocab)), "language": "en"}
    silent = scheduler.add(transcription(inference, 0, 3000, nothing_left))
    broken = transcription(inference, 1, 9000, {"language": "en"})
    read = broken.mel.window

    def fail_later(seek, size):
        if seek:
            raise AudioError("decoded samples can't be read back")
        return read(seek, size)

    monkeypatch.setattr(broken.mel, "window", fail_later)
    unreadable = scheduler.add(broken)
    good = scheduler.add(transcription(inference, 2, *RECORDINGS[2]))
    found = {}
    run(scheduler, found)
    assert [segment for advance in found[good] for segment in advance.segments] == alone(2)
    last = found[unreadable][-1]
    assert (last.done, last.segments, type(last.error)) == (True, [], AudioError)
    assert len(found[unreadable]) == 2
    (only,) = found[silent]
    assert (only.done, type(only.error)) == (True, OptionError)


def test_room():
    inference = FakeInference()
    scheduler = Scheduler(inference, max_windows=2)
    assert (scheduler.idle, scheduler.has_room, scheduler.advance()) == (True, True, [])
    scheduler.add(transcription(inference, 0, *RECORDINGS[0]))
    assert (scheduler.idle, scheduler.has_room) == (False, True)
    scheduler.add(transcription(inference, 0, *RECORDINGS[0]))
    assert not scheduler.has_room
