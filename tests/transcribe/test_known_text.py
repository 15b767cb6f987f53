"""Texts that are known: plain, srt and vtt, with their words as they are written."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_max.errors import OptionError
from whisper_max.transcribe.known_text import read_known_text, read_text_file, text_of
from whisper_max.transcribe.matching import match, n_trusted, tokens_of


def texts(text):
    return ["".join(word.text for word in passage.words) for passage in read_known_text(text)]


def test_lines_and_sentences_of_plain_text():
    text = "First line, here.\n\n  Second: 3.5 % of \u201cit.\u201d  And (so) on!\r\nNo end\n---\n"
    assert texts(text) == [
        " First line, here.",
        " Second: 3.5 % of \u201cit.\u201d",
        " And (so) on!",
        " No end",
        " ---",
    ]


def test_words_are_kept_as_they_are_written():
    (passage,) = read_known_text("On 24/12, $1,000 \u2014 \u201cthat's\u201d  it")
    assert [word.text for word in passage.words] == [
        " On", " 24/12,", " $1,000", " \u2014", " \u201cthat's\u201d", "  it",
    ]  # fmt: skip


def test_scripts_without_spaces_have_a_word_for_each_character():
    (passage,) = read_known_text("我们去2024年。")
    assert [word.text for word in passage.words] == ["我", "们", "去", "2024", "年。"]


SRT = (
    "\ufeff1\r\n00:00:01,000 --> 00:00:02,000\r\n<i>Hello,</i>\r\nyou there.\r\n\r\n"
    "2\r\n00:00:03,000 --> 00:00:04,000\r\n♪\r\n\r\n7\r\n00:00:05,000 --> 00:00:06,000 X1:40\r\nBye. Bye."
)


def test_cues_of_srt_are_passages_with_their_lines_and_markup():
    passages = read_known_text(SRT)
    assert texts(SRT) == [" <i>Hello,</i>\nyou there.", " ♪", " Bye. Bye."]
    assert [word.spoken for word in passages[0].words] == ["Hello,", "you", "there."]


def test_srt_without_blank_lines_between():
    text = "1\n00:00:01,000 --> 00:00:02,000\nOne\n2\n00:00:02,000 --> 00:00:03,000\nTwo\n"
    assert texts(text) == [" One", " Two"]


def test_cues_of_vtt_have_no_tags_and_the_voice():
    text = (
        "WEBVTT - title\n\nSTYLE\n::cue {}\n\nNOTE a --> b\n\nid 1\n00:01.000 --> 00:02.000 align:start\n"
        "<v.loud Ann &amp; Bo>A &lt;b&gt; <00:01.500><c>c</c>\n\n00:02.000 --> 00:03.000\nplain\n"
    )
    passages = read_known_text(text)
    assert texts(text) == [" A <b> c", " plain"]
    assert [passage.speaker for passage in passages] == ["Ann & Bo", None]
    assert not any(passage.marked_up for passage in passages)
    assert all(passage.marked_up for passage in read_known_text(SRT))


def test_a_cue_of_vtt_in_which_two_speak_is_one_for_each():
    text = "WEBVTT\n\n00:01.000 --> 00:02.000\nSo: <v Ann>one\n<v Bo>two</v> three\n"
    assert texts(text) == [" So:", " one", " two", " three"]
    assert [passage.speaker for passage in read_known_text(text)] == [None, "Ann", "Bo", None]


def test_markup_with_spaces_in_it_is_not_said():
    text = (
        "1\n00:00:01,000 --> 00:00:02,000\n"
        "<font color=\"#ffff00\" size=12>Ann &amp; Bo</font><font face='A b'>C</font>\n"
        "{\\an8\\fnArial Bold}go a < b\n"
    )
    (passage,) = read_known_text(text)
    assert [word.spoken for word in passage.words] == ["Ann", "&", "BoC", "go", "a", "<", "b"]
    (kept,) = texts(text)
    assert kept.split("\n") == [f" {text.split(chr(10))[2]}", text.split("\n")[3]]


def test_invisible_characters_are_not_said():
    (passage,) = read_known_text("there\u00adby \u200b go\u200bes")
    assert [(word.text, word.spoken) for word in passage.words] == [
        (" there\u00adby", "thereby"),
        (" \u200b go\u200bes", "goes"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "1\n00:00:01,000 --> 00:00:02,000\nOne\none\n\n2\n00:00:02,000 --> 00:00:03,000\n2\n".replace("\n", "\r\r\n"),
        "1\n00:00:01 --> 00:00:02\nOne\none\n\n2\n00:00:02 --> 00:00:03\n2\n",
        "1\n00:00:01,000 --> 00:00:02,000\nOne\n\none\n\nsecond\n00:00:02,000 --> 00:00:03,000\n2\n",
        "0:00:01.000,0:00:02.000\nOne\none\n\n0:00:02.000,0:00:03.000\n2\n",
    ],
    ids=["two returns", "whole seconds", "a blank line and a name", "sbv"],
)
def test_subtitles_as_they_are_found(text):
    assert texts(text) == [" One\none", " 2"]


def test_lines_of_lrc_as_they_are_sung():
    text = "[ar:Ann]\n[00:12.00]One <00:12.50>two\n[00:03][00:20.00]Chorus\n(again)\n"
    assert texts(text) == [" Chorus", " One two", " Chorus", " (again)"]


def test_numbers_that_are_no_times_are_text():
    number = "9" * 5000
    assert texts(f"[{number}:10] hi\n[00:01] ho") == [f" [{number}:10] hi", " ho"]


def test_a_line_of_lrc_is_not_sung_without_end():
    assert texts("[00:01]" * 100 + "la") == [" la"] * 100
    with pytest.raises(OptionError, match=r"too many times before a line of lrc: .*found 101"):
        read_known_text("[00:01]" * 101 + "la")


@pytest.mark.seconds
@pytest.mark.parametrize("part", ["<v ", "<a b=c ", "a. "])
def test_much_that_begins_and_does_not_end_is_read_in_one_pass(part):
    """Where each were looked for up to the end of the text, it would take minutes."""
    (passage,) = read_known_text(f"WEBVTT\n\n00:01.000 --> 00:02.000\na {part * 100_000}")
    assert passage.words[0].spoken == "a"
    assert len(read_known_text(f"a {part * 100_000}")) == 1


def test_abbreviations_end_no_sentence():
    assert texts("Mr. J. Doe came at 3 p.m. today. Then he left.") == [
        " Mr. J. Doe came at 3 p.m. today.",
        " Then he left.",
    ]


@pytest.mark.parametrize(
    "text", ["[Script Info]\nTitle: a", '<?xml version="1.0"?><tt/>', '{"text": "a"}', "<!DOCTYPE html>"]
)
def test_files_of_which_text_is_but_a_part_are_refused(text):
    with pytest.raises(OptionError, match=r"text: of another kind: .*convert it to srt"):
        read_known_text(text)


@pytest.mark.parametrize("text", ["", " \n\t", "...\n-- !", "WEBVTT\n", "1\n00:00:01,000 --> 00:00:02,000\n\n"])
def test_a_text_without_a_word_is_refused(text):
    with pytest.raises(OptionError, match="text: there is no word in it"):
        read_known_text(text)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_of_text(tmp_path, encoding):
    path = tmp_path / "text"
    path.write_bytes("Äpfel".encode(encoding))
    assert read_text_file(path) == "Äpfel"


@pytest.mark.parametrize("content", ["Äpfel".encode("latin-1"), b"\x89PNG\xff\xff", None])
def test_files_that_are_none(tmp_path, content):
    path = tmp_path / "text"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(OptionError, match=r"not a text|can't be read"):
        read_text_file(path)


def test_a_text_and_the_name_of_its_file(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("Apples")
    assert text_of("Apples") == text_of(path) == "Apples"
    assert text_of("missing.txt") == "missing.txt"
    with pytest.raises(OptionError, match="text: the name of a file"):
        text_of(str(path))


@given(st.text(max_size=80))
def test_any_text_keeps_all_that_is_not_white(text):
    try:
        passages = read_known_text(text)
    except OptionError:
        return
    assert all(word.spoken for passage in passages for word in passage.words)
    kept = [character for passage in texts(text) for character in passage if not character.isspace()]
    written = iter(text)
    assert all(character in written for character in kept)  # in its order


# ---------------------------------------------------------------- matching


def test_tokens_have_no_case_marks_or_hyphens():
    tokens = tokens_of(["Don\u2019t", "--", "well-known", "N\u00aa", "我们"])
    assert tokens.parts == ["dont", "well", "known", "na", "我", "们"]
    assert tokens.words == [0, 2, 2, 3, 4, 4]


words = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f", "g", "h"]), max_size=60)


@given(words, words)
def test_what_is_matched_is_the_same_and_in_order(known, heard):
    found = match(known, heard)
    places = [place for place in found if place is not None]
    assert all(known[i] == heard[place] for i, place in enumerate(found) if place is not None)
    assert places == sorted(set(places))


def story(n_words, seed=0):
    rng = random.Random(seed)
    return [f"w{int(rng.paretovariate(0.5))}" for _ in range(n_words)]


def test_a_long_text_with_words_removed_added_and_changed():
    known = story(4000)
    heard = [word if i % 13 else "other" for i, word in enumerate(known) if i % 17] + ["more"] * 30
    found = match(known, heard)
    assert sum(place is not None for place in found) > 0.8 * len(known)
    assert n_trusted(found) > 0.7 * len(known)


def test_parts_that_are_skipped_or_repeated():
    verse, chorus, other = story(40, 1), story(30, 2), story(50, 3)
    sung = [*verse, *chorus, *other, *chorus]
    assert n_trusted(match([*verse, *chorus, *other, *chorus], sung)) == len(sung)
    found = match([*verse, *other], sung)  # the chorus is not in the text
    assert n_trusted(found) >= 85
    found = match([*verse, *chorus, *chorus, *other], sung)  # it is there twice, and sung once there
    assert n_trusted(found) >= 115


def test_texts_that_have_nothing_to_do_with_each_other():
    found = match(story(3000, 1), story(3000, 2))
    assert n_trusted(found) < 0.05 * 3000
    assert n_trusted(match(["a", "b"], ["a", "b"])) == 2
    assert n_trusted(match(["a", "b"], ["b"])) == 0
