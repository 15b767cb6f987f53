from tests.support.live_world import ORIGIN, live_words
from whisper_max.live.events import Committed, LiveWord, Origin, Tentative, UtteranceEnded, UtteranceStarted
from whisper_max.live.transcript import LiveTranscript
from whisper_max.transcribe.result import Word


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


def test_nothing_said():
    result = LiveTranscript().result()
    assert (result.text, result.segments, result.language, result.language_probability) == ("", [], "", 0.0)
