import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whisper_max.audio import mel as mel_module
from whisper_max.audio.mel import (
    CHUNK_LENGTH,
    FRAMES_PER_SECOND,
    HOP_LENGTH,
    N_FRAMES,
    N_SAMPLES,
    TOKENS_PER_SECOND,
    MelWindows,
)
from whisper_max.audio.mel_array import log_mel_spectrogram
from whisper_max.audio.mel_filters import mel_filters
from whisper_max.audio.waveform import ArrayWaveform
from whisper_max.errors import AudioError

REFERENCE = Path(__file__).parent / "data" / "mel_reference.npz"
REFERENCE_TOLERANCE = 1e-5  # against openai-whisper, whose transform rounds in float32
REFERENCE_OUTLIERS = 1e-3  # share of bins, far below a loud neighbour, where that rounding is larger: up to 1e-4
EXACT_TOLERANCE = 5e-7  # against the same formula in float64


@pytest.fixture(scope="module")
def reference():
    with np.load(REFERENCE) as arrays:
        return dict(arrays)


@pytest.fixture
def recording():
    """7.3 s that are neither a whole number of frames nor of blocks, with a quiet half and a loud one."""
    rng = np.random.default_rng(7)
    samples = 0.2 * rng.standard_normal(7 * 16000 + 4807).astype(np.float32)
    samples[: 3 * 16000] *= 1e-4
    return samples


def assert_near_reference(found, reference):
    error = np.abs(found - reference)
    assert error.max() <= 10 * REFERENCE_TOLERANCE
    assert (error > REFERENCE_TOLERANCE).mean() <= REFERENCE_OUTLIERS


def exact_log_mel(waveform, n_mels):
    """The formula spelled out: one dot product per frame and frequency, all in float64."""
    angles = (np.arange(400, dtype=np.float32) * np.float32(2 * np.pi / 400)).astype(np.float64)
    window = 0.5 - 0.5 * np.cos(angles).astype(np.float32)
    k, n = np.arange(201)[:, None], np.arange(400)
    basis = np.exp(-2j * np.pi * (k * n % 400) / 400)
    padded = np.pad(waveform.astype(np.float64), 200, mode="reflect")
    frames = np.stack([padded[i * 160 : i * 160 + 400] for i in range(len(waveform) // 160)])
    power = np.abs((frames * window) @ basis.T) ** 2
    log_mel = np.log10(np.maximum(mel_filters(n_mels).astype(np.float64) @ power.T, 1e-10))
    return (np.maximum(log_mel, log_mel.max() - 8) + 4) / 4


def test_constants_follow_from_one_another():
    assert (N_SAMPLES, N_FRAMES, CHUNK_LENGTH) == (480000, 3000, 30)
    assert (FRAMES_PER_SECOND, TOKENS_PER_SECOND) == (100, 50)


@pytest.mark.parametrize("n_mels", [80, 128])
def test_filters_are_triangles_of_equal_area(n_mels):
    filters = mel_filters(n_mels)
    assert filters.shape == (n_mels, 201)
    assert filters.dtype == np.float32
    assert filters.min() == 0.0
    assert (filters.max(axis=1) > 0).all()
    assert mel_filters(n_mels) is filters
    assert not filters.flags.writeable
    for row in filters:
        support = np.flatnonzero(row)
        assert (np.diff(support) == 1).all()


def test_filters_equal_librosa_at_known_places():
    # librosa.filters.mel(sr=16000, n_fft=400), as in openai-whisper's mel_filters.npz
    filters = mel_filters(80)
    rows, columns = [0, 1, 40, 40, 40, 79], [1, 1, 42, 43, 44, 188]
    known = [0.024862595, 0.001990822, 0.005411105, 0.014735566, 0.00651819, 0.001299398]
    assert filters[rows, columns] == pytest.approx(known, abs=5e-9)
    assert mel_filters(128)[[0, 64, 127], [1, 52, 195]] == pytest.approx([0.012373987, 0.0, 0.005041602], abs=5e-9)


@pytest.mark.parametrize("n_mels", [80, 128])
def test_equals_openai_whisper(reference, n_mels):
    waveform = reference["samples"].astype(np.float32) / 32768
    found = log_mel_spectrogram(waveform, n_mels)
    assert found.dtype == np.float32
    assert found.shape == (n_mels, 100)
    assert_near_reference(found, reference[f"mel_{n_mels}"])
    assert np.abs(found - exact_log_mel(waveform, n_mels)).max() <= EXACT_TOLERANCE


@pytest.mark.parametrize("n_mels", [80, 128])
def test_padding_equals_openai_whisper(reference, n_mels):
    waveform = reference["samples"].astype(np.float32) / 32768
    found = log_mel_spectrogram(waveform, n_mels, padding=N_SAMPLES)
    assert found.shape == (n_mels, 3100)
    assert_near_reference(found[:, 90:110], reference[f"padded_{n_mels}"])
    assert (found[:, 110:] == found[0, 110]).all()


@pytest.mark.parametrize("n_samples", [201, 319, 320, 16000, 20479, 20480, 20481, 45678])
@pytest.mark.parametrize("n_mels", [80, 128])
def test_equals_the_formula_in_float64_at_any_length(n_samples, n_mels):
    waveform = np.random.default_rng(n_samples).standard_normal(n_samples).astype(np.float32)
    found = log_mel_spectrogram(waveform, n_mels)
    assert found.shape == (n_mels, n_samples // 160)
    assert np.abs(found - exact_log_mel(waveform, n_mels)).max() <= EXACT_TOLERANCE


def test_is_near_the_formula_where_a_loud_tone_hides_the_rest():
    """Bins 70 dB below a tone in the same frame: float32 transforms lose them, this one does not."""
    t = np.arange(8000) / 16000
    waveform = (0.9 * np.sin(2 * np.pi * 1000 * t)).astype(np.float32)
    assert np.abs(log_mel_spectrogram(waveform, 80) - exact_log_mel(waveform, 80)).max() <= EXACT_TOLERANCE


@pytest.mark.parametrize("n_samples", [0, 1, 200])
def test_too_short_to_mirror_is_refused(n_samples):
    with pytest.raises(AudioError, match=f"expected more than 200 samples, found {n_samples}"):
        log_mel_spectrogram(np.zeros(n_samples, np.float32), 80)


def test_silence_is_the_floor():
    assert (log_mel_spectrogram(np.zeros(1600, np.float32), 80) == np.float32(-1.5)).all()  # (log10(1e-10) + 4) / 4


@given(
    n_samples=st.integers(0, 60000),
    seek=st.integers(0, 400),
    segment_size=st.integers(0, N_FRAMES),
    seed=st.integers(0, 3),
)
@settings(max_examples=25, deadline=None)
def test_windows_are_slices_of_the_whole_to_the_last_bit(n_samples, seek, segment_size, seed):
    waveform = np.random.default_rng(seed).standard_normal(n_samples).astype(np.float32)
    whole = log_mel_spectrogram(waveform, 80, padding=N_SAMPLES)
    expected = np.zeros((80, N_FRAMES), np.float32)
    piece = whole[:, seek : seek + segment_size]
    expected[:, : piece.shape[1]] = piece
    assert MelWindows(ArrayWaveform(waveform), 80).window(seek, segment_size).tobytes() == expected.tobytes()


@pytest.mark.parametrize("n_mels", [80, 128])
def test_windows_are_the_same_whether_kept_or_computed_again(recording, n_mels, monkeypatch):
    kept = MelWindows(ArrayWaveform(recording), n_mels)
    first = [kept.window(seek) for seek in (0, 1, 127, 128, 300, 729)]
    monkeypatch.setattr(mel_module, "_KEPT_FRAMES", 0)
    again = MelWindows(ArrayWaveform(recording), n_mels)
    for window, seek in zip(first, (0, 1, 127, 128, 300, 729), strict=True):
        assert np.array_equal(window, again.window(seek))
    assert kept.n_frames == again.n_frames == len(recording) // HOP_LENGTH


def test_quiet_window_is_scaled_by_the_loudest_value_of_the_whole_recording(recording):
    windows = MelWindows(ArrayWaveform(recording), 80)
    alone = MelWindows(ArrayWaveform(recording[: 3 * 16000]), 80)
    assert windows.window(0, 250).max() == pytest.approx(alone.window(0, 250).max())
    assert windows.window(0, 250).min() > alone.window(0, 250).min()


def test_empty_recording_has_no_content_and_a_silent_window():
    windows = MelWindows(ArrayWaveform(np.zeros(0, np.float32)), 80)
    assert windows.n_frames == 0
    assert (windows.window(0) == np.float32(-1.5)).all()
    assert (windows.window(0, 0) == 0.0).all()


@pytest.mark.parametrize(("seek", "segment_size"), [(-1, 3000), (0, 3001), (0, -1)])
def test_impossible_windows_are_refused(seek, segment_size):
    with pytest.raises(ValueError, match="no window of"):
        MelWindows(ArrayWaveform(np.zeros(16000, np.float32)), 80).window(seek, segment_size)


class LongNoise:
    """Fifteen minutes of audio that are never in memory at once, too long for its log-mel to be kept."""

    n_samples = 900 * 16000
    duration = 900.0
    warnings = ()

    def read(self, start, stop):
        return np.random.default_rng(start).standard_normal(stop - start, np.float32)


def test_memory_does_not_grow_with_the_recording():
    windows = MelWindows(LongNoise(), 80)
    tracemalloc.start()
    try:
        windows.window(0)
        windows.window(80_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5e6  # bytes; fifteen minutes of log-mel are 29 MB
