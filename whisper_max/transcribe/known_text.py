"""A text that is known, a script, lyrics or subtitles, as passages of words that stay as they are written."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from itertools import pairwise
from pathlib import Path

from whisper_max.errors import OptionError

_TIMES = re.compile(r"\s*(?:\d+:)?\d+:\d+[.,]\d+\s*-->\s*(?:\d+:)?\d+:\d+[.,]\d+")
_TAG = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")  # of srt and vtt, and those of ass that are found in srt
_VOICE = re.compile(r"<v(?:\.[^ \t>]*)?[ \t]+([^>]*)>")
_SENTENCE_END = re.compile(r"""(?<=[.!?。！？…])["'”’»」』)\]]*(\s+)""")
_WORD = re.compile(r"\s*\S+")
# Scripts that put no spaces between words: of these each character counts as a word, as Whisper's times have it.
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_PIECE = re.compile(rf"\s*(?:{_UNSPACED.pattern}\W*|(?:(?!{_UNSPACED.pattern})\S)+)")


@dataclass(frozen=True)
class KnownWord:
    """A word. text: as it is written, with the white space before it; spoken: what of it is said, without markup.

    The first word of a passage has a space before it too, as Whisper's words have, where its script puts spaces.
    """

    text: str
    spoken: str


@dataclass(frozen=True)
class Passage:
    """A cue of subtitles, or a line or sentence of a text. speaker: whose voice a cue of vtt says that it is."""

    words: tuple[KnownWord, ...]
    speaker: str | None = None


def read_known_text(text: str) -> list[Passage]:
    """The passages of a text, in order, also those of marks alone; blank lines are none.

    Args:
        text: srt, vtt, or anything else as plain text: a passage for each line, and for each sentence of a line.

    Raises:
        OptionError: there is no word in it.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if text.startswith("WEBVTT"):
        passages = [_vtt_passage(cue) for cue in _cues(text)]
    elif any(_TIMES.match(line) for line in text.split("\n")):
        passages = [Passage(tuple(_words(cue))) for cue in _cues(text)]
    else:
        passages = [Passage(tuple(_words(sentence))) for line in text.split("\n") for sentence in _sentences(line)]
    passages = [passage for passage in passages if passage.words]
    if not any(character.isalnum() for passage in passages for character in _spoken_text(passage)):
        raise OptionError("there is no word in it", where="text", expected="what is said in the recording")
    return passages


def _spoken_text(passage: Passage) -> str:
    return "".join(word.spoken for word in passage.words)


def _cues(text: str) -> Iterator[str]:
    """The text of each cue: the lines after its times, up to a blank line or, where that is missing, the next times."""
    lines = text.split("\n")
    starts = [i for i, line in enumerate(lines) if _TIMES.match(line)]
    for start, following in pairwise([*starts, len(lines)]):
        cue = lines[start + 1 : following]
        blank = next((i for i, line in enumerate(cue) if not line.strip()), None)
        if blank is None and following < len(lines):
            cue = cue[:-1] if cue and cue[-1].strip().isdigit() else cue  # the number of the next one
        yield "\n".join(line for line in cue[:blank] if line.strip())


def _vtt_passage(cue: str) -> Passage:
    """A cue without its tags, which no other format has, and with the voice that they name."""
    voice = _VOICE.search(cue)
    speaker = unescape(voice[1]).strip() if voice else None
    return Passage(tuple(_words(unescape(_TAG.sub("", cue)), markup=False)), speaker or None)


def _sentences(line: str) -> Iterator[str]:
    """The sentences of a line, which are as long as a subtitle may be where it is a whole paragraph."""
    start = 0
    for end in _SENTENCE_END.finditer(line):
        yield line[start : end.start(1)]
        start = end.end(1)
    yield line[start:]


def _words(text: str, *, markup: bool = True) -> Iterator[KnownWord]:
    """The words; what is nothing but markup goes with the word after it, at the end with the one before."""
    text = text.strip()
    before = ""
    words: list[KnownWord] = []
    for piece in _PIECE.findall(text):
        spoken = _TAG.sub("", piece).strip() if markup else piece.strip()
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
