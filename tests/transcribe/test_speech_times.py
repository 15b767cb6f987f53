import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.fake_inference import ENGLISH_DIMS, FakeInference
from tests.support.recordings import begun
from tests.support.synthetic_vocabulary import synthetic_vocabulary as vocabulary
from whisper_max.audio.mel import MelWindows
from whisper_max.audio.speech import SpeechWaveform, Timeline
from whisper_max.audio.vad_options import VadOptions
from whisper_max.audio.waveform import ArrayWaveform
from whisper_max.errors import OptionError
from whisper_max.transcribe import speech as speech_module
from whisper_max.transcribe.options import TranscribeOptions
from whisper_max.transcribe.result import Segment, Word
from whisper_max.transcribe.scheduler import transcribe_windows
from whisper_max.transcribe.speech import Speech, listen


def segment(start, end, words=None, seek=0):
    return Segment(0, seek, start, end, "", [], 0.0, 0.0, 0.0, 0.0, words)


def silent(start, stop):
    """Chances of speech: none."""
    return np.zeros(stop - start, np.float32)


def speech(*spans, seconds=1000):
    timeline = Timeline([(round(start * 16000), round(end * 16000)) for start, end in spans], seconds * 16000)
    return Speech(timeline, silent, 0.35)


def restored(found, *segments):
    found.restore(segments)
    return [(each.start, each.end) for each in segments]


def test_points_in_time_move_with_their_span():
    found = speech((10, 14), (60, 66))
    assert restored(found, segment(0, 2.5), segment(3, 4), segment(4, 7.5), segment(3.5, 5)) == [
        (10, 12.5),
        (13, 14),  # ends with the earlier span
        (60, 63.5),  # starts with the later one
        (13.5, 61),  # reaches over the silence
    ]


def test_times_beyond_the_speech_end_with_it():
    assert restored(speech((10, 14)), segment(3, 30), segment(4, 4)) == [(13, 14), (14, 14)]


def test_words_stay_in_one_span_and_their_segment_with_them():
    words = [Word(" a", 1.0, 3.5, 1.0), Word(" b", 3.9, 4.5, 1.0), Word(" c", 4.5, 4.7, 1.0)]
    one = segment(1.0, 4.7, words, seek=450)
    assert restored(speech((10, 14), (60, 66)), one) == [(11, 60.7)]
    assert [(word.start, word.end) for word in words] == [(11, 13.5), (60, 60.5), (60.5, 60.7)]
    assert one.seek == 6050


def test_a_segment_is_where_its_first_and_last_words_are():
    early, late = Word(" a", 3.9, 4.5, 1.0), Word(" b", 3.5, 4.1, 1.0)
    assert restored(speech((10, 14), (60, 66)), segment(3.9, 4.5, [early])) == [(60, 60.5)]
    assert restored(speech((10, 14), (60, 66)), segment(3.5, 4.1, [late])) == [(13.5, 14)]


def test_without_a_timeline_nothing_moves():
    assert restored(Speech(None, silent, 0.35), segment(1, 2)) == [(1, 2)]


@st.composite
def transcripts(draw):
    """Spans in hundredths of a second, and segments of words in order."""
    borders = sorted(draw(st.lists(st.integers(0, 20_000), min_size=2, max_size=10, unique=True)))
    spans = [(start / 100, end / 100) for start, end in zip(borders[::2], borders[1::2], strict=False)]
    length = sum(round((end - start) * 100) for start, end in spans)
    times = sorted(draw(st.lists(st.integers(0, length + 300), min_size=2, max_size=24)))
    words = [Word(" a", a / 100, b / 100, 1.0) for a, b in zip(times[::2], times[1::2], strict=False)]
    size, with_words = draw(st.integers(1, 4)), draw(st.booleans())
    groups = [words[i : i + size] for i in range(0, len(words), size)]
    segments = [segment(group[0].start, group[-1].end, group if with_words else None) for group in groups]
    return speech(*spans), segments


@settings(max_examples=300, deadline=None)
@given(transcripts())
def test_restored_times_are_in_speech_and_never_go_back(transcript):
    found, segments = transcript
    before = [(each.start, each.end) for each in segments]
    found.restore(segments)
    borders = [time for each in segments for time in (each.start, each.end)]
    assert borders == sorted(borders)
    words = [time for each in segments for word in each.words or () for time in (word.start, word.end)]
    assert words == sorted(words)
    spans = [(start / 16000, end / 16000) for start, end in found.timeline.spans]
    assert all(any(start <= time <= end for start, end in spans) for time in borders + words)
    for (start, end), each in zip(before, segments, strict=True):
        if each.words is None:
            for there, back in ((start, each.start), (end, each.end)):
                spoken = found.timeline.spoken(round(back * 16000))
                assert spoken == min(round(there * 16000), found.timeline.n_samples)


def heard(monkeypatch, probabilities, n_samples, **options):
    monkeypatch.setattr(speech_module, "speech_probabilities", lambda _: np.array(probabilities, np.float32))
    waveform = ArrayWaveform(np.arange(n_samples, dtype=np.float32))
    return waveform, *listen(waveform, TranscribeOptions(**options))


def test_nothing_is_listened_for_when_nobody_asks(monkeypatch):
    monkeypatch.setattr(speech_module, "speech_probabilities", None)
    waveform = ArrayWaveform(np.zeros(1000, np.float32))
    assert listen(waveform, TranscribeOptions()) == (waveform, None)


def test_listening_for_places_to_cut(monkeypatch):
    heard_chunks = []

    def listener(chunks):
        heard_chunks.extend(chunks[:, 0].astype(int).tolist())
        return chunks[:, 0] / 100_000

    monkeypatch.setattr(speech_module, "new_listener", lambda: listener)
    waveform = ArrayWaveform(np.arange(50_000, dtype=np.float32))
    given, found = listen(waveform, TranscribeOptions(batch_size=4))
    assert given is waveform
    assert found.timeline is None
    assert found.silence_threshold == 0.35
    assert heard_chunks == []
    chunk_of_frame = np.array([200, 201, 202, 203]) * 160 // 512
    np.testing.assert_allclose(found.chances(200, 204), chunk_of_frame * 512 / 100_000, rtol=1e-6)
    assert heard_chunks == [512 * chunk for chunk in range(31, 64)]  # from a second before the first frame
    heard_chunks.clear()
    assert len(found.chances(0, 50_000 // 160)) == 312
    assert heard_chunks[0] == 0


def test_listening_for_speech(monkeypatch):
    values = {"min_speech_duration_ms": 0, "min_silence_duration_ms": 0, "speech_pad_ms": 10, "neg_threshold": 0.2}
    _, given, found = heard(monkeypatch, [0.1, 0.9, 0.1, 0.1, 0.1], 2560, vad=True, vad_options=values)
    assert found.timeline.spans == [(320, 1280)]
    assert given.n_samples == 960
    np.testing.assert_array_equal(given.read(0, 960), np.arange(320, 1280))
    np.testing.assert_allclose(found.chances(0, 6), [0.1, 0.1, 0.9, 0.9, 0.9, 0.1])
    assert found.silence_threshold == 0.2


def nothing_said(inference, **options):
    words = vocabulary() if inference.dims.is_multilingual else vocabulary(english=True)
    recording = ArrayWaveform(np.zeros(16000 * 50, np.float32))
    timeline = Timeline([], recording.n_samples)
    mel = MelWindows(SpeechWaveform(recording, timeline), inference.dims.n_mels)
    found = Speech(timeline, silent, 0.35)
    work = begun(inference, words, mel, TranscribeOptions(vad=True, **options), found)
    return work, work.result(list(transcribe_windows(inference, work)))


@pytest.mark.parametrize("batch_size", [1, 8])
def test_where_nothing_is_said_there_is_no_text_and_no_language(batch_size):
    inference = FakeInference()
    work, result = nothing_said(inference, batch_size=batch_size)
    assert (result.text, result.segments, result.language, result.language_probability) == ("", [], "", 0.0)
    assert (result.duration, result.duration_after_vad, work.progress) == (50.0, 0.0, (5000, 5000))
    assert inference.encoded == 0
    assert nothing_said(inference, language="German")[1].language == "de"
    assert nothing_said(FakeInference(ENGLISH_DIMS))[1].language == "en"


def test_clips_count_in_the_recording():
    inference = FakeInference()
    recording = ArrayWaveform(np.random.default_rng(3).normal(0, 0.1, 16000 * 100).astype(np.float32))
    timeline = Timeline([(16000 * 10, 16000 * 30), (16000 * 50, 16000 * 90)], recording.n_samples)
    mel = MelWindows(SpeechWaveform(recording, timeline), 2)
    found = Speech(timeline, silent, 0.35)

    def windows(clips):
        options = TranscribeOptions(vad=True, language="en", clip_timestamps=clips)
        (task,) = begun(inference, vocabulary(), mel, options, found).pieces
        while (window := task.next_window()) is not None:
            yield window.seek, window.size
            task.commit(silent_cut(window))

    assert list(windows("20,60")) == [(1000, 2000)]  # 20 to 30 and 50 to 60 s
    assert list(windows("0,5,35,45,80")) == [(5000, 1000)]  # silence, silence, 80 to 90 s
    with pytest.raises(OptionError, match=r"clip_timestamps: outside the recording: expected times from 0 to 100.0 s"):
        list(windows("101"))


def silent_cut(window):
    from whisper_max.decode.decoded import Decoded
    from whisper_max.transcribe.window import Cut

    result = Decoded("en", [], "", avg_logprob=0.0, no_speech_prob=0.0, temperature=0.0, compression_ratio=1.0)
    return Cut(window, result, window.seek + window.size, skipped=True)


def test_vad_options_by_name_or_as_they_are():
    given = VadOptions(threshold=0.6)
    assert TranscribeOptions(vad=True, vad_options=given).speech is given
    assert TranscribeOptions(vad=True, vad_options={"threshold": 0.6}).speech == given
    assert TranscribeOptions(vad=True).speech == VadOptions()
