"""A text that is known, a script, lyrics or subtitles, as passages of words that stay as they are written."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import unescape
from itertools import pairwise
from operator import itemgetter
from pathlib import Path

from whisper_max.errors import OptionError

_TIME = r"(?:\d+:)?\d+:\d+(?:[.,]\d+)?"
_SBV = r"\d+:\d+:\d+\.\d{3}"  # of YouTube's subtitles, which are srt without numbers otherwise
_TIMES = re.compile(rf"\s*(?:{_TIME}\s*-->\s*{_TIME}|{_SBV},{_SBV}\s*$)")
_LRC_TIME = re.compile(r"\[(\d{1,4}):(\d{1,2}(?:[.:]\d{1,3})?)\]\s*")
_MOST_SUNG = 100  # times that a line of lrc may be sung: each makes its words once more
_LRC_WORD_TIME = re.compile(r"<\d+:\d+(?:[.:]\d+)?>\s?")
_LRC_ABOUT = re.compile(r"\[[a-z#]+:[^\]]*\]\s*$")  # title, artist and so on
_VTT_TAG = re.compile(r"<[^<>]*>")
_ATTRIBUTE = r"""\s+[\w:-]+\s*=\s*(?:"[^"\n]*"|'[^'\n]*'|[^\s<>"']+)"""
_MARKUP = rf"<[A-Za-z][\w:-]*(?:{_ATTRIBUTE})+\s*/?>|<[^<>\s]*>|\{{\\[^{{}}\n]*\}}"
TAG = re.compile(_MARKUP)
"""A tag of srt and lrc, or one of ass's that are found in srt."""
_VOICE = re.compile(r"<v(?:\.[^ \t<>]*)?[ \t]([^<>]*)>|</v>")
_SENTENCE_END = re.compile(r"""(?<=[.!?。！？…])["'”’»」』)\]]*(\s+)""")
_ABBREVIATION = re.compile(r"(?:^|\W)(?:(?:[^\W\d]\.)+|(?:Mrs?|Ms|Dr|St|Prof|vs)\.)$")  # "p.m.", "J.", "Mr."
_LONGEST_ABBREVIATION = 12  # characters
# Scripts that put no spaces between words: of these each character counts as a word, as Whisper's times have it.
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_PIECE = re.compile(rf"\s*(?:{_UNSPACED.pattern}(?:{_MARKUP}|\W)*|(?:{_MARKUP}|(?!{_UNSPACED.pattern})\S)+)")
_UNSEEN = dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff"))  # soft hyphens and spaces of no width
_OTHER_KINDS = ("[Script Info]", "<?xml", "<tt>", "<tt ", "<!doctype", "<html", "{\\rtf", '{"', '[{"')
"""How files begin that hold a text among much else."""
_SUFFIXES = (".txt", ".srt", ".vtt", ".lrc", ".sbv")


@dataclass(frozen=True)
class KnownWord:
    """A word. text: as it is written, with the white space before it; spoken: what of it is said, without markup.

    The first word of a passage has a space before it too, as Whisper's words have, where its script puts spaces.
    """

    text: str
    spoken: str


@dataclass(frozen=True)
class Passage:
    """A cue of subtitles, or a line or sentence of a text.

    speaker: whose voice a cue of vtt says that it is. marked_up: what looks like a tag in its words is one.
    """

    words: tuple[KnownWord, ...]
    speaker: str | None = None
    marked_up: bool = True


def read_known_text(text: str) -> list[Passage]:
    """The passages of a text, in order, also those of marks alone; blank lines are none.

    Args:
        text: srt, vtt, lrc, or anything else as plain text: a passage for each line, and for each sentence of a line.

    Raises:
        OptionError: there is no word in it, or it is a format of which the text is but a part.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if text.lstrip().lower().startswith(tuple(map(str.lower, _OTHER_KINDS))):
        expected, hint = "srt, vtt, lrc, or plain text", "convert it to srt"
        raise OptionError("of another kind", where="text", expected=expected, found=repr(text.strip()[:20]), hint=hint)
    lines = text.split("\n")
    if text.startswith("WEBVTT"):
        passages = [passage for cue in _cues(lines, blank_ends=True) for passage in _vtt_passages(cue)]
    elif any(map(_TIMES.match, lines)):
        single = lines if any(map(str.strip, lines[1::2])) else lines[::2]  # each line may have a blank one after it
        passages = [Passage(tuple(_words(cue))) for cue in _cues(single, blank_ends=False)]
    elif any(map(_LRC_TIME.match, lines)):
        passages = [Passage(tuple(_words(line))) for line in _lrc_lines(lines)]
    else:
        passages = [Passage(tuple(_words(sentence))) for line in lines for sentence in _sentences(line)]
    passages = [passage for passage in passages if passage.words]
    if not any(character.isalnum() for passage in passages for character in _spoken_text(passage)):
        raise OptionError("there is no word in it", where="text", expected="what is said in the recording")
    return passages


def _spoken_text(passage: Passage) -> str:
    return "".join(word.spoken for word in passage.words)


def _cues(lines: Sequence[str], *, blank_ends: bool) -> Iterator[str]:
    """The text of each cue: the lines after its times, up to a blank line or to what names the next cue."""
    starts = [i for i, line in enumerate(lines) if _TIMES.match(line)]
    for start, following in pairwise([*starts, len(lines)]):
        cue = lines[start + 1 : following]
        blank = next((i for i, line in enumerate(cue) if not line.strip()), None)
        if blank_ends and blank is not None:
            cue = cue[:blank]
        elif following < len(lines) and _ends_with_name(cue):
            cue = cue[:-1]
        yield "\n".join(line for line in cue if line.strip())


def _ends_with_name(cue: Sequence[str]) -> bool:
    """True where the last line, right before the next times, is the number or the name of the next cue."""
    last = cue[-1].strip() if cue else ""
    return last.isdigit() or (bool(last) and len(cue) > 1 and not cue[-2].strip())


def _vtt_passages(cue: str) -> Iterator[Passage]:
    """What each voice of a cue says, without its tags, which no other format has."""
    speaker, said = None, 0
    for tag in _VOICE.finditer(cue):
        yield _vtt_passage(cue[said : tag.start()], speaker)
        speaker, said = unescape(tag[1] or "").strip() or None, tag.end()
    yield _vtt_passage(cue[said:], speaker)


def _vtt_passage(said: str, speaker: str | None) -> Passage:
    return Passage(tuple(_words(unescape(_VTT_TAG.sub("", said)), markup=False)), speaker, marked_up=False)


def _lrc_lines(lines: Iterable[str]) -> list[str]:
    """The lines of a song as they are sung: one that has several times is sung several times."""
    sung: list[tuple[float, str]] = []
    for line in lines:
        times = [60 * int(time[1]) + float(time[2].replace(":", ".")) for time in _LRC_TIME.finditer(line)]
        if len(times) > _MOST_SUNG:
            expected = f"{_MOST_SUNG} at most"
            raise OptionError("too many times before a line of lrc", where="text", expected=expected, found=len(times))
        text = _LRC_WORD_TIME.sub("", _LRC_TIME.sub("", line))
        if not _LRC_ABOUT.match(line):
            sung += [(time, text) for time in times or [sung[-1][0] if sung else 0.0]]
    return [text for _, text in sorted(sung, key=itemgetter(0))]


def _sentences(line: str) -> Iterator[str]:
    """The sentences of a line, which are as long as a subtitle may be where it is a whole paragraph."""
    start = 0
    for end in _SENTENCE_END.finditer(line):
        if _ABBREVIATION.search(line[max(start, end.start() - _LONGEST_ABBREVIATION) : end.start()]):
            continue
        yield line[start : end.start(1)]
        start = end.end(1)
    yield line[start:]


def _words(text: str, *, markup: bool = True) -> Iterator[KnownWord]:
    """The words; what is nothing but markup goes with the word after it, at the end with the one before."""
    text = text.strip()
    before = ""
    words: list[KnownWord] = []
    for piece in _PIECE.findall(text):
        spoken = (unescape(TAG.sub("", piece)) if markup else piece).translate(_UNSEEN).strip()
        if not spoken:
            before += piece
            continue
        words.append(KnownWord(before + piece, spoken))
        before = ""
    if before and words:
        words[-1] = KnownWord(words[-1].text + before, words[-1].spoken)
    if words and not _UNSPACED.match(words[0].spoken):
        words[0] = KnownWord(" " + words[0].text, words[0].spoken)
    yield from words


def text_of(given: str | os.PathLike[str]) -> str:
    """A text that is given itself, or by the path of its file.

    Raises:
        OptionError: the file can't be read or is something else, or what is given as a text is the name of a file.
    """
    if isinstance(given, os.PathLike):
        return read_text_file(given)
    if given.lower().endswith(_SUFFIXES) and os.path.isfile(given):
        expected = "the text itself, or the Path of a file"
        raise OptionError("the name of a file", where="text", expected=expected, found=repr(given))
    return given


def read_text_file(path: str | os.PathLike[str]) -> str:
    """A file of text, in UTF-8, or in UTF-16 where it says so.

    Raises:
        OptionError: it can't be read, or is something else.
    """
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise OptionError("can't be read", where=path, found=getattr(error, "strerror", None) or error) from error
    encoding = "utf-16" if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise OptionError(
            "not a text", where=path, expected="UTF-8", found=f"byte {error.start}", hint="save it as UTF-8"
        ) from error
