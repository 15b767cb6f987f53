"""Live clients that load a server: what they say and hear, when a word came, and that a refusal is told."""

import asyncio
import importlib
import json
import sys
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from tests.support.scripts import scripts_of

pytest.importorskip("fastapi", reason="the extra server is not installed")
psutil = pytest.importorskip("psutil", reason="the group benchmark is not installed")
pytest.importorskip("matplotlib", reason="the group benchmark is not installed")
pytest.importorskip("websockets.asyncio.client", reason="the extra server is not installed")

from tests.support import fake_inference  # noqa: E402
from tests.support.served import running  # noqa: E402
from whisper_max.measure.evaluate import ManifestEntry  # noqa: E402
from whisper_max.server.realtime import socket as realtime  # noqa: E402

RATE = 16000


@pytest.fixture
def script():
    with scripts_of("server"):
        yield importlib.import_module("live_load")


@pytest.fixture(scope="module")
def server():
    """Whose fake model always has something to say, and remembers nothing of it afterwards."""
    words = np.arange(30_000, 30_040)  # a space and three letters each
    fake_inference._likelier.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fake_inference, "_character", lambda signature: (14.0, 20.0, -12.0, words))
        patch.setattr(realtime, "new_detector", lambda: lambda chunk: float(np.abs(chunk).max() > 0.1))
        with running() as it:
            yield it
    fake_inference._likelier.cache_clear()


@pytest.fixture
def entries(tmp_path):
    return [entry(tmp_path / f"{seconds}.wav", seconds) for seconds in (2.0, 1.3, 1.7)]


def entry(path, seconds):
    samples = np.random.default_rng(11).uniform(-0.5, 0.5, round(seconds * RATE))
    soundfile.write(path, samples, RATE)
    return ManifestEntry(path, path.name, f"said for {seconds}", "en")


def test_clients_begin_with_different_recordings_and_speak_long_enough(script, entries):
    first, second = script.clients_of(entries[:2], 2, 3.0)
    pause = round(script.SILENCE * script.RATE)
    assert (first.said, second.said) == ("said for 2.0", "said for 1.3 said for 2.0")
    assert len(first.samples) == 2.0 * script.RATE + pause
    assert len(second.samples) == 3.3 * script.RATE + 2 * pause
    assert not first.samples[-pause:].any()
    assert 0.45 < np.abs(first.samples / 32767).max() <= 0.5


def test_samples_at_another_rate_are_the_same_sound(script):
    tone = np.sin(2 * np.pi * 200 * np.arange(RATE) / RATE).astype(np.float32)
    there = np.sin(2 * np.pi * 200 * np.arange(script.RATE) / script.RATE) * 32767
    ours = script._at_rate(tone)
    assert ours.shape == there.shape
    assert np.abs(ours - there)[:-1].max() < 0.01 * 32767  # the last one has no neighbour


def deltas(times_and_texts, words):
    """What a server sends of one item, each delta at its time, and then all of it."""
    item, kind = {"item_id": "item_1"}, "conversation.item.input_audio_transcription"
    messages = [(time, {"type": f"{kind}.delta", "delta": text, **item}) for time, text in times_and_texts]
    completed = {"type": f"{kind}.completed", "words": words, "transcript": "Oh no", **item}
    refusal = {"type": "error", "error": {"code": "input_audio_buffer_commit_empty"}}
    return [*messages, (9.0, {"type": "whisper_max.lag", "seconds": 7.5}), (9.0, completed), (9.0, refusal)]


@contextmanager
def at_times(script, client, timed):
    """A socket whose messages come at times of a clock that nobody waits for."""
    clock = SimpleNamespace(now=0.0)

    async def messages():
        for time, message in timed:
            clock.now = time
            yield json.dumps(message)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script, "time", SimpleNamespace(monotonic=lambda: client.began + clock.now))
        yield messages()


def test_a_word_is_late_from_its_end_until_its_last_letter_came(script):
    client = script.Client(np.zeros(0, np.int16), "Oh no", began=100.0)
    words = [{"word": "Oh", "end": 0.5}, {"word": " no", "end": 1.25}]
    with at_times(script, client, deltas([(1.0, "O"), (2.0, "h n"), (4.0, "o")], words)) as socket:
        asyncio.run(client._listen(socket))
    assert client.late == [1.5, 2.75]
    assert (client.heard, client.lag) == (["Oh no"], 7.5)


def test_what_the_server_refuses_ends_it_in_one_line(script):
    client = script.Client(np.zeros(0, np.int16), "")
    refused = {"type": "error", "error": {"code": "invalid_value", "message": "no such language"}}
    with (
        at_times(script, client, [(0.0, refused)]) as socket,
        pytest.raises(SystemExit, match=r"^the server refused what was sent: no such language$"),
    ):
        asyncio.run(client._listen(socket))


def test_the_report_of_a_server_that_runs(script, server, entries, tmp_path, monkeypatch, capsys):
    lines = [{"path": each.name, "transcript": each.transcript, "source": "ours"} for each in entries]
    manifest, report = tmp_path / "manifest.jsonl", tmp_path / "report.json"
    manifest.write_text("\n".join(map(json.dumps, lines)))
    one = SimpleNamespace(url=server.url, active=nullcontext, process=psutil.Process())
    asked = []

    @contextmanager
    def servers(*wanted):
        asked.append(wanted[:3])
        yield [one]

    monkeypatch.setattr(script, "servers", servers)
    options = ["--source", "ours", "--model", "tiny", "--clients", "2", "--seconds", "2", "--json", str(report)]
    monkeypatch.setattr(sys, "argv", ["live_load.py", str(manifest), *options])
    script.main()
    result = json.loads(report.read_text())
    assert asked == [("tiny", "int8", None)]
    assert str(result) in capsys.readouterr().out
    assert (result["model"], result["compute_type"], result["clients"]) == ("tiny", "int8", 2)
    assert result["spoken"] == 7.0  # the first recording twice, each with its pause
    assert result["seconds"] > 3.5  # at the pace of real time
    assert result["words"] > 0
    assert result["wer_live"] > 0  # the fake model says anything
    assert 0 < result["latency_median"] <= result["latency_p95"] < result["seconds"]
