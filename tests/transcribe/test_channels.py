"""Each channel a speaker: equal to each alone, put together by time."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fake_inference import DIMS, FakeInference
from tests.support.synthetic_vocabulary import synthetic_vocabulary as vocabulary
from tests.transcribe.test_turns import segment_of, tokenizer
from whisper_max.api import Model
from whisper_max.errors import JournalError, OptionError
from whisper_max.live.options import LiveOptions
from whisper_max.output import render
from whisper_max.transcribe.channels import ChannelRecording
from whisper_max.transcribe.options import TranscribeOptions

RATE = 16000
PLAIN: dict[str, Any] = {"language": "en", "temperature": 0.0}


def model():
    return Model(FakeInference(DIMS), vocabulary())


def noise(seconds, seed):
    return np.random.default_rng(seed).normal(0, 0.2, round(seconds * RATE)).astype(np.float32)


def together(*channels):
    return np.stack(channels, axis=1)


def words_of(segments, channel=None):
    return [
        (word.word, word.start, word.end, word.probability)
        for segment in segments
        if channel is None or segment.channel == channel
        for word in segment.words or ()
    ]


def text_of(segments, channel):
    return "".join(segment.text for segment in segments if segment.channel == channel)


@pytest.mark.seconds
@pytest.mark.parametrize(
    "options",
    [
        {"word_timestamps": True},
        {"word_timestamps": False},
        {"word_timestamps": True, "language": None},
        {"word_timestamps": True, "beam_size": 2},
        {"word_timestamps": True, "temperature": (0.0, 0.6), "compression_ratio_threshold": 1.0},
        {"word_timestamps": True, "align_segments": True},
    ],
    ids=str,
)
def test_each_channel_says_what_it_says_alone(options):
    channels = [noise(seconds, seed) for seed, seconds in enumerate((40, 40, 40))]
    options = PLAIN | options
    result = model().transcribe(together(*channels), channels="separate", **options)
    for number, channel in enumerate(channels, start=1):
        alone = model().transcribe(channel, **options)
        assert text_of(result.segments, number) == "".join(segment.text for segment in alone.segments)
        assert words_of(result.segments, number) == words_of(alone.segments)
    assert [segment.id for segment in result.segments] == list(range(len(result.segments)))
    assert result.text == "".join(segment.text for segment in result.segments)
    assert result.options["channels"] == "separate"


def test_speakers_are_numbered_as_they_come_and_known_by_their_channel():
    late = np.concatenate([np.zeros(20 * RATE, np.float32), noise(20, 1)])
    result = model().transcribe(together(late, noise(40, 0)), channels="separate", clip_timestamps="0", **PLAIN)
    spoken = [segment for segment in result.segments if segment.text.strip()]
    assert spoken[0].speaker == "Speaker 1"
    pairs = {(segment.channel, segment.speaker) for segment in spoken}
    assert len(pairs) == 2
    assert {speaker for _, speaker in pairs} == {"Speaker 1", "Speaker 2"}
    assert all(segment.speaker is None for segment in result.segments if not segment.text.strip())
    said = json.loads(render(result, "json"))["segments"]
    assert {each.get("channel") for each in said} == {1, 2}


def test_words_have_the_speaker_of_their_segment():
    result = model().transcribe(
        together(noise(40, 0), noise(40, 1)), channels="separate", word_timestamps=True, **PLAIN
    )
    words = [(word.speaker, segment.speaker) for segment in result.segments for word in segment.words or ()]
    assert words
    assert all(one == other for one, other in words)


def test_segments_come_while_it_is_decoded_and_are_the_same_at_once():
    audio = together(noise(60, 0), noise(60, 1))
    progress = []
    streamed = model().transcribe_segments(
        audio, channels="separate", on_progress=lambda done, total: progress.append((done, total)), **PLAIN
    )
    first = next(streamed)
    assert progress[-1][0] < 60
    rest = list(streamed)
    assert progress[-1] == (60, 60)
    assert [done for done, _ in progress] == sorted(done for done, _ in progress)
    assert [first, *rest] == model().transcribe(audio, channels="separate", **PLAIN).segments


def test_channels_are_decoded_in_one_batch():
    inference = FakeInference(DIMS)
    Model(inference, vocabulary()).transcribe(
        together(*(noise(40, seed) for seed in range(3))), channels="separate", **PLAIN
    )
    assert inference.largest_batch == 3


def test_many_recordings_with_channels():
    audios = [together(noise(40, 0), noise(40, 1)), noise(10, 3), together(noise(33, 5), noise(33, 6), noise(33, 7))]
    outcomes = {one.index: one for one in model().transcribe_many(audios, channels="separate", batch_size=4, **PLAIN)}
    for index in (0, 2):
        assert outcomes[index].value() == model().transcribe(audios[index], channels="separate", **PLAIN)
    assert isinstance(outcomes[1].error, OptionError)


def test_one_channel_is_refused():
    with pytest.raises(OptionError, match="channels: the recording has one channel"):
        model().transcribe(noise(5, 0), channels="separate", **PLAIN)


def test_the_same_sound_is_transcribed_once_without_speakers_and_told():
    audio = noise(40, 0)
    result = model().transcribe(together(audio, audio), channels="separate", **PLAIN)
    alone = model().transcribe(audio, **PLAIN)
    assert [warning.kind for warning in result.warnings] == ["same sound"]
    assert result.segments == alone.segments


def test_silence_in_one_channel_is_told_and_the_other_is_one_speaker():
    audio = noise(40, 0)
    result = model().transcribe(together(audio * 0, audio), channels="separate", **PLAIN)
    assert [warning.kind for warning in result.warnings][:1] == ["silent channel"]
    assert {(each.channel, each.speaker) for each in result.segments if each.text.strip()} == {(2, "Speaker 1")}
    assert result.text == model().transcribe(audio, **PLAIN).text


def test_silence_everywhere_is_as_silence_is():
    audio = np.zeros((5 * RATE, 2), np.float32)
    result = model().transcribe(audio, channels="separate", **PLAIN)
    assert [warning.kind for warning in result.warnings][:2] == ["silent channel"] * 2
    assert result.text == model().transcribe(audio, **PLAIN).text


@pytest.mark.parametrize("seconds", [0.001, 0.3, 1.0])
def test_short_channels(seconds):
    result = model().transcribe(together(noise(seconds, 0), noise(seconds, 1)), channels="separate", **PLAIN)
    assert result.duration <= seconds


def test_languages_of_channels_that_differ_stand_at_their_segments():
    for seed in range(20):
        audio = together(noise(31, 2 * seed), noise(31, 2 * seed + 1))
        result = model().transcribe(audio, channels="separate", temperature=0.0)
        languages = {segment.channel: segment.language for segment in result.segments}
        if set(languages.values()) != {None}:
            alone = {number: model().transcribe(audio[:, number - 1], temperature=0.0).language for number in (1, 2)}
            assert languages == {number: alone[number] for number in languages}
            assert result.language in alone.values()
            return
    raise AssertionError("the languages of two channels never differed")


@pytest.mark.seconds
def test_a_run_that_was_cut_off_goes_on(tmp_path):
    audio = together(noise(60, 0), noise(60, 1))
    whole = model().transcribe(audio, channels="separate", journal=tmp_path / "whole", **PLAIN)
    lines = (tmp_path / "whole").read_bytes().splitlines(keepends=True)
    assert len(lines) > 4
    for kept in (1, 3):
        path = tmp_path / f"journal{kept}"
        path.write_bytes(b"".join(lines[:kept]))
        assert model().transcribe(audio, channels="separate", journal=path, resume=True, **PLAIN) == whole
        assert len(path.read_bytes().splitlines()) == len(lines)
    other = together(noise(60, 1), noise(60, 0))
    with pytest.raises(JournalError, match="of another transcription"):
        model().transcribe(other, channels="separate", journal=tmp_path / "whole", resume=True, **PLAIN)


def test_a_live_transcription_has_no_channels():
    with pytest.raises(OptionError, match="channels: has no meaning in a live transcription"):
        LiveOptions(TranscribeOptions(channels="separate"))


def test_a_pause_in_which_somebody_else_comes_in_splits_a_segment():
    asks = segment_of((" Well,", 0.0, 1.0), (" I", 3.0, 3.5), (" see.", 3.5, 4.0))
    yes = segment_of((" Yes.", 1.2, 1.8))
    over = segment_of((" Mm.", 3.2, 3.6))
    merged = merge([asks], [yes, over], tokenizer())
    assert [(each.speaker, each.text) for each in merged] == [
        ("Speaker 1", " Well,"),
        ("Speaker 2", " Yes."),
        ("Speaker 1", " I see."),
        ("Speaker 2", " Mm."),
    ]
    assert [(each.start, each.end) for each in merged] == [(0.0, 1.0), (1.2, 1.8), (3.0, 4.0), (3.2, 3.6)]


spans = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 5)), max_size=6)


@given(spans, spans)
def test_all_words_stay_and_segments_are_in_the_order_of_their_starts(first, second):
    channels = []
    for drawn in (first, second):
        now, made = 0, []
        for pause, n_words in drawn:
            words = [(f" w{now + pause + i}", now + pause + i, now + pause + i + 0.5) for i in range(n_words)]
            now += pause + n_words
            made.append(segment_of(*words))
        channels.append(made)
    expected = [[word.word for each in made for word in each.words] for made in channels]
    merged = merge(channels[0], channels[1], tokenizer())
    for number in (1, 2):
        said = [word.word for each in merged if each.channel == number for word in each.words]
        assert said == expected[number - 1]
    starts = [each.start for each in merged]
    assert starts == sorted(starts)


class Known:
    """A channel all of whose segments are known."""

    def __init__(self, segments, tokenizer):
        self.tokenizer, self.segments = tokenizer, segments
        self.done, self.progress, self.language = True, (100, 100), "en"
        self.options = type("Options", (), {"word_timestamps": True})
        self.pieces = []

    def commit(self, _piece, _cut):
        segments, self.segments = self.segments, []
        return segments


def merge(first, second, tokenizer):
    channels: list[Any] = [Known(first, tokenizer), Known(second, tokenizer)]
    recording = ChannelRecording(channels, [1, 2], [])
    for channel in recording._channels:
        channel.segments += channel.recording.commit(None, None)
    return recording._take_known()
