import json
from dataclasses import asdict, replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.support.fake_inference import DIMS, FakeInference, FakeMel
from tests.support.recordings import begun
from tests.support.synthetic_vocabulary import synthetic_vocabulary as vocabulary
from whisper_max.audio.measures import loudest, voiced
from whisper_max.audio.waveform import ArrayWaveform
from whisper_max.decode.contract import Alignment
from whisper_max.decode.decoded import Decoded
from whisper_max.decode.loop import Loop
from whisper_max.errors import OptionError
from whisper_max.output import render
from whisper_max.text.tokenizer import build_tokenizer
from whisper_max.transcribe.guard import Guard
from whisper_max.transcribe.journal_records import value_from_json
from whisper_max.transcribe.options import TranscribeOptions
from whisper_max.transcribe.result import Doubt, Segment, TranscriptionResult
from whisper_max.transcribe.scheduler import transcribe_windows
from whisper_max.transcribe.stock_phrases import PHRASES, stock_phrase
from whisper_max.transcribe.window import Cut, Piece, Window

RATE = 16000


@cache
def tokenizer(language="en"):
    return build_tokenizer(vocabulary(), multilingual=True, language=language, task=None)


def decoded(**values):
    return replace(Decoded("en", [], "", -0.3, 0.05, 0.0, 1.0), **values)


class Judged:
    """A cut whose segments the model finds as likely with the audio and without it as is said here."""

    def __init__(
        self,
        texts,
        heard,
        unheard,
        *,
        guard="mark",
        result=None,
        language="en",
        seconds=2.0,
        waveform=None,
        attention=1 / 1500,
    ):
        self.asked = 0
        self._attention = attention
        self.encoded = 0
        t = tokenizer(language)
        tokens = [t.encode(text) for text in texts]
        self.first = len(t.sot_sequence_including_notimestamps)
        self._heard = [p for p, part in zip(heard, tokens, strict=True) for _ in part]
        self._unheard = [p for p, part in zip(unheard, tokens, strict=True) for _ in part]
        segments = [
            Segment(i, 0, i * seconds, (i + 1) * seconds, text, part, 0.0, -0.3, 1.0, 0.05)
            for i, (text, part) in enumerate(zip(texts, tokens, strict=True))
        ]
        self.cut = Cut(Window(0, 3000, ()), result or decoded(), 3000, segments)
        piece = Piece(3000, 448, t, TranscribeOptions(guard=guard))
        model: Any = self
        self.guard, self.piece = Guard(model), piece
        self.guard.judge(piece, self.cut, lambda tokens, n: self._alignment(self._heard, tokens), waveform)

    dims = DIMS

    def _alignment(self, probabilities, tokens):
        self.asked += 1
        probs = np.zeros(len(tokens), np.float32)
        probs[self.first : self.first + len(probabilities)] = np.exp(probabilities)
        assert len(tokens) == self.first + len(probabilities) + 1
        weights = np.full((2, len(tokens), 1500), 1 / 1500, np.float32)
        weights[:, :, 7] = self._attention
        return Alignment(weights, probs)

    def encode(self, mel):
        assert (mel == mel.min()).all()  # silence
        self.encoded += 1
        return self

    def new_batch(self, max_windows):
        return self

    def put(self, windows, features):
        assert (windows, features) == ([0], self)

    def align(self, window, tokens, n_competing):
        return self._alignment(self._unheard, tokens)

    @property
    def doubts(self):
        return [segment.doubt for segment in self.cut.segments]

    @property
    def reasons(self):
        return [[doubt.reason for doubt in each or ()] for each in self.doubts]


UNSURE = decoded(no_speech_prob=0.6)


def test_what_the_model_is_sure_of_is_not_asked_about():
    judged = Judged([" a b c", " d e f"], [-9, -9], [-9, -9])
    assert (judged.asked, judged.encoded, judged.doubts) == (0, 0, [None, None])


@pytest.mark.parametrize("result", [UNSURE, decoded(avg_logprob=-0.8), decoded(loops=(Loop((1,), 0, 12),))])
def test_what_the_audio_does_not_support_is_doubted(result):
    judged = Judged([" a b c", " d e f"], [-0.2, -1.0], [-4.0, -1.2], result=result)
    assert judged.reasons == [[], ["not heard"]]
    numbers = {"support": 1 / 6, "limit": 0.65, "attention": 0.001, "copied": 0.0, "surprise": 1.0}
    assert judged.doubts[1][0].numbers == pytest.approx(numbers, abs=1e-3)
    assert judged.encoded == 1


def test_what_is_said_again_is_known_by_its_attention():
    """A model that has written a sentence writes it again without audio, so that support is small."""
    texts, heard, unheard = [" one two three four", " one two three four"], [-0.1, -0.3], [-4.0, -0.5]
    said = Judged(texts, heard, unheard, result=UNSURE, attention=0.08)
    assert said.doubts == [None, None]
    copied = Judged(texts, heard, unheard, result=UNSURE, attention=0.02)
    assert copied.reasons == [[], ["not heard"]]
    assert copied.doubts[1][0].numbers["copied"] > 0.8
    unlikely = Judged(texts, [-0.1, -0.8], [-4.0, -1.6], result=UNSURE, attention=0.08)
    assert unlikely.reasons == [[], ["not heard"]]
    likelier = Judged(texts, [-0.1, -0.8], [-4.0, -2.1], result=UNSURE, attention=0.08)
    assert likelier.doubts == [None, None]
    other = Judged([texts[0], " five six seven eight"], heard, unheard, result=UNSURE, attention=0.08)
    assert other.reasons == [[], ["not heard"]]


def test_silence_is_encoded_once():
    judged = Judged([" a b c"], [-1.0], [-1.0], result=UNSURE)
    judged.guard.judge(judged.piece, judged.cut, lambda tokens, n: judged._alignment(judged._heard, tokens), None)
    assert judged.encoded == 1


def test_badly_heard_speech_stays():
    assert Judged([" a b c"], [-1.4], [-5.0], result=UNSURE).doubts == [None]  # support 0.72


@pytest.mark.parametrize(
    ("text", "reason", "seconds"),
    [
        (" Thanks for watching!", "stock phrase", 2.0),
        (" much more than can be said in so short a time", "too fast", 0.5),
        (" what" * 12, "loop", 12.0),
    ],
)
def test_what_speaks_against_a_text_counts_where_the_audio_hardly_supports_it(text, reason, seconds):
    for support, reasons in ((0.68, ["not heard", reason]), (0.2, ["not heard", reason]), (0.9, [])):
        judged = Judged([text], [-3.0 * (1 - support)], [-3.0], seconds=seconds)
        assert judged.asked == 2
        assert judged.reasons == [reasons]
    assert Judged([" a b c"], [-0.96], [-3.0], result=UNSURE).reasons == [[]]  # by itself that is no reason


def sound(kind, seconds=2.0):
    rng, n = np.random.default_rng(3), round(seconds * RATE)
    time = np.arange(n) / RATE
    made = {
        "silence": np.zeros(n),
        "quiet": rng.normal(0, 1e-4, n),
        "noise": rng.normal(0, 0.1, n),
        "vowel": 0.1 * np.sign(np.sin(2 * np.pi * 120 * time)),
    }[kind]
    return ArrayWaveform(made.astype(np.float32))


@pytest.mark.parametrize(
    ("kind", "level", "share"), [("silence", -120, 0.0), ("quiet", -80, 0.0), ("noise", -20, 0.0), ("vowel", -20, 1.0)]
)
def test_level_and_voice_are_measured(kind, level, share):
    assert loudest(sound(kind), 0.0, 2.0) == pytest.approx(level, abs=1.5)
    assert voiced(sound(kind), 0.0, 2.0) == pytest.approx(share, abs=0.05)
    assert (loudest(sound(kind), 5.0, 6.0), voiced(sound(kind), 5.0, 6.0)) == (-120, 0.0)  # beyond its end


@pytest.mark.parametrize(
    ("kind", "reasons"),
    [
        ("silence", ["not heard", "silence", "no voice"]),
        ("quiet", ["not heard", "silence", "no voice"]),
        ("noise", ["not heard", "no voice"]),
        ("vowel", ["not heard"]),
    ],
)
def test_silence_and_noise_are_told(kind, reasons):
    judged = Judged([" a b c"], [-1.0], [-1.1], result=UNSURE, waveform=sound(kind))
    assert judged.reasons == [reasons]
    assert all(np.isfinite(number) for doubt in judged.doubts[0] for number in doubt.numbers.values())


def test_speech_that_was_recorded_too_quietly_stays():
    assert Judged([" a b c"], [-0.2], [-4.0], waveform=sound("quiet")).doubts == [None]


def test_drop_takes_out_what_mark_keeps():
    texts, heard, unheard = [" a b c", " d e f", " g h i"], [-0.2, -1.0, -0.2], [-4.0, -1.2, -4.0]
    marked = Judged(texts, heard, unheard, result=UNSURE)
    dropped = Judged(texts, heard, unheard, result=UNSURE, guard="drop")
    assert [each.text for each in marked.cut.segments] == texts
    assert marked.cut.dropped == []
    assert [each.text for each in dropped.cut.segments] == [texts[0], texts[2]]
    assert [asdict(each) for each in dropped.cut.dropped] == [asdict(marked.cut.segments[1])]
    assert dropped.cut.seek == marked.cut.seek


@pytest.mark.parametrize("code", PHRASES)
def test_phrases_are_known_however_they_are_written(code):
    for phrase in PHRASES[code]:
        assert stock_phrase(f" {phrase.upper()}!", code) is not None
        assert stock_phrase(phrase, None) is not None
    assert len(set(PHRASES[code])) == len(PHRASES[code])


@pytest.mark.parametrize(
    ("text", "language", "found"),
    [
        (" Thank you for watching.", "en", True),
        (" Thanks for watching", "de", True),
        (" Untertitel der Amara.org-Community", "de", True),
        (" Merci d'avoir regardé cette vidéo !", "fr", True),
        (" Subtitles by somebody", "en", True),
        (" you", "en", True),
        (" you see", "en", False),
        (" Thank you, Mr. Chairman.", "en", False),
        (" Merci d'avoir regardé cette vidéo !", "en", False),
        ("", "en", False),
        (" ♪", None, False),
    ],
)
def test_a_phrase_is_the_whole_text_or_a_credit(text, language, found):
    assert (stock_phrase(text, language) is not None) is found


def transcript(guard, key=5):
    inference = FakeInference(DIMS)
    options = TranscribeOptions(language="en", guard=guard)
    recording = begun(inference, vocabulary(), FakeMel(9000, key), options)
    return recording.result(list(transcribe_windows(inference, recording)))


def test_mark_leaves_the_transcript_as_it_is():
    off, mark, drop = (transcript(guard) for guard in ("off", "mark", "drop"))
    assert not any(segment.doubt for segment in off.segments)
    assert any(segment.doubt for segment in mark.segments)
    assert [replace(segment, doubt=None) for segment in mark.segments] == off.segments
    assert mark.dropped == off.dropped == []
    assert drop.dropped
    assert not any(segment.doubt for segment in drop.segments)
    assert [segment.id for segment in drop.segments] == list(range(len(drop.segments)))
    assert [segment.id for segment in drop.dropped] == list(range(len(drop.dropped)))
    assert [warning.kind for warning in drop.warnings if warning.kind != "loop"] == ["dropped"]
    assert "is left out, which the audio does not support" in drop.warnings[-1].message


def test_every_decision_is_in_the_json():
    segment = Segment(0, 0, 0.0, 2.0, " you", [1], 0.0, -0.3, 1.0, 0.05, doubt=[Doubt("not heard", {"support": 0.1})])
    result = TranscriptionResult(" you", [segment], "en", dropped=[replace(segment, id=1)])
    written = json.loads(render(result, "json"))
    assert written["segments"][0]["doubt"] == [{"reason": "not heard", "support": 0.1}]
    assert written["dropped"][0]["doubt"] == [{"reason": "not heard", "support": 0.1}]
    plain = json.loads(render(replace(result, segments=[replace(segment, doubt=None)], dropped=[]), "json"))
    assert "dropped" not in plain
    assert "doubt" not in plain["segments"][0]


def test_a_journal_keeps_doubts_and_loops():
    segment = Segment(0, 0, 0.0, 2.0, " you", [1], 0.0, -0.3, 1.0, 0.05, doubt=[Doubt("loop", {"repeats": 4.0})])
    cut = Cut(Window(0, 3000, ()), decoded(loops=(Loop((1, 2), 0, 4),)), 3000, [segment], dropped=[segment])
    assert value_from_json(Cut, json.loads(json.dumps(asdict(cut)))) == cut


def test_a_broken_loop_is_a_warning():
    recording = begun(FakeInference(DIMS), vocabulary(), FakeMel(9000), TranscribeOptions(language="en"))
    piece = recording.pieces[0]
    loop = Loop(tuple(tokenizer().encode(" say")), 0, 12)
    recording.commit(piece, Cut(piece.next_window(), decoded(loops=(loop,)), 3000))
    (warning,) = recording.warnings
    assert (warning.kind, warning.start, warning.end) == ("loop", 0.0, 30.0)
    assert "12 times 'say'" in warning.message


def test_an_unknown_guard_is_refused():
    with pytest.raises(OptionError, match="unknown guard: expected off or mark or drop"):
        TranscribeOptions(guard="maybe")
