from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whisper_max.audio.vad import speech_spans
from whisper_max.audio.vad_options import VadOptions
from whisper_max.errors import OptionError
from whisper_max.live.endpoint import Change, Endpointer
from whisper_max.live.options import LIVE_VAD, LiveOptions, live_vad
from whisper_max.transcribe.options import TranscribeOptions

CHUNK = 512


def changes(options, chances):
    endpointer = Endpointer(options)
    updates = (endpointer.update(i * CHUNK, (i + 1) * CHUNK, chance) for i, chance in enumerate(chances))
    return [(i, change) for i, change in enumerate(updates) if change is not None]


def test_speech_is_reported_from_its_onset_and_ends_where_it_became_quiet():
    chances = [0.1] * 3 + [0.9] * 5 + [0.1] * 30
    assert changes(LIVE_VAD, chances) == [
        (5, Change(True, 3 * CHUNK)),  # after 3 chunks, 96 ms
        (26, Change(False, 8 * CHUNK)),  # after 19 chunks, 608 ms
    ]


def test_a_short_dip_ends_nothing():
    assert len(changes(LIVE_VAD, [0.9] * 5 + [0.0] * 18 + [0.9] * 5)) == 1


def test_between_the_thresholds_nothing_changes():
    assert changes(LIVE_VAD, [0.4] * 50) == []
    assert len(changes(LIVE_VAD, [0.9] * 5 + [0.4] * 50)) == 1


stretches = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.4, 0.6, 1.0]), st.integers(1, 80)), max_size=12)


@settings(max_examples=200)
@given(stretches, st.sampled_from([100, 600, 2000]))
def test_as_on_a_whole_recording(stretches, silence):
    chances = np.repeat([p for p, _ in stretches], [n for _, n in stretches]).tolist() + [0.0] * 80
    options = VadOptions(min_speech_duration_ms=0, min_silence_duration_ms=silence, speech_pad_ms=0)
    live = changes(options, chances)
    assert [change.started for _, change in live] == [True, False] * (len(live) // 2)
    spans = [(first.position, last.position) for (_, first), (_, last) in zip(live[::2], live[1::2], strict=True)]
    counted = replace(options, min_silence_duration_ms=silence - 32)  # there a chunk counts once it is over
    assert spans == speech_spans(np.array(chances, np.float32), len(chances) * CHUNK, counted)


def test_options_by_name():
    assert live_vad(True) == LIVE_VAD
    assert live_vad(False) is None
    assert live_vad({"threshold": 0.7}) == VadOptions(0.7, None, 96, speech_pad_ms=300, min_silence_duration_ms=600)
    mine = VadOptions(0.2)
    assert live_vad(mine) is mine
    with pytest.raises(OptionError, match="loudness: unknown option"):
        live_vad({"loudness": 1})


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"step": 0.01}, "step"),
        ({"step": 13.0}, "step"),
        ({"buffer": 3.0}, "buffer"),
        ({"buffer": 31.0}, "buffer"),
        ({"buffer": float("nan")}, "buffer"),
        ({"vad": VadOptions(max_speech_duration_s=10)}, "max_speech_duration_s"),
        ({"vad": VadOptions(speech_pad_ms=20_000)}, "speech_pad_ms"),
        ({"decoding": TranscribeOptions(clip_timestamps="1,2")}, "clip_timestamps"),
        ({"decoding": TranscribeOptions(batch_size=2)}, "batch_size"),
        ({"decoding": TranscribeOptions(vad=True)}, "vad"),
        ({"decoding": TranscribeOptions(prefix="So")}, "prefix"),
        ({"decoding": TranscribeOptions(speakers="auto")}, "speakers"),
        ({"decoding": TranscribeOptions(channels="separate")}, "channels"),
    ],
)
def test_what_has_no_meaning_is_refused_by_name(options, name):
    with pytest.raises(OptionError) as caught:
        LiveOptions(**options)
    assert caught.value.where == name


def test_words_are_always_timed():
    assert LiveOptions().decoding.word_timestamps
