"""Subtitles as broadcasters want them: limits, breaks, durations; karaoke."""

import io
import re
import sys
from itertools import pairwise

import pysubs2
import pytest
import srt
import webvtt
from hypothesis import given
from hypothesis import strategies as st

from whisper_max.errors import OptionError
from whisper_max.output import WriterOptions, check_layout, render
from whisper_max.output.styles import STYLES
from whisper_max.output.units import text_of, units_of, width_of
from whisper_max.transcribe.result import Segment, TranscriptionResult, Word


def result_of(words, language="en", duration=1000.0):
    """A transcript of (text, start, end), in one segment."""
    timed = [Word(text, start, end, 1.0) for text, start, end in words]
    text = "".join(word.word for word in timed)
    segment = Segment(0, 0, timed[0].start, timed[-1].end, text, [], 0.0, 0.0, 1.0, 0.0, timed)
    return TranscriptionResult(text, [segment], language, duration=duration)


def spoken(text, *, start=0.0, each=0.3, pause=0.0):
    """Words of a text, one after the other."""
    words = re.findall(r"\s*\S+", text)
    return [(word, start + i * (each + pause), start + i * (each + pause) + each) for i, word in enumerate(words)]


def cues_of(result, style, **options):
    return list(srt.parse(render(result, "srt", WriterOptions(subtitle_style=style, **options))))


def seconds(cue):
    return (cue.end - cue.start).total_seconds()


some_words = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *(" a", " word", " another,", " sentence.", " extraordinary", "'s", " 'tis", "-like", " What?"),
                *(" two\nlines", "\n", " https://example.org/" + "a" * 90, "\u0928\u0940" * 50),
                " \U0001f469\u200d\U0001f467" * 5,
            ]
        ),
        st.integers(0, 900),
        st.integers(0, 2500).map(lambda ms: max(0, ms - 1500)),
    ),
    min_size=1,
    max_size=60,
)


@given(some_words, st.sampled_from(sorted(STYLES)))
def test_limits_of_a_style(drawn, name):
    style, words, now = STYLES[name].in_language("en"), [], 0
    for text, length, pause in drawn:
        words.append((text, now / 1000, (now + length) / 1000))
        now += length + pause
    cues = cues_of(result_of(words, duration=now / 1000 + 5), name)
    assert "".join("".join(cue.content for cue in cues).split()) == "".join("".join(text for text, *_ in words).split())
    for cue in cues:
        lines = cue.content.split("\n")
        assert len(lines) <= style.lines
        assert all(width_of(line, "en") <= style.width for line in lines)
        assert 0 < seconds(cue) <= style.longest + 1e-3
    for cue, following in pairwise(cues):
        assert cue.end <= following.start
        room = (following.start - cue.start).total_seconds()
        if room > 2 * style.gap + 2e-3:
            assert (following.start - cue.end).total_seconds() >= style.gap - 2e-3
        if room > style.least + style.gap + 2e-3:
            assert seconds(cue) >= style.least - 2e-3


@pytest.mark.parametrize("name", sorted(STYLES))
def test_no_subtitle_hangs_over_a_pause(name):
    words = [*spoken(" It ends here", start=0), *spoken(" and goes on.", start=20)]
    first, second = cues_of(result_of(words), name)
    assert (first.content, second.content) == ("It ends here", "and goes on.")
    assert first.end.total_seconds() <= 0.9 + max(STYLES[name].hang, STYLES[name].least)
    assert second.start.total_seconds() == 20


def test_breaks_stand_at_sentences_and_stops():
    text = " We choose to go to the moon. We choose it in this decade, and do the other things, because they are hard."
    cues = cues_of(result_of(spoken(text)), "netflix")
    assert [cue.content for cue in cues] == [
        "We choose to go to the moon.",
        "We choose it in this decade, and do the\nother things, because they are hard.",
    ]


def test_netflix_leaves_two_frames_and_closes_what_is_less_than_half_a_second():
    words = [*spoken(" That was the first sentence.", each=0.5), *spoken(" This is the second.", start=2.8, each=0.5)]
    first, second = cues_of(result_of(words), "netflix")
    assert (second.start - first.end).total_seconds() == pytest.approx(2 / 24, abs=2e-3)


def test_bbc_leaves_a_second_or_nothing():
    words = [*spoken(" That was the first sentence.", each=0.5), *spoken(" This is the second.", start=3.2, each=0.5)]
    first, second = cues_of(result_of(words), "bbc")
    assert second.start == first.end


def test_what_is_said_fast_stays_until_it_can_be_read():
    [cue] = cues_of(result_of(spoken(" Unquestionably extraordinary circumstances", each=0.3)), "netflix")
    assert seconds(cue) == pytest.approx(0.9 + 0.5, abs=2e-3)  # no longer than half a second after the last word


def test_no_subtitle_ends_after_the_recording():
    [cue] = cues_of(result_of(spoken(" Yes.", each=0.2), duration=0.4), "bbc")
    assert seconds(cue) == pytest.approx(0.4)


# ---------------------------------------------------------------- languages


@pytest.mark.parametrize(
    ("language", "words", "expected"),
    [
        ("fr", [" de", " l", "'avion", " qu", "'il", " a", " ?"], [" de", " l'avion", " qu'il", " a ?"]),
        ("it", [" dell", "'acqua", " «", "sì", "»", "."], [" dell'acqua", " «sì»."]),
        ("en", [" well", "-known", ' "', "quote", '"', " 50", "%"], [" well-known", ' "quote"', " 50%"]),
        ("es", [" ¿", "qué", "?"], [" ¿qué?"]),
        ("ja", list("今日は天気がいいので、散歩に行く。"), ["今日は", "天気が", "いいので、", "散歩に", "行く。"]),
        ("zh", list("今天天气很好，我们去公园。"), ["今天", "天气", "很", "好，", "我们", "去", "公园。"]),
        ("he", [" שלום", ",", " עולם"], [" שלום,", " עולם"]),
    ],
)
def test_what_a_line_is_not_broken_within(language, words, expected):
    if language in ("ja", "zh"):
        pytest.importorskip("budoux", reason="the extra 'subtitles' is not installed")
    units = units_of([Word(word, 0.0, 1.0, 1.0) for word in words], language)
    assert [text_of(unit) for unit in units] == expected


def test_japanese_lines_are_short_and_begin_with_no_closing_mark():
    pytest.importorskip("budoux", reason="the extra 'subtitles' is not installed")
    text = "本日は晴天なり、しかし明日は雨が降るでしょう。「傘を持って行きなさい」と母が言いました。"
    text += "ちょっと待ってください。"
    words = [(character, i * 0.25, (i + 1) * 0.25) for i, character in enumerate(text)]
    for cue in cues_of(result_of(words, "ja"), "netflix"):
        for line in cue.content.split("\n"):
            assert width_of(line, "ja") <= 13
            assert line[0] not in "、。」っょ"
            assert line[-1] != "「"


def test_a_language_without_spaces_needs_its_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "budoux", None)
    with pytest.raises(OptionError, match="ja is broken into lines by BudouX, which is not installed; install the"):
        cues_of(result_of([("あ", 0.0, 1.0)], "ja"), "plain")


def test_right_to_left_lines_are_broken_between_words_and_marks_take_no_column():
    text = " السَّلَامُ عَلَيْكُمْ وَرَحْمَةُ اللَّهِ وَبَرَكَاتُهُ أَيُّهَا النَّاسُ جَمِيعًا وَأَهْلًا بِكُمْ"
    assert width_of("لَّ", "ar") == 1
    cues = cues_of(result_of(spoken(text), "ar"), "netflix")
    assert " ".join(" ".join(cue.content.split("\n")) for cue in cues) == text.strip()
    assert all(width_of(line, "ar") <= 42 for cue in cues for line in cue.content.split("\n"))


# ---------------------------------------------------------------- karaoke

SONG = [(" Row", 1.0, 1.5), (" row,", 1.5, 1.5), (" row {your}", 2.0, 2.4), (" <boat>", 2.4, 3.0)]


def test_karaoke_in_ass_lights_up_each_word_for_its_time():
    text = render(result_of(SONG), "ass", WriterOptions(karaoke=True))
    [event] = pysubs2.SSAFile.from_string(text)
    assert event.text == r"{\k50}Row{\k10} row,{\k40}{\k40} row \{your\}{\k60} <boat>"
    assert (event.start, event.end) == (1000, 3000)


def test_karaoke_in_vtt_has_a_time_before_each_word():
    text = render(result_of(SONG), "vtt", WriterOptions(karaoke=True))
    [caption] = webvtt.from_buffer(io.StringIO(text)).captions
    stamps = re.findall(r"<(\d\d:\d\d:\d\d\.\d\d\d)>", caption.raw_text)
    assert stamps == ["00:00:01.500", "00:00:02.000", "00:00:02.400"]
    assert re.sub(r"<[\d:.]+>", "", caption.raw_text) == "Row row, row {your} &lt;boat>"


def test_karaoke_with_a_style_keeps_its_lines():
    words = spoken(" Row, row, row your boat, gently down the stream, merrily, merrily, merrily.")
    text = render(result_of(words), "ass", WriterOptions(karaoke=True, subtitle_style="netflix"))
    events = list(pysubs2.SSAFile.from_string(text))
    assert any(r"\N" in event.text for event in events)
    assert sum(event.text.count(r"{\k") for event in events) == len(words)
    for event in events:
        assert sum(map(int, re.findall(r"\\k(\d+)", event.text))) * 10 <= event.end - event.start + 10


def test_highlighting_in_ass_underlines():
    events = pysubs2.SSAFile.from_string(render(result_of(SONG[:1]), "ass", WriterOptions(highlight_words=True)))
    assert [event.text for event in events] == [r"{\u1}Row{\u0}"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subtitle_style": "itv"}, "subtitle_style: unknown subtitle_style: expected netflix or bbc or plain"),
        ({"subtitle_style": "bbc", "max_line_width": 30}, "subtitle_style: has limits of its own"),
        ({"karaoke": True, "highlight_words": True}, "karaoke: can't be given together with highlight_words"),
    ],
)
def test_options_that_contradict_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        WriterOptions(**options)


def test_karaoke_needs_a_format_that_has_it():
    with pytest.raises(OptionError, match="karaoke needs the format vtt or ass: found srt, txt"):
        check_layout(WriterOptions(karaoke=True), ("srt", "txt"))


def test_spaces_that_are_words_of_their_own_stay_between_thai_phrases():
    pytest.importorskip("budoux", reason="lines of Thai need it")
    text = "อากาศดีมาก เราไปเดินเล่นกันเถอะ"
    words = [(character, place / 10, place / 10 + 0.1) for place, character in enumerate(text)]
    cues = cues_of(result_of(words, "th"), "plain")
    assert " ".join(cue.content for cue in cues).split() == text.split()
