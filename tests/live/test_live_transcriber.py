import re

import numpy as np
import pytest

from tests.support.fake_inference import ENGLISH_DIMS, FakeInference
from tests.support.live_world import check_order, committed_text, hear_words
from tests.support.synthetic_vocabulary import synthetic_vocabulary
from whisper_max.audio.vad_options import VadOptions
from whisper_max.errors import AudioError, OptionError
from whisper_max.live import Closed, LiveOptions, LiveTranscriber, LiveTranscript, SpeakersHeard
from whisper_max.live.core import LiveCore
from whisper_max.transcribe.options import TranscribeOptions
from whisper_max.transcribe.turns import Turn

RATE = 16000


def loud(chunk):
    return float(np.abs(chunk).max() > 0.1)


def new_live(decoding=None, *, inference=None, sampling_rate=RATE, channels=1, window=None, **options):
    wanted = LiveOptions(decoding or TranscribeOptions(language="en"), **options)
    return LiveTranscriber(
        inference or FakeInference(),
        synthetic_vocabulary(),
        wanted,
        sampling_rate=sampling_rate,
        channels=channels,
        detector=None if wanted.vad is None else loud,
        window=window,
    )


def talk(seconds, quiet=0.0, rate=RATE):
    """Something loud, and silence after it."""
    rng = np.random.default_rng(11)
    sound = rng.uniform(-0.5, 0.5, round(seconds * rate)).astype(np.float32)
    return np.concatenate([sound, np.zeros(round(quiet * rate), np.float32)])


def feed(live, samples, size):
    events = [event for i in range(0, len(samples), size) for event in live.feed(samples[i : i + size])]
    return events + live.finish()


def test_whatever_is_heard_comes_in_order():
    samples = np.concatenate([talk(3, 1.5), talk(9, 2), talk(1.2)])
    events = feed(new_live(), samples, 3000)
    check_order(events)
    text = committed_text(events)
    assert len(text) > 20
    transcript = LiveTranscript()
    transcript.add(events)
    assert transcript.result().text == text
    assert transcript.result().language == "en"
    assert events == feed(new_live(), samples, 3000)


class Window:
    """Encodes windows as the model does, and notes what it heard, and where that begins."""

    def __init__(self, inference):
        self.inference = inference
        self.heard = []

    def encode(self, mel, start, *, brief):
        assert not brief  # nobody else waits
        self.heard.append(start)
        return self.inference.encode(mel[None])


def test_each_decoding_goes_on_with_the_window_of_the_stream(monkeypatch):
    samples = talk(4, 1.5)
    plain, inference = FakeInference(), FakeInference()
    expected = feed(new_live(inference=plain), samples, 1600)
    window = Window(inference)
    listenings = []
    accept = LiveCore.accept
    monkeypatch.setattr(LiveCore, "accept", lambda *of: (listenings.append(of[1]), accept(*of))[1])
    assert feed(new_live(inference=inference, window=window), samples, 1600) == expected
    assert window.heard == [each.start for each in listenings]
    assert not any(each.anew for each in listenings)
    assert len(window.heard) > 2
    assert inference.encoded == plain.encoded


class Two:
    """Hears a second speaker after six seconds."""

    def __init__(self):
        self.n_samples = 0
        self.asked = []

    def push(self, samples):
        self.n_samples += len(samples)

    def turns(self, *, final=False):
        self.asked.append(final)
        return [Turn(0.0, 6.0, 0), Turn(6.0, self.n_samples / RATE, 1)]


def test_who_speaks_is_told_after_words_and_at_the_end(monkeypatch):
    monkeypatch.setattr(LiveTranscriber, "_heard", hear_words)
    samples = np.concatenate([talk(3, 1.5), talk(4, 1.0, rate=RATE)])
    speakers = Two()
    live = LiveTranscriber(
        FakeInference(),
        synthetic_vocabulary(),
        LiveOptions(TranscribeOptions(language="en")),
        sampling_rate=2 * RATE,
        detector=loud,
        speakers=speakers,
    )
    transcript, plain = LiveTranscript(), LiveTranscript()
    events = feed(live, samples.repeat(2), 3000)
    assert speakers.n_samples == pytest.approx(len(samples), abs=100)
    told = [event for event in events if isinstance(event, SpeakersHeard)]
    assert len(told) == len(speakers.asked)
    assert speakers.asked == [False] * (len(told) - 1) + [True]
    assert len(told) > 3
    assert events[-1] == told[-1]
    transcript.add(events)
    plain.add(event for event in events if not isinstance(event, SpeakersHeard))
    result = transcript.result()
    assert {segment.speaker for segment in result.segments} == {"Speaker 1", "Speaker 2"}
    assert result.text == plain.result().text


def test_int16_at_another_rate_and_in_two_channels():
    samples = talk(2.0, 1.0, rate=48000)
    stereo = np.round(np.stack([samples, samples], axis=1) * 32767).astype(np.int16)
    live = new_live(sampling_rate=48000, channels=2)
    events = feed(live, stereo, 4801)
    assert live.position == pytest.approx(3.0, abs=1 / RATE)
    check_order(events)
    assert (events[0].start, events[-2].end) == (0.0, pytest.approx(2.3, abs=0.05))


def test_the_end_of_the_stream_ends_the_utterance():
    live = new_live()
    assert live.feed(talk(0.5)) != []
    assert type(live.finish()[-1]).__name__ == "UtteranceEnded"
    assert live.finish() == []
    with pytest.raises(OptionError, match="the stream is finished"):
        live.feed(talk(0.1))
    with pytest.raises(OptionError, match="the stream is finished"):
        live.commit()


def test_committing_by_hand():
    live = new_live(vad=None)
    live.feed(talk(1.5))
    first = live.commit()
    assert type(first[-1]).__name__ == "UtteranceEnded"
    assert live.commit() == [Closed(None)]
    events = live.feed(talk(0.5))
    assert (type(events[0]).__name__, events[0].start) == ("UtteranceStarted", 1.5)


def test_the_language_is_detected_once():
    inference = FakeInference()
    live = new_live(TranscribeOptions(), inference=inference)
    events = feed(live, np.concatenate([talk(4, 1), talk(4, 1)]), 3000)
    languages = {(event.language, event.language_probability) for event in events if hasattr(event, "language")}
    ((code, probability),) = languages - {("", 0.0)}  # that of an utterance without words
    assert len(code) == 2
    assert 0 < probability < 1


def test_options_are_checked_before_anything_is_heard():
    with pytest.raises(OptionError, match="an English-only model can't detect languages"):
        LiveTranscriber(
            FakeInference(ENGLISH_DIMS),
            synthetic_vocabulary(english=True),
            LiveOptions(TranscribeOptions(multilingual=True)),
            detector=loud,
        )
    with pytest.raises(OptionError, match=re.escape("sampling_rate: out of range")):
        new_live(sampling_rate=1)


def test_a_chunk_that_is_no_sound_changes_nothing():
    live = new_live()
    with pytest.raises(AudioError):
        live.feed(np.array([np.nan], np.float32))
    assert feed(live, talk(2.0, 1.0), 1600) == feed(new_live(), talk(2.0, 1.0), 1600)


def test_hours_take_no_more_memory():
    """An hour of silence and speech without a pause: what is kept is the buffer."""
    inference = FakeInference()
    live = new_live(
        TranscribeOptions(language="en", temperature=0.0, sample_len=3), inference=inference, step=12.0, buffer=25.0
    )
    core = live._core
    for minute in range(20):
        live.feed(talk(40) if minute % 2 else np.zeros(40 * RATE, np.float32))
        assert core.n_buffered <= 25 * RATE
        assert core._inbox.n_samples < 512
        assert len(core._agreement.committed) + len(core._agreement.tail) < 200
        assert len(core._prompt.text or "") <= 200
    assert inference.encoded > 10


def test_a_pause_may_be_as_short_as_wanted():
    options = VadOptions(min_speech_duration_ms=0, min_silence_duration_ms=100, speech_pad_ms=0)
    events = feed(new_live(vad=options), np.concatenate([talk(1, 0.2), talk(1, 0.2)]), 512)
    assert [type(event).__name__ for event in events].count("UtteranceEnded") == 2


def test_warnings_tell_of_channels_that_cancel_each_other():
    live = new_live(channels=2)
    samples = talk(2)
    assert live.warnings == []
    live.feed(np.stack([samples, -samples], axis=1))
    live.finish()
    [warning] = live.warnings
    assert (warning.kind, warning.start, warning.end) == ("cancelling channels", 0.0, 2.0)
