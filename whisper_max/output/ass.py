"""Advanced SubStation Alpha, as libass and players read it: one style, and karaoke where it is asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence

from whisper_max.output.speakers import label, one_line
from whisper_max.output.subtitles import Cue
from whisper_max.output.timestamps import milliseconds

_HEAD = """[Script Info]
; by whisper_max
ScriptType: v4.00+
WrapStyle: 2
ScaledBorderAndShadow: yes
PlayResX: 1920
PlayResY: 1080

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, \
StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,64,&H00FFFFFF,&H0000FFFF,&H00000000,&H80000000,0,0,0,0,100,100,0,0,1,3,1,2,96,96,54,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""
_BREAK = r"\N"
FONT_OR_PLACE = re.compile(r"</?font\b|\{", re.IGNORECASE)
"""How those tags of srt begin that other formats leave out: fonts with their colours, and ass's, as of places."""
_STYLE = re.compile("<(/?)([ibu])>")
_UNDERLINED = re.compile("<u>(.*?)</u>")
_WORD_JOINER = "\u2060"  # keeps a backslash of the text from being read with what follows it


def render_ass(cues: Sequence[Cue], *, karaoke: bool = False) -> str:
    """A whole file.

    Args:
        cues: in order, their text already escaped by ``escape_ass``.
        karaoke: let each word light up from its start to its end; for cues that have words.

    Raises:
        OutputError: a time that can't be written.
    """
    return _HEAD + "".join(_event(cue, karaoke) for cue in cues)


def escape_ass(text: str) -> str:
    """What a player would take for a tag or a line break, spelled so that it is shown."""
    return text.replace("\\", "\\" + _WORD_JOINER).replace("{", r"\{").replace("}", r"\}")


def tag_of_ass(tag: str) -> str:
    """A tag of srt's in ass: its own stay, italics, bold and underlined are translated; what is unknown is shown."""
    if tag.startswith("{"):
        return tag
    if match := _STYLE.fullmatch(tag.lower()):
        return f"{{\\{match[2]}{0 if match[1] else 1}}}"
    return "" if FONT_OR_PLACE.match(tag) else escape_ass(tag)


def _event(cue: Cue, karaoke: bool) -> str:
    start = _hundredths(cue.start)
    end = max(_hundredths(cue.end), start + 1)
    text = _sung(cue, start) if karaoke and cue.words else _UNDERLINED.sub(r"{\\u1}\1{\\u0}", cue.text)
    who = escape_ass(label(cue.speaker))
    text = (who + text).replace("\n", _BREAK)
    return f"Dialogue: 0,{_time(start)},{_time(end)},Default,{_actor(cue.speaker)},0,0,0,,{text}\n"


def _actor(speaker: str | None) -> str:
    """Who speaks, for the column of names, which ends with a comma."""
    return "" if speaker is None else one_line(speaker).replace(",", ";")


def _sung(cue: Cue, start: int) -> str:
    """The words, each after the hundredths of a second for which it lights up; pauses are syllables without text."""
    parts = []
    now = start
    for word in cue.words:
        begin, end = max(_hundredths(word.start), now), max(_hundredths(word.end), now)
        if begin > now:
            parts.append(f"{{\\k{begin - now}}}")
        text = "\n".join(word.word.splitlines())
        parts.append(f"{{\\k{end - begin}}}{text}")
        now = end
    return "".join(parts)


def _hundredths(seconds: float) -> int:
    return round(milliseconds(seconds) / 10)


def _time(hundredths: int) -> str:
    rest, cs = divmod(hundredths, 100)
    rest, s = divmod(rest, 60)
    h, m = divmod(rest, 60)
    return f"{h}:{m:02d}:{s:02d}.{cs:02d}"
