from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whisper_max.audio.mel import MelWindows
from whisper_max.audio.speech import SpeechWaveform, Timeline
from whisper_max.audio.waveform import ArrayWaveform


@st.composite
def timelines(draw):
    n_recorded = draw(st.integers(0, 20_000))
    borders = sorted(draw(st.lists(st.integers(0, n_recorded), max_size=12)))
    return Timeline(list(zip(borders[::2], borders[1::2], strict=False)), n_recorded)


def test_spans_are_widened_to_frames_and_joined():
    timeline = Timeline([(100, 500), (600, 900), (1700, 2030)], 2000)
    assert timeline.spans == [(0, 960), (1600, 2000)]
    assert timeline.n_samples == 1360


def test_the_way_there_and_back():
    timeline = Timeline([(160, 320), (1600, 1920)], 3200)
    assert [timeline.recorded_start(sample) for sample in (0, 159, 160, 479)] == [160, 319, 1600, 1919]
    assert [timeline.recorded_end(sample) for sample in (0, 1, 160, 161, 480)] == [160, 161, 320, 1601, 1920]
    assert timeline.recorded_end(9999) == 1920
    assert [timeline.spoken(sample) for sample in (0, 160, 320, 1000, 1600, 1601, 3200)] == [
        0,
        0,
        160,
        160,
        160,
        161,
        480,
    ]


@settings(max_examples=300, deadline=None)
@given(timelines(), st.data())
def test_mapping_is_exact_and_monotone(timeline, data):
    if not timeline.spans:
        assert timeline.n_samples == 0
        assert timeline.spoken(5) == 0
        return
    samples = sorted(data.draw(st.lists(st.integers(0, timeline.n_samples + 400), min_size=1, max_size=20)))
    starts = [timeline.recorded_start(sample) for sample in samples]
    ends = [timeline.recorded_end(sample) for sample in samples]
    assert starts == sorted(starts)
    assert ends == sorted(ends)
    recorded = np.concatenate([np.arange(*span) for span in timeline.spans])
    for sample, start, end in zip(samples, starts, ends, strict=True):
        inside = min(sample, timeline.n_samples)
        assert timeline.spoken(start) == inside
        assert timeline.spoken(end) == inside
        if sample < timeline.n_samples:
            assert start == recorded[sample]
        if 0 < sample <= timeline.n_samples:
            assert end == recorded[sample - 1] + 1
    for first, second in pairwise(samples):
        if first < second:
            assert timeline.recorded_start(first) < timeline.recorded_end(second) or first >= timeline.n_samples


@settings(max_examples=200, deadline=None)
@given(timelines(), st.integers(-500, 21_000), st.integers(-500, 21_000))
def test_the_speech_reads_as_its_spans_in_a_row(timeline, start, stop):
    recording = np.random.default_rng(0).random(timeline.n_recorded, dtype=np.float32)
    whole = np.concatenate([np.zeros(0, np.float32), *(recording[begin:end] for begin, end in timeline.spans)])
    speech = SpeechWaveform(ArrayWaveform(recording), timeline)
    assert speech.n_samples == len(whole)
    found = speech.read(start, stop)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, whole[max(start, 0) : max(stop, 0)])


def test_the_mel_inside_a_span_is_the_recordings():
    rng = np.random.default_rng(1)
    recording = rng.normal(0, 0.1, 16000 * 40).astype(np.float32)
    recording[16000 * 12] = 1.0  # the loudest sample is in the speech, so both are scaled alike
    timeline = Timeline([(16000 * 2, 16000 * 4), (16000 * 11, 16000 * 15)], len(recording))
    speech = SpeechWaveform(ArrayWaveform(recording), timeline)
    whole, spoken = MelWindows(ArrayWaveform(recording), 80), MelWindows(speech, 80)
    assert spoken.n_frames == 600
    assert speech.duration == pytest.approx(6.0)
    ours, expected = spoken.window(202)[:, :396], whole.window(1102)[:, :396]
    np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-7)  # other frames share a block: the last bit may differ
