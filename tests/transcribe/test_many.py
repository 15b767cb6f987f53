"""Many recordings side by side behind the public API, with a model of fake logits."""

from dataclasses import replace

import numpy as np
import pytest
import soundfile

from tests.support.fake_inference import DIMS, FakeInference
from tests.support.synthetic_vocabulary import synthetic_vocabulary as vocabulary
from whisper_max import api
from whisper_max.audio import io as audio_io
from whisper_max.audio import waveform as waveform_module
from whisper_max.errors import AudioError, JournalError, OptionError

OPTIONS = {"temperature": (0.0, 0.6), "logprob_threshold": -0.5, "word_timestamps": True}


def model(dims=DIMS):
    return api.Model(FakeInference(dims), vocabulary())


def recording(seconds, key):
    return np.random.default_rng(key).normal(0, 0.1, round(seconds * 16000)).astype(np.float32)


RECORDINGS = [recording(seconds, key) for key, seconds in enumerate([70, 0.00001, 31, 5, 95, 12])]


@pytest.mark.seconds
@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_each_is_as_it_is_alone(batch_size):
    alone = [model().transcribe(audio, **OPTIONS) for audio in RECORDINGS]
    together = {}
    seen = []
    for outcome in model().transcribe_many(
        iter(RECORDINGS), batch_size=batch_size, on_segment=lambda *each: seen.append(each), **OPTIONS
    ):
        assert outcome.error is None
        assert outcome.audio is RECORDINGS[outcome.index]
        together[outcome.index] = outcome.result
    assert [together[index] for index in range(len(RECORDINGS))] == alone
    for index, result in together.items():
        assert [segment for place, segment in seen if place == index] == result.segments


def test_one_that_fails_does_not_stop_the_others(tmp_path):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    good = tmp_path / "good.flac"
    soundfile.write(good, recording(3, 1), 16000)
    audios = [str(broken), recording(40, 2), str(good), str(tmp_path / "missing.wav")]
    outcomes = {each.index: each for each in model().transcribe_many(audios, batch_size=2, language="en")}
    assert sorted(outcomes) == [0, 1, 2, 3]
    assert [isinstance(outcomes[index].error, AudioError) for index in range(4)] == [True, False, False, True]
    assert [outcomes[index].result is None for index in range(4)] == [True, False, False, True]
    assert outcomes[1].result == model().transcribe(audios[1], language="en")


def test_clips_beyond_one_recording_fail_that_one_only():
    options = {"clip_timestamps": "6,20", "no_speech_threshold": None}
    outcomes = {each.index: each for each in model().transcribe_many(RECORDINGS[2:4], **options)}
    assert outcomes[0].result.segments[0].seek == 600
    assert str(outcomes[1].error).startswith("clip_timestamps: outside the recording")


def test_a_recording_that_can_not_be_read_any_more(monkeypatch):
    read = waveform_module.ArrayWaveform.read

    def fail_for_the_long_one(self, start, stop):
        if self.n_samples == len(RECORDINGS[4]) and start > 16000 * 40:
            raise AudioError("decoded samples can't be read back")
        return read(self, start, stop)

    monkeypatch.setattr("whisper_max.audio.waveform.ArrayWaveform.read", fail_for_the_long_one)
    outcomes = {each.index: each for each in model().transcribe_many(RECORDINGS, batch_size=3, language="en")}
    assert [index for index, each in sorted(outcomes.items()) if each.error is not None] == [4]
    assert sorted(outcomes) == list(range(6))


def test_few_are_open_at_a_time_and_none_stays_open(monkeypatch):
    counts = {"open": 0, "most": 0}
    opened = audio_io.open_audio

    class Counting:
        def __init__(self, *args, **kwargs):
            self._context = opened(*args, **kwargs)

        def __enter__(self):
            counts["open"] += 1
            counts["most"] = max(counts["most"], counts["open"])
            return self._context.__enter__()

        def __exit__(self, *error):
            counts["open"] -= 1
            return self._context.__exit__(*error)

    monkeypatch.setattr(api, "open_audio", Counting)
    list(model().transcribe_many([recording(2, key) for key in range(20)], batch_size=3, language="en"))
    assert counts == {"open": 0, "most": 3}
    stopped = model().transcribe_many(RECORDINGS, batch_size=1, language="en")
    next(stopped)
    stopped.close()
    assert counts["open"] == 0


@pytest.mark.seconds
def test_journals_go_on_where_they_ended(tmp_path):
    names = [f"{index}.wav" for index in range(len(RECORDINGS))]
    for name, samples in zip(names, RECORDINGS, strict=True):
        soundfile.write(tmp_path / name, samples, 16000, subtype="FLOAT")
    audios = [tmp_path / name for name in names]

    def journal(audio):
        return None if audio.name == "0.wav" else audio.with_suffix(".journal")

    whole = [each.result for each in ordered(model().transcribe_many(audios, batch_size=3, **OPTIONS))]
    cut_off = model().transcribe_many(audios, batch_size=3, journal=journal, **OPTIONS)
    first = next(each for each in cut_off if each.index > 1)
    cut_off.close()
    assert len(list(tmp_path.glob("*.journal"))) >= 3
    seen, progress = [], []
    again = ordered(
        model().transcribe_many(
            audios,
            batch_size=2,
            journal=journal,
            resume=True,
            on_segment=lambda *each: seen.append(each),
            on_progress=lambda *each: progress.append(each),
            **OPTIONS,
        )
    )
    assert [each.result for each in again] == whole
    assert first.result == whole[first.index]
    for index, result in enumerate(whole):
        assert [segment for place, segment in seen if place == index] == result.segments
        steps = [done for place, done, _ in progress if place == index]
        assert steps == sorted(steps)
        assert steps[-1] == result.duration
    assert next(done for place, done, _ in progress if place == first.index) == first.result.duration


def test_a_journal_of_another_recording_fails_that_one_only(tmp_path):
    journals = [tmp_path / "a", tmp_path / "b"]
    model().transcribe(RECORDINGS[2], journal=journals[0], **OPTIONS)
    paths = iter(journals)
    many = model().transcribe_many(RECORDINGS[3:5], journal=lambda _: next(paths), resume=True, **OPTIONS)
    outcomes = ordered(many)
    assert isinstance(outcomes[0].error, JournalError)
    assert outcomes[1].value() == model().transcribe(RECORDINGS[4], **OPTIONS)
    with pytest.raises(JournalError, match="of another transcription"):
        outcomes[0].value()


def ordered(outcomes):
    return sorted(outcomes, key=lambda each: each.index)


def test_stopping():
    stops = iter([False, True])
    outcomes = list(model().transcribe_many(RECORDINGS, batch_size=4, language="en", should_stop=lambda: next(stops)))
    assert 0 < len(outcomes) < 6


@pytest.mark.parametrize(
    ("dims", "options", "message"),
    [
        (DIMS, {"batch_size": 0}, "batch_size: out of range"),
        (DIMS, {"resume": True}, "resume: needs journal"),
        (DIMS, {"beams": 5}, "beams: unknown option"),
        (replace(DIMS, n_audio_layer=32, n_text_layer=4), {"task": "translate"}, "task: turbo can't translate"),
    ],
)
def test_impossible_options_are_refused_at_once(dims, options, message):
    with pytest.raises(OptionError) as error:
        model(dims).transcribe_many(RECORDINGS, **options)
    assert str(error.value).startswith(message)


MANY_WORDS = " ".join(f"word{number}" for number in range(100_000))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prefix": MANY_WORDS}, "prefix: too long"),
        ({"suppress_tokens": [10**6]}, "suppress_tokens: no such token"),
    ],
)
def test_what_no_window_could_honour_is_refused_before_a_recording_is_opened(monkeypatch, options, message):
    def never(*_, **__):
        raise ValueError("opened")

    monkeypatch.setattr(api, "open_audio", never)
    with pytest.raises(OptionError, match=message):
        model().transcribe("a.wav", **options)
    with pytest.raises(OptionError, match=message):
        model().transcribe_many(["a.wav"], **options)
    with pytest.raises(OptionError, match=message):
        next(model().transcribe_segments("a.wav", batch_size=4, **options))
