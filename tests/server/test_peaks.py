"""What a waveform is drawn from, asked of the server."""

import io

import numpy as np
import pytest
import soundfile

from tests.support import patient
from tests.support.served import wav
from whisper_max.server.http.peaks import loudest, shown


def ask(server, content):
    return patient.post(f"{server.url}/v1/audio/peaks", files={"file": ("a.wav", content)})


def test_each_hundredth_of_a_second_has_its_loudest_sample(server):
    samples = np.zeros(16_000 * 3 + 40)
    samples[160 * 7 + 3] = 0.5
    samples[160 * 250] = -0.25
    samples[-1] = 0.125
    file = io.BytesIO()
    soundfile.write(file, samples, 16_000, format="WAV", subtype="PCM_16")
    answer = ask(server, file.getvalue())
    assert answer.headers["content-type"] == "application/octet-stream"
    peaks = np.frombuffer(answer.content, np.uint8)
    assert len(peaks) == 301
    assert {int(i): int(peaks[i]) for i in np.nonzero(peaks)[0]} == {7: 255, 250: 128, 300: 64}


@pytest.mark.parametrize("size", [1, 159, 160, 161, 1000, 100_000])
def test_how_it_is_cut_into_pieces_changes_nothing(size):
    samples = np.random.default_rng(3).normal(0, 0.1, 20_123).astype(np.float32)
    pieces = [samples[start : start + size] for start in range(0, len(samples), size)]
    expected = [np.abs(samples[start : start + 160]).max() for start in range(0, len(samples), 160)]
    assert loudest(pieces).tolist() == expected


def test_silence_and_nothing():
    assert shown(np.zeros(3, np.float32)).tolist() == [0, 0, 0]
    assert len(shown(loudest([]))) == 0


def test_what_is_refused(server, serving):
    none = patient.post(f"{server.url}/v1/audio/peaks", files={"other": ("a.wav", wav(1))})
    assert (none.status_code, none.json()["error"]["param"]) == (400, "file")
    assert ask(server, b"no recording at all" * 50).json()["error"]["code"] == "invalid_audio"
    with serving(max_seconds=2.0) as small:
        assert ask(small, wav(3)).json()["error"]["code"] == "audio_too_long"
        assert small.shared.spool.n_taken == 0
    with serving(api_keys=("sesame",)) as locked:
        assert ask(locked, wav(1)).status_code == 401
