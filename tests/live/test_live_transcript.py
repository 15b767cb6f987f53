from tests.support.live_world import ORIGIN, live_words
from whisper_max.live.events import (
    Committed,
    LiveWord,
    Origin,
    SpeakersHeard,
    Tentative,
    UtteranceEnded,
    UtteranceStarted,
)
from whisper_max.live.transcript import LiveTranscript
from whisper_max.transcribe.result import Word
from whisper_max.transcribe.turns import Turn


def test_sentences_are_segments():
    transcript = LiveTranscript()
    words = live_words("He said: “Go!” and left. So")
    assert transcript.add([UtteranceStarted(0, 0.0), Committed(0, tuple(words[:2])), Tentative(0, tuple(words))]) == []
    assert [segment.text for segment in transcript.add([Committed(0, tuple(words[2:]))])] == [
        " He said: “Go!”",
        " and left.",
    ]
    assert transcript.result().text == " He said: “Go!” and left. So"
    done = transcript.add([UtteranceEnded(0, 0.0, 3.5, "en", 0.9)])
    assert [(segment.id, segment.text, segment.start, segment.end) for segment in done] == [(2, " So", 2.5, 2.9)]
    result = transcript.result(options={"task": "transcribe"})
    assert (result.language, result.language_probability, result.duration) == ("en", 0.9, 3.5)
    assert result.options == {"task": "transcribe"}
    assert [segment.id for segment in result.segments] == [0, 1, 2]
    assert result.segments[1].words == [Word(" and", 1.5, 1.9, 0.9), Word(" left.", 2.0, 2.4, 0.9)]
    assert transcript.result(duration=9.0).duration == 9.0


def test_pauses_utterances_and_length_part_segments():
    transcript = LiveTranscript()
    words = [*live_words("a b"), *live_words("c", start=3.0)]
    transcript.add([Committed(0, tuple(words)), UtteranceEnded(0, 0.0, 4.0, "en", 1.0)])
    transcript.add([Committed(1, tuple(live_words("d", start=4.1))), UtteranceEnded(1, 4.0, 5.0, "en", 1.0)])
    assert [segment.text for segment in transcript.segments] == [" a b", " c", " d"]
    long = LiveTranscript()
    long.add([Committed(0, tuple(live_words(" ".join("x" * 100))))])
    assert all(segment.end - segment.start <= 15.0 for segment in long.segments)
    assert len(long.segments) == 3


def test_a_segment_has_what_was_true_of_its_last_word():
    transcript = LiveTranscript()
    last = LiveWord(" end.", 1.0, 1.5, 0.5, Origin(0.2, -0.5, 1.5, 0.3))
    (segment,) = transcript.add([Committed(0, (*live_words("the"), last))])
    assert (segment.temperature, segment.avg_logprob, segment.compression_ratio, segment.no_speech_prob) == (
        0.2,
        -0.5,
        1.5,
        0.3,
    )
    assert segment.tokens == []
    assert ORIGIN.temperature == 0.0


def test_segments_have_the_speakers_that_were_told_last():
    transcript = LiveTranscript()
    transcript.add([Committed(0, tuple(live_words("so my fellow Americans"))), SpeakersHeard((Turn(0.0, 2.0, 0),))])
    assert [(part.speaker, part.text) for part in transcript.result().segments] == [
        ("Speaker 1", " so my fellow Americans")
    ]
    transcript.add([UtteranceEnded(0, 0.0, 2.0, "en", 1.0), SpeakersHeard((Turn(0.0, 0.95, 4), Turn(0.95, 2.0, 2)))])
    parts = transcript.result().segments
    assert [(part.id, part.speaker, part.text, part.start, part.end) for part in parts] == [
        (0, "Speaker 1", " so my", 0.0, 0.9),
        (1, "Speaker 2", " fellow Americans", 1.0, 1.9),
    ]
    assert [word.speaker for part in parts for word in part.words or ()] == ["Speaker 1"] * 2 + ["Speaker 2"] * 2
    assert transcript.segments[0].speaker is None


def test_nothing_said():
    result = LiveTranscript().result()
    assert (result.text, result.segments, result.language, result.language_probability) == ("", [], "", 0.0)
