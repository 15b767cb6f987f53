import io
import json
import math
import os
import queue
import signal
import sys
import threading
import types
from typing import Any

import numpy as np
import pytest

import whisper_max
from tests.support.fake_inference import DIMS, FakeInference
from tests.support.live_world import hear_words, live_words
from tests.support.synthetic_vocabulary import synthetic_vocabulary
from whisper_max import api
from whisper_max.commands import live as cli_live
from whisper_max.commands import main as cli
from whisper_max.commands import sound as cli_sound
from whisper_max.errors import AudioError
from whisper_max.live import Committed, SpeakersHeard, Tentative, UtteranceEnded
from whisper_max.live import transcriber as live_transcriber
from whisper_max.model.speakers.shapes import EMBEDDING, N_CLASSES, N_FRAMES
from whisper_max.speakers import online
from whisper_max.transcribe.turns import Turn

RATE = 16000


@pytest.fixture
def fake_model(monkeypatch):
    model = api.Model(FakeInference(DIMS), synthetic_vocabulary())
    monkeypatch.setattr(whisper_max, "load_model", lambda *_args, **_options: model)
    monkeypatch.setattr(live_transcriber, "new_detector", lambda: lambda chunk: float(np.abs(chunk).max() > 0.1))


def pcm(seconds, quiet=1.0):
    rng = np.random.default_rng(11)
    samples = np.concatenate([rng.uniform(-0.5, 0.5, round(seconds * RATE)), np.zeros(round(quiet * RATE))])
    return (samples * 32767).astype("<i2").tobytes()


class OneByOne(queue.Queue):
    """Pieces that are never more than one at a time.

    How many wait depends on how busy the machine is, and so does when the model is asked: a stand-in that says
    something else of each window may then say nothing that two decodings agree on.
    """

    def empty(self):
        return True


@pytest.fixture
def piped(monkeypatch):
    """Gives bytes to standard input, through a pipe; returns its writing end's closer."""
    monkeypatch.setattr(cli_sound, "queue", types.SimpleNamespace(Queue=OneByOne))
    monkeypatch.setattr(cli_sound, "_LAGGING", math.inf)  # a busy machine lags, and would say so

    def give(data, close=True):
        reading, writing = os.pipe()
        monkeypatch.setattr(sys, "stdin", os.fdopen(reading, "rb"))

        def write():
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(data)
                pipe.flush()
                if not close:
                    ended.wait(600)

        thread = threading.Thread(target=write)
        thread.start()
        threads.append(thread)

    ended, threads = threading.Event(), []
    yield give
    ended.set()
    for thread in threads:
        thread.join(60)
    sys.stdin.close()


def test_standard_input_to_the_screen_and_a_file(fake_model, piped, capsys, tmp_path):
    piped(pcm(4) + pcm(3))
    out = tmp_path / "said.srt"
    assert cli.main(["live", "--language", "en", "--output", str(out)]) == 0
    shown = capsys.readouterr()
    assert shown.err == f"wrote {out}\n"
    lines = shown.out.splitlines()
    assert "\x1b" not in shown.out
    written = "".join(
        line for line in out.read_text().split("\n") if line and "-->" not in line and not line.isdecimal()
    )
    assert written.replace(" ", "") == "".join(lines).replace(" ", "")
    assert len(written) > 10


@pytest.mark.parametrize("flags", [[], ["--whole_windows"]])
def test_whole_windows_are_encoded_where_that_is_asked_for(fake_model, piped, monkeypatch, flags):
    asked = []
    live = api.Model.live
    monkeypatch.setattr(api.Model, "live", lambda *of, **how: (asked.append(how["whole_windows"]), live(*of, **how))[1])
    piped(pcm(1))
    assert cli.main(["live", "--language", "en", *flags]) == 0
    assert asked == [bool(flags)]


def test_that_a_graph_is_compiled_is_told(fake_model, piped, monkeypatch, capsys):
    monkeypatch.setattr("whisper_max.engine.renewal.renewal_of", lambda inference, report: report("compiling"))
    piped(pcm(1))
    assert cli.main(["live", "--language", "en"]) == 0
    assert "compiling" in capsys.readouterr().err.splitlines()


def test_channels_that_cancel_each_other_are_told_once(fake_model, piped, capsys):
    left = np.frombuffer(pcm(3), "<i2")
    piped(np.stack([left, -left], axis=1).tobytes())
    assert cli.main(["live", "-", "--rate", str(RATE), "--channels", "2", "--no_vad"]) == 0
    assert capsys.readouterr().err.count("the channels would cancel each other: the loudest is used alone") == 1


def test_ctrl_c_finishes_with_the_transcript(fake_model, piped, monkeypatch, capsys, tmp_path):
    piped(pcm(4, quiet=0), close=False)
    out = tmp_path / "said.json"
    before = signal.getsignal(signal.SIGINT)
    feed, timers = live_transcriber.LiveTranscriber.feed, []

    def hear(self, samples):
        if not timers:  # the command listens
            timers.append(threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)))
            timers[0].start()
        return feed(self, samples)

    monkeypatch.setattr(live_transcriber.LiveTranscriber, "feed", hear)
    try:
        assert cli.main(["live", "--language", "en", "-o", str(out)]) == 0
    finally:
        timers[0].join()
    assert signal.getsignal(signal.SIGINT) is before
    assert out.read_text().startswith('{"text":')
    assert "interrupted" not in capsys.readouterr().err


def test_a_machine_that_is_too_slow_says_so_once_and_when_it_has_caught_up(monkeypatch, capsys):
    clock = iter([0.0, 3.0, 8.0, 20.0, 21.0])
    monkeypatch.setattr(cli_sound, "time", types.SimpleNamespace(monotonic=lambda: next(clock)))
    pieces, counts = OneByOne(), iter([70, 70, 70, 5])
    monkeypatch.setattr(pieces, "qsize", lambda: next(counts))
    for piece in [*(4 * [np.zeros(1600, np.int16)]), None]:
        pieces.put(piece)
    slow = types.SimpleNamespace(feed=lambda samples: [], position=0.5)
    cli_sound.follow(slow, pieces, lambda events: None)  # type: ignore[arg-type]
    told = ["this machine lags 7 s behind; nothing is lost", "it has caught up"]
    assert capsys.readouterr().err.splitlines() == told


def test_half_a_sample_is_an_error_and_what_was_heard_before_it_is_kept(fake_model, piped, capsys, tmp_path):
    piped(pcm(3) + b"\x00")
    out = tmp_path / "said.txt"
    assert cli.main(["live", "--language", "en", "--output", str(out)]) == 1
    shown = capsys.readouterr()
    assert shown.err == f"wrote {out}\nerror: standard input: the sound ends within a sample\n"
    assert len(shown.out.strip()) > 10
    assert "".join(out.read_text().split()) == "".join(shown.out.split())


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--output", "said.doc"], "output: unknown format"),
        (["--step", "0"], "step: out of range"),
        (["--rate", "3"], "sampling_rate: out of range"),
    ],
)
def test_wrong_usage(fake_model, piped, capsys, argv, message):
    piped(b"")
    assert cli.main(["live", *argv]) == 2
    assert message in capsys.readouterr().err


def test_a_microphone_needs_its_extra(fake_model, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert cli.main(["live", "microphone"]) == 2
    assert "pip install 'whisper-max[microphone]'" in capsys.readouterr().err


def fake_sounddevice(data, fails=False):
    module: Any = types.ModuleType("sounddevice")

    class PortAudioError(Exception):
        pass

    class RawInputStream:
        def __init__(self, *, samplerate, blocksize, device, channels, dtype, callback):
            if fails:
                raise PortAudioError("no such device")
            assert (samplerate, channels, dtype, device) == (RATE, 1, "int16", 3)
            self.callback, self.size = callback, blocksize * 2

        def __enter__(self):
            status = types.SimpleNamespace(input_overflow=False)
            for start in range(0, len(data), self.size):
                self.callback(memoryview(data)[start : start + self.size], self.size // 2, None, status)
            signal.raise_signal(signal.SIGINT)
            return self

        def __exit__(self, *_):
            return None

    module.RawInputStream, module.PortAudioError, module.CallbackStop = RawInputStream, PortAudioError, StopIteration
    return module


def test_a_microphone(fake_model, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sounddevice", fake_sounddevice(pcm(4)))
    assert cli.main(["live", "microphone", "--input_device", "3", "--language", "en"]) == 0
    shown = capsys.readouterr()
    assert shown.err == "listening; Ctrl-C ends it\n"
    assert len(shown.out) > 5


def test_a_microphone_that_can_not_be_opened(fake_model, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sounddevice", fake_sounddevice(b"", fails=True))
    assert cli.main(["live", "microphone", "--input_device", "3"]) == 1
    assert "the microphone can't be opened" in capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_tentative_words_are_dimmed_and_taken_back(monkeypatch):
    monkeypatch.setenv("COLUMNS", "12")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    screen = cli_live.Screen(terminal)
    words = tuple(live_words("so my fellow Americans"))
    screen.show(
        [Tentative(0, words[:2]), Committed(0, words[:2]), Tentative(0, words[2:]), UtteranceEnded(0, 0, 1, "en", 1)]
    )
    assert terminal.getvalue() == (
        "\x1b[K\x1b7\x1b[2m so my\x1b[0m\x1b8\x1b[Kso my\x1b[K\x1b7\x1b[2m fell\x1b[0m\x1b8\x1b[K\n"
    )


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_plain_terminal_gets_no_control_sequences(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    terminal = Terminal()
    words = tuple(live_words("so my fellow"))
    screen = cli_live.Screen(terminal)
    screen.show([Tentative(0, words), Committed(0, words), UtteranceEnded(0, 0, 1, "en", 1)])
    assert terminal.getvalue() == "so my fellow\n"


def test_speakers_are_told_apart_where_that_is_asked_for(fake_model, piped, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(online, "load_networks", OneVoice)
    monkeypatch.setattr(live_transcriber.LiveTranscriber, "_heard", hear_words)
    out = tmp_path / "talk.json"
    piped(pcm(6.0))
    assert cli.main(["live", "--language", "en", "--speakers", "1-3", "-o", str(out)]) == 0
    assert capsys.readouterr().out.startswith("Speaker 1: ")
    segments = json.loads(out.read_text())["segments"]
    assert segments
    assert {segment["speaker"] for segment in segments} == {"Speaker 1"}


def test_an_impossible_number_of_speakers(fake_model, capsys, tmp_path):
    pipe = tmp_path / "sound.wav"
    pipe.write_bytes(b"")
    assert cli.main(["live", str(pipe), "--speakers", "some"]) == 2
    assert "impossible number of speakers" in capsys.readouterr().err


class OneVoice:
    """Hears one speaker all the time."""

    def segment(self, sound, starts):
        logits = np.zeros((len(starts), N_FRAMES, N_CLASSES), np.float32)
        logits[:, :, 1] = 9
        return logits

    def embed(self, voices):
        return np.eye(1, EMBEDDING, dtype=np.float32).repeat(len(voices), axis=0)


def test_each_speaker_has_a_line(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    screen = cli_live.SpeakerScreen(terminal)
    words = tuple(live_words("so my fellow Americans ask"))  # half a second apart
    screen.show([Committed(0, words[:2]), Tentative(0, words[2:])])
    assert terminal.getvalue() == ""
    turns = (Turn(0.0, 1.45, 7), Turn(1.45, 2.0, 3))
    screen.show([SpeakersHeard(turns[:1])])
    assert terminal.getvalue() == "Speaker 1: so my"
    screen.show([Committed(0, words[2:4]), UtteranceEnded(0, 0, 2, "en", 1), Committed(1, words[4:])])
    screen.show([SpeakersHeard(turns)])
    assert terminal.getvalue() == "Speaker 1: so my fellow\nSpeaker 2: Americans\nSpeaker 2: ask"


def test_words_that_wait_for_their_speaker_are_dimmed(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    words = tuple(live_words("so my"))
    cli_live.SpeakerScreen(terminal).show([Committed(0, words[:1]), Tentative(0, words[1:])])
    assert terminal.getvalue() == "\x1b[K\x1b7\x1b[2m so my\x1b[0m\x1b8"


class SlowLive:
    """Takes what it is fed and notes how much came at once."""

    position = 0.0

    def __init__(self):
        self.fed = []

    def feed(self, samples):
        self.fed.append(len(samples))
        return []


def test_what_waits_is_fed_at_once():
    live: Any = SlowLive()
    pieces = queue.Queue()
    for _ in range(5):
        pieces.put(np.zeros(1600, np.int16))
    pieces.put(None)
    cli_sound.follow(live, pieces, list)
    assert live.fed == [8000]


def test_errors_come_after_what_was_said_before():
    live: Any = SlowLive()
    pieces = queue.Queue()
    pieces.put(np.zeros(1600, np.int16))
    pieces.put(AudioError("broken"))
    with pytest.raises(AudioError, match="broken"):
        cli_sound.follow(live, pieces, list)
    assert live.fed == [1600]


def test_stdin_that_is_a_terminal(fake_model, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", Terminal())
    assert cli.main(["live"]) == 1
    assert "standard input: no sound" in capsys.readouterr().err
