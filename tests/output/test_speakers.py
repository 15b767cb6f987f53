"""Transcripts whose speakers are told apart, in every format; and those without, which are as they were."""

import csv
import io
import json

import pysubs2
import pytest
import srt
import webvtt
from hypothesis import given
from hypothesis import strategies as st

from whisper_max.output import FORMATS, WriterOptions, render
from whisper_max.output.styles import STYLES
from whisper_max.transcribe.result import Segment, TranscriptionResult, Word


def segment(text, start, end, speaker=None, words=None):
    timed = None if words is None else [Word(word[0], word[1], word[2], 1.0, speaker) for word in words]
    return Segment(0, 0, start, end, text, [1], 0.0, -0.25, 1.5, 0.125, words=timed, speaker=speaker)


def result_of(*segments):
    return TranscriptionResult("".join(each.text for each in segments), list(segments), "en", duration=100.0)


TWO = result_of(segment(" Who?", 0.0, 1.0, "Speaker 1"), segment(" Me.", 1.0, 2.5, "Speaker 2"))


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        ("txt", "Speaker 1: Who?\nSpeaker 2: Me.\n"),
        ("tsv", "start\tend\tspeaker\ttext\n0\t1000\tSpeaker 1\tWho?\n1000\t2500\tSpeaker 2\tMe.\n"),
        ("csv", 'start,end,speaker,text\n0,1000,"Speaker 1"," Who?"\n1000,2500,"Speaker 2"," Me."\n'),
        ("lrc", "[by:whisper_max]\n[00:00.00]Speaker 1: Who?\n[00:01.00]Speaker 2: Me.\n"),
        (
            "srt",
            "1\n00:00:00,000 --> 00:00:01,000\nSpeaker 1: Who?\n\n2\n00:00:01,000 --> 00:00:02,500\nSpeaker 2: Me.\n\n",
        ),
        (
            "vtt",
            "WEBVTT\n\n00:00.000 --> 00:01.000\n<v Speaker 1>Who?\n\n00:01.000 --> 00:02.500\n<v Speaker 2>Me.\n\n",
        ),
    ],
)
def test_each_format_says_who_speaks(format, expected):
    assert render(TWO, format) == expected


def test_ass_names_the_speaker_in_its_column_and_on_the_screen():
    events = pysubs2.SSAFile.from_string(render(TWO, "ass"))
    assert [(event.name, event.text) for event in events] == [
        ("Speaker 1", "Speaker 1: Who?"),
        ("Speaker 2", "Speaker 2: Me."),
    ]


def test_json_has_the_speaker_of_segments_and_words():
    words = [(" Who?", 0.0, 1.0)]
    read = json.loads(render(result_of(segment(" Who?", 0, 1, "Speaker 1", words), segment(" x", 1, 2)), "json"))
    assert read["segments"][0]["speaker"] == read["segments"][0]["words"][0]["speaker"] == "Speaker 1"
    assert "speaker" not in read["segments"][1]


@pytest.mark.parametrize("format", FORMATS)
def test_without_speakers_nothing_says_so(format):
    text = render(result_of(segment(" Who?", 0.0, 1.0, None, [(" Who?", 0.0, 1.0)])), format)
    assert "peaker" not in text
    assert "None" not in text
    assert "<v" not in text


def test_somebody_who_is_not_known_among_others():
    mixed = result_of(segment(" Who?", 0.0, 1.0, "Speaker 1"), segment(" Me.", 1.0, 2.5))
    assert render(mixed, "txt") == "Speaker 1: Who?\nMe.\n"
    assert render(mixed, "csv").splitlines()[2] == '1000,2500,""," Me."'
    assert render(mixed, "tsv").splitlines()[2] == "1000\t2500\t\tMe."
    assert "\nMe.\n" in render(mixed, "vtt")


ODD = ['A "B", C', "A\tB", "A\nB", "A --> B", "<v A>", "A & B &lt;", r"{\b1}A\N", "A,B", "  A  ", "\u202eA", "名前"]


@pytest.mark.parametrize("name", ODD)
def test_odd_names_break_no_format(name):
    shown = " ".join(name.split())
    result = result_of(segment(" Who?", 0.0, 1.0, name), segment(" Me.", 1.0, 2.5, "B"))
    rows = list(csv.reader(io.StringIO(render(result, "csv"))))
    assert rows[1] == ["0", "1000", shown, " Who?"]
    assert render(result, "tsv").splitlines()[1].split("\t") == ["0", "1000", shown, "Who?"]
    assert render(result, "txt").split("\n")[0] == f"{shown}: Who?"
    assert [cue.content for cue in srt.parse(render(result, "srt"))] == [
        f"{shown}: Who?".replace("-->", "->"),
        "B: Me.",
    ]
    captions = list(webvtt.from_string(render(result, "vtt")).captions)
    tag = captions[0].raw_text.removeprefix("<v ").split(">")[0]
    assert tag.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == shown
    assert [caption.text for caption in captions] == ["Who?", "Me."]
    events = pysubs2.SSAFile.from_string(render(result, "ass"))
    assert [(event.start, event.end) for event in events] == [(0, 1000), (1000, 2500)]
    assert events[0].text.replace(r"\{", "{").replace(r"\}", "}").replace("\u2060", "") == f"{shown}: Who?"
    assert json.loads(render(result, "json"))["segments"][0]["speaker"] == name


def spoken(text, start, each=0.4):
    return [(f" {word}", start + i * each, start + (i + 1) * each) for i, word in enumerate(text.split())]


LAYOUTS = [
    WriterOptions(max_line_width=30),
    WriterOptions(max_line_width=30, max_line_count=2),
    WriterOptions(max_words_per_line=3),
    WriterOptions(highlight_words=True),
    *(WriterOptions(subtitle_style=name) for name in STYLES),
]
_TALK = [("one two three four five six seven", "Speaker 1"), ("eight nine", "Speaker 2"), ("ten eleven", "Speaker 1")]


def overlapping():
    """Somebody speaks for 5.6 s; somebody else says two words meanwhile."""
    starts = [0.0, 2.0, 7.0]
    made = []
    for (text, who), start in zip(_TALK, starts, strict=True):
        words = spoken(text, start, 0.8)
        made.append(segment(" " + text, words[0][1], words[-1][2], who, words))
    return result_of(*made)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_cue_is_of_two_speakers_and_overlapping_speech_keeps_both(layout):
    cues = list(srt.parse(render(overlapping(), "srt", layout)))
    for cue in cues:
        who, text = cue.content.replace("<u>", "").replace("</u>", "").split(": ", 1)
        assert set(text.split()) <= {word for words, name in _TALK if name == who for word in words.split()}
        assert "Speaker" not in text
    starts = [cue.start for cue in cues]
    assert starts == sorted(starts)
    for words, who in _TALK:
        for word in words.split():
            assert any(word in cue.content.split() or f"<u>{word}</u>" in cue.content for cue in cues), (word, who)


def test_a_style_does_not_cut_who_is_spoken_over():
    cues = list(srt.parse(render(overlapping(), "srt", WriterOptions(subtitle_style="netflix"))))
    last = next(cue for cue in cues if "seven" in cue.content)
    assert last.end.total_seconds() >= 5.6
    assert next(cue for cue in cues if "eight" in cue.content).start.total_seconds() == 2.0


@given(st.lists(st.tuples(st.integers(1, 12), st.sampled_from(["Speaker 1", "Speaker 12"])), min_size=1, max_size=6))
def test_names_count_to_the_width_of_a_line(turns):
    made, now = [], 0.0
    for n_words, who in turns:
        words = spoken("word " * n_words, now)
        now = words[-1][2]
        made.append(segment(" word" * n_words, words[0][1], now, who, words))
    for layout in (WriterOptions(max_line_width=20), WriterOptions(subtitle_style="bbc")):
        width = layout.max_line_width or 37
        for cue in srt.parse(render(result_of(*made), "srt", layout)):
            assert all(len(line) <= width for line in cue.content.split("\n"))


def test_karaoke_names_who_sings():
    text = render(overlapping(), "vtt", WriterOptions(karaoke=True))
    assert "\n<v Speaker 2>eight<00:00:02.800> nine\n" in text
    assert r",Speaker 2,0,0,0,,Speaker 2: {\k80}eight{\k80} nine" in render(
        overlapping(), "ass", WriterOptions(karaoke=True)
    )
