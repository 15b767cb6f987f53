"""What a line of subtitles may not be broken within: words with their elisions and punctuation, phrases of Japanese.

Whisper's words are pieces: ``l'avion`` is two, a Japanese word one for each character, a French question mark one of
its own. Where a language puts spaces between words, lines break there; Chinese, Japanese and Thai are segmented by
BudouX, and no line begins with what closes or ends with what opens.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise

from whisper_max.errors import OptionError
from whisper_max.transcribe.result import Word

_SEGMENTED = ("ja", "zh", "yue", "th")
_WIDE = ("ja", "zh", "yue", "ko")  # of square characters, each of which counts as one, and Latin ones as half
_QUOTES = "\"'"
_JOINED = ("Mn", "Me", "Cf")  # categories of characters that stand on the one before
_JOINER = "\u200d"  # after which the next one does, too
_NO_LINE_BEGINS_WITH = "ー々ゝゞヽヾ〜～・ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶ…‥%％°℃"  # JIS X 4051, 6.1

Unit = list[Word]
"""Words that stay on one line; all but the first of a line keep their spaces."""


def units_of(words: Sequence[Word], language: str) -> list[Unit]:
    """The words in units, in order.

    Args:
        words: with their spaces, as Whisper has them.
        language: a code.

    Raises:
        OptionError: a language that needs BudouX, which is not installed.
    """
    borders = _phrase_borders(words, language) if language in _SEGMENTED else _spaces(words)
    units: list[Unit] = []
    for word, begins in zip(words, borders, strict=True):
        if units and not (begins and _may_part(units[-1][-1].word, word.word)):
            units[-1].append(word)
        else:
            units.append([word])
    return units


def text_of(unit: Sequence[Word]) -> str:
    """The text of words in a row, spaces included."""
    return "".join(word.word for word in unit)


def width_of(text: str, language: str) -> float:
    """Columns of a text: characters that stand by themselves; Latin ones are half where others are square."""
    wide = language in _WIDE
    columns = 0.0
    for character in text:
        if unicodedata.category(character) in _JOINED:
            continue
        columns += 1.0 if not wide or unicodedata.east_asian_width(character) in "WF" else 0.5
    return columns


def _spaces(words: Sequence[Word]) -> Iterator[bool]:
    return (word.word[:1].isspace() for word in words)


def _phrase_borders(words: Sequence[Word], language: str) -> list[bool]:
    """True for each word that begins a phrase."""
    text = text_of(words)
    phrases = _parser(language)(text)
    starts = set(accumulate((len(phrase) for phrase in phrases), initial=0))
    places = accumulate((len(word.word) for word in words), initial=0)
    return [place in starts or word.word[:1].isspace() for place, word in zip(places, words, strict=False)]


def _parser(language: str) -> Callable[[str], list[str]]:
    try:
        import budoux
    except ImportError as error:
        raise OptionError(
            f"{language} is broken into lines by BudouX, which is not installed",
            where="subtitle_style",
            hint="install the extra: pip install 'whisper-max[subtitles]'",
        ) from error
    loaders = {
        "ja": budoux.load_default_japanese_parser,
        "zh": budoux.load_default_simplified_chinese_parser,
        "yue": budoux.load_default_traditional_chinese_parser,
        "th": budoux.load_default_thai_parser,
    }
    parse: Callable[[str], list[str]] = loaders[language]().parse
    return parse


def _may_part(before: str, after: str) -> bool:
    """False where the first ends with what opens, or the second is or, without a space, begins with what closes."""
    last, first, rest = before.rstrip()[-1:], after.lstrip()[:1], after.strip()
    if last and (_opens(last) or (last in _QUOTES and before.strip() == last and before[:1].isspace())):
        return False
    if rest and all(_closes(character) for character in rest):
        return False
    return not (first and not after[:1].isspace() and (_closes(first) or first in _NO_LINE_BEGINS_WITH))


def _opens(character: str) -> bool:
    return unicodedata.category(character) in ("Ps", "Pi") or character in "¿¡"


def _closes(character: str) -> bool:
    category = unicodedata.category(character)
    return category in ("Pe", "Pf") or (category == "Po" and character not in "¿¡\"'#&@*/\\%")


def split_long(word: Word, width: float, language: str) -> list[Word]:
    """A word, such as an address, in parts that are no wider, each with its share of the time."""
    if width_of(word.word.strip(), language) <= width:
        return [word]
    parts = [word.word[: len(word.word) - len(word.word.lstrip())]]
    for before, character in pairwise(" " + word.word.lstrip()):
        joined = unicodedata.category(character) in _JOINED or before == _JOINER
        if joined or width_of((parts[-1] + character).strip(), language) <= width:
            parts[-1] += character
        else:
            parts.append(character)
    borders = [
        word.start + (word.end - word.start) * place / len(word.word)
        for place in accumulate(map(len, parts), initial=0)
    ]
    return [
        replace(word, word=part, start=start, end=end)
        for part, (start, end) in zip(parts, pairwise(borders), strict=True)
    ]


def split_wide(unit: Unit, width: float, language: str) -> list[Unit]:
    """A unit in parts that are no wider, of words that are not."""
    if width_of(text_of(unit).strip(), language) <= width:
        return [unit]
    parts: list[Unit] = [[unit[0]]]
    for _, word in pairwise(unit):
        if width_of(text_of([*parts[-1], word]).strip(), language) <= width:
            parts[-1].append(word)
        else:
            parts.append([word])
    return parts
