import csv
import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pysubs2
import pytest
import srt
import webvtt
from hypothesis import given, settings
from hypothesis import strategies as st

from whisper_max.errors import OptionError, OutputError
from whisper_max.output import FORMATS, WriterOptions, render
from whisper_max.transcribe.result import Segment, TranscriptionResult, Word

CASES = json.loads((Path(__file__).parent / "data" / "writer_reference.json").read_text(encoding="utf-8"))
OUTPUTS = [(case["result"], output) for case in CASES for output in case["outputs"]]


def make_segment(text, start=0.0, end=1.0, words=None, id=0):
    return Segment(id, 0, start, end, text, [1, 2], 0.0, -0.25, 1.5, 0.125, words=words)


def make_result(*segments, options=None):
    return TranscriptionResult("".join(s.text for s in segments), list(segments), "en", options=options or {})


def from_reference(result):
    segments = [
        make_segment(s["text"], s["start"], s["end"], [Word(**w) for w in s["words"]] if "words" in s else None)
        for s in result["segments"]
    ]
    return make_result(*segments)


CUE = re.compile(r"^(\S+) --> (\S+)\n((?:.+\n)*)\n", re.MULTILINE)


def seconds(stamp):
    """Of a time of srt or vtt."""
    parts = stamp.replace(",", ".").split(":")
    return sum(float(part) * 60**i for i, part in enumerate(reversed(parts)))


def cues_of(text):
    return [(seconds(start), seconds(end), content.strip()) for start, end, content in CUE.findall(text)]


@pytest.mark.parametrize(("result", "output"), OUTPUTS)
def test_bytes_equal_openai_whisper_but_for_cues_without_text_or_length(result, output):
    options = WriterOptions(**output["layout"])
    found, expected = render(from_reference(result), output["format"], options), output["text"]
    cues = cues_of(expected) if output["format"] in ("srt", "vtt") else []
    if all(start < end and content for start, end, content in cues):
        assert found == expected
        return
    ours = [cue for cue in cues_of(found) if not options.highlight_words or "<u>" in cue[2]]
    theirs = [cue for cue in cues if cue[2] and (not options.highlight_words or "<u>" in cue[2])]
    assert [cue[2] for cue in ours] == [cue[2] for cue in theirs]
    assert all(start < end for start, end, _ in ours)
    for (start, end, _), (their_start, their_end, _) in zip(ours, theirs, strict=True):
        if their_start < their_end:  # a neighbour without length takes at most half
            assert their_start - 1e-6 <= start < end <= their_end + 1e-6
            assert end - start > (their_end - their_start) / 4 - 2e-3


def test_json_is_the_result_and_its_options():
    segment = make_segment(" Žluťoučký kůň", words=[Word(" Žluťoučký", 0.0, 0.5, 0.75)])
    text = render(make_result(segment, options={"beam_size": 5, "temperature": (0.0, 0.2)}), "json")
    assert "Žluťoučký" in text
    assert json.loads(text) == {
        "text": " Žluťoučký kůň",
        "segments": [
            {
                "id": 0,
                "seek": 0,
                "start": 0.0,
                "end": 1.0,
                "text": " Žluťoučký kůň",
                "tokens": [1, 2],
                "temperature": 0.0,
                "avg_logprob": -0.25,
                "compression_ratio": 1.5,
                "no_speech_prob": 0.125,
                "words": [{"word": " Žluťoučký", "start": 0.0, "end": 0.5, "probability": 0.75}],
            }
        ],
        "language": "en",
        "options": {"beam_size": 5, "temperature": [0.0, 0.2]},
    }


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_json_has_null_for_what_is_no_number(number):
    segment = make_segment(" a")
    segment.avg_logprob = number
    text = render(make_result(segment, options={"logprob_threshold": [number]}), "json")
    assert json.loads(text)["segments"][0]["avg_logprob"] is None
    assert json.loads(text)["options"] == {"logprob_threshold": [None]}


def test_lrc_is_as_whisper_cpp_writes_it():
    result = make_result(
        make_segment(" First", 0.0), make_segment(" second\nhalf", 61.239), make_segment(" late", 6000.0)
    )
    assert render(result, "lrc") == "[by:whisper_max]\n[00:00.00] First\n[01:01.23] second half\n[100:00.00] late\n"


def test_csv_is_as_whisper_cpp_writes_it():
    result = make_result(make_segment(' He said "no", twice', 0.0, 1.5), make_segment(" Yes.", 1.5, 2.0004))
    assert render(result, "csv") == 'start,end,text\n0,1500," He said ""no"", twice"\n1500,2000," Yes."\n'


def test_vtt_spells_out_what_would_be_a_tag_or_a_reference():
    result = make_result(make_segment(" if a <b> AT&T &lt; &#65; --> 5"))
    assert "\nif a &lt;b> AT&T &amp;lt; &amp;#65; -> 5\n" in render(result, "vtt")
    words = [Word(" <b>", 0.0, 0.5, 1.0), Word(" c", 0.5, 1.0, 1.0)]
    highlighted = render(make_result(make_segment(" <b> c", words=words)), "vtt", WriterOptions(highlight_words=True))
    assert "\n<u>&lt;b></u> c\n" in highlighted


def test_tags_of_a_known_text_are_those_of_the_format():
    words = [
        Word(text, number / 2, number / 2 + 0.5, 1.0)
        for number, text in enumerate([" {\\an8}<I>He</I>", '\n<font color="red">said</font>', " <b>a", " < <b>b <x>"])
    ]
    segment = make_segment("".join(word.word for word in words), 0.0, 2.0, words)
    known = replace(make_result(segment), marked_up=True)
    assert "\n<i>He</i>\nsaid <b>a &lt; <b>b &lt;x>\n" in render(known, "vtt")
    assert "<u><i>He</i></u>" in render(known, "vtt", WriterOptions(highlight_words=True))
    assert r",{\an8}{\i1}He{\i0}\Nsaid {\b1}a < {\b1}b <x>" in render(known, "ass")
    assert '{\\an8}<I>He</I>\n<font color="red">said</font> <b>a' in render(known, "srt")
    assert "&lt;I>He" in render(make_result(segment), "vtt")  # what was heard has none


def test_a_segment_without_words_among_others_with_words_is_not_dropped():
    first = make_segment(" one", 0.0, 1.0, [Word(" one", 0.0, 1.0, 1.0)])
    text = render(make_result(first, make_segment(" lost?", 1.0, 2.0, []), make_segment("", 2.0, 3.0, [])), "srt")
    assert [(cue.content, cue.start.total_seconds()) for cue in srt.parse(text)] == [("one", 0.0), ("lost?", 1.0)]


# Times in milliseconds beyond 99 hours, text of any kind; what a reader gives back is compared line by line.
times = st.integers(0, 150 * 3600 * 1000).map(lambda ms: ms / 1000)
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n\t\r <>&-")) | st.sampled_from(
    ["", " ", "-->", " a --> b", "\n\nx\n\n\ny", "<i>", "&amp;", "1", "WEBVTT", "NOTE x", "\x85", "00:00 --> 00:01"]
)
segments = st.builds(make_segment, texts, start=times, end=times)


def shown_lines(text):
    return [line for line in re.sub("-+->", "->", text.strip()).splitlines() if line.strip()]


def in_order(segments):
    """The segments one after the other, some without length."""
    borders = sorted(time for segment in segments for time in (segment.start, segment.end))
    for number, segment in enumerate(segments):
        segment.start, segment.end = borders[2 * number], borders[2 * number + (segment.text != "1")]
    return segments


ordered = st.lists(segments, max_size=5).map(in_order)


def check_times(cues, segments):
    """Every cue lasts; where every segment does, the times are theirs."""
    assert all(start < end for start, end in cues)
    expected = [(round(segment.start * 1000), round(segment.end * 1000)) for segment in segments]
    if all(start < end for start, end in expected):
        assert cues == expected


def test_a_millisecond_is_not_halved_for_a_segment_without_length():
    text = render(make_result(make_segment("0", 0.0, 0.001), make_segment("1", 0.001, 0.001)), "srt")
    assert [(cue.start.microseconds, cue.end.microseconds) for cue in srt.parse(text)] == [(0, 1000), (1000, 2000)]


def test_the_last_segment_lasts_where_there_is_but_a_millisecond_before_it():
    spans = [(0.0, 0.0), (0.0, 0.001), (0.001, 0.001)]
    text = render(make_result(*(make_segment("0", *span) for span in spans)), "vtt")
    times = [
        (round(seconds(each.start) * 1000), round(seconds(each.end) * 1000))
        for each in webvtt.from_string(text).captions
    ]
    assert times == [(0, 1), (0, 1), (1, 2)]


@given(ordered)
def test_srt_is_read_back_by_a_library(segments):
    cues = list(srt.parse(render(make_result(*segments), "srt")))
    shown = [segment for segment in segments if shown_lines(segment.text)]
    assert [cue.index for cue in cues] == list(range(1, len(shown) + 1))
    assert [cue.content for cue in cues] == ["\n".join(shown_lines(segment.text)) for segment in shown]
    times = [(round(cue.start.total_seconds() * 1000), round(cue.end.total_seconds() * 1000)) for cue in cues]
    check_times(times, shown)


@given(ordered)
def test_vtt_is_read_back_by_a_library(segments):
    captions = list(webvtt.from_string(render(make_result(*segments), "vtt")).captions)
    shown = [segment for segment in segments if shown_lines(segment.text)]
    plain = [caption.raw_text.replace("&lt;", "<").replace("&amp;", "&") for caption in captions]
    assert plain == ["\n".join(shown_lines(segment.text)) for segment in shown]
    check_times([(round(seconds(each.start) * 1000), round(seconds(each.end) * 1000)) for each in captions], shown)


# Of hours pysubs2 reads two digits.
@given(ordered.map(lambda segments: [segment for segment in segments if segment.end < 99 * 3600]))
def test_ass_is_read_back_by_a_library(segments):
    events = pysubs2.SSAFile.from_string(render(make_result(*segments), "ass"))
    shown = [segment for segment in segments if shown_lines(segment.text)]
    assert len(events) == len(shown)
    for event, segment in zip(events, shown, strict=True):
        plain = event.text.replace(r"\N", "\n").replace(r"\{", "{").replace(r"\}", "}").replace("\u2060", "")
        # A reader strips the text of an event.
        assert plain.strip() == "\n".join(shown_lines(segment.text)).replace("\u2060", "").strip()
        assert event.start < event.end


@given(st.lists(segments, max_size=5))
def test_tables_have_one_row_per_segment(segments):
    result = make_result(*segments)
    spoken = [segment for segment in segments if segment.text.strip()]
    assert len(render(result, "tsv").split("\n")) == len(segments) + 2
    assert all(len(row.split("\t")) == 3 for row in render(result, "tsv").split("\n")[:-1])
    assert len(render(result, "lrc").split("\n")) == len(spoken) + 2
    rows = list(csv.reader(io.StringIO(render(result, "csv"), newline="")))
    assert rows[0] == ["start", "end", "text"]
    assert [row[2] for row in rows[1:]] == [segment.text for segment in segments]


def without_dashes(text):
    """Arrows are shortened, also those that line breaks take apart, so dashes before > don't count."""
    return re.sub("-+>", ">", text)


words = st.lists(
    st.builds(
        Word,
        st.sampled_from([" a", " bb", "c", " ddddd", " --", ">", "", " ", " é<"]),
        times,
        times,
        st.just(1.0),
    ),
    max_size=8,
)
word_segments = st.lists(words.map(lambda w: make_segment("".join(x.word for x in w), 1.0, 2.0, w)), max_size=4)
layouts = st.one_of(
    st.builds(WriterOptions, st.integers(1, 12), st.integers(1, 3), st.booleans()),
    st.builds(WriterOptions, st.none() | st.integers(1, 12), st.none(), st.booleans(), st.none() | st.integers(1, 4)),
)


@given(word_segments, layouts)
@settings(max_examples=150)
def test_layouts_keep_every_word_in_order_and_every_limit(segments, options):
    plain = WriterOptions(options.max_line_width, options.max_line_count, False, options.max_words_per_line)
    cues = list(srt.parse(render(make_result(*segments), "srt", plain)))
    spoken = "".join("".join(segment.text for segment in segments).split())
    assert without_dashes("".join("".join(cue.content for cue in cues).split())) == without_dashes(spoken)
    for cue in cues:
        lines = cue.content.split("\n")
        if options.max_line_count is not None:
            assert len(lines) <= options.max_line_count
        if options.max_line_width is not None:
            assert all(len(line) <= max(options.max_line_width, 6) for line in lines)


@given(word_segments)
def test_highlighting_shows_each_word_once(segments):
    text = render(make_result(*segments), "srt", WriterOptions(highlight_words=True))
    n_words = sum(1 for segment in segments for word in segment.words if word.word.strip())
    assert text.count("<u>") == n_words == text.count("</u>")


@pytest.mark.parametrize("format", ["vtt", "srt"])
def test_layout_without_words_is_refused(format):
    with pytest.raises(OptionError, match="max_line_width needs word_timestamps"):
        render(make_result(make_segment(" a")), format, WriterOptions(max_line_width=10))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_line_width": 0}, "max_line_width: not a limit: expected an integer above 0, found 0"),
        ({"max_words_per_line": 1.5}, "max_words_per_line: not a limit"),
        ({"max_line_count": 2}, "max_line_count has no effect without max_line_width"),
        (
            {"max_line_count": 2, "max_line_width": 9, "max_words_per_line": 1},
            "max_words_per_line has no effect with max_line_width and max_line_count",
        ),
    ],
)
def test_layouts_that_contradict_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        WriterOptions(**options)


def test_unknown_format_is_refused():
    with pytest.raises(OptionError, match=r"unknown output format: expected one of txt, vtt, .*, found aud"):
        render(make_result(), "aud")


@pytest.mark.parametrize("format", sorted(set(FORMATS) - {"txt", "json"}))
@pytest.mark.parametrize("time", [-0.1, math.nan, math.inf])
def test_impossible_times_are_refused(format, time):
    with pytest.raises(OutputError, match="a time that can't be written"):
        render(make_result(make_segment(" a", time, time)), format)
