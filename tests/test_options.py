"""An option is said at its field, and every door has it from there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import whisper_max
from whisper_max.audio.vad_options import VadOptions
from whisper_max.commands.flags import TRANSCRIBE_GROUPS, of_fields
from whisper_max.errors import OptionError
from whisper_max.options import check_ranges, option, options_of
from whisper_max.output import WriterOptions
from whisper_max.server.http.fields import FIELDS
from whisper_max.transcribe.options import TranscribeOptions

PACKAGE = Path(whisper_max.__file__).parent
OF_THE_PEER = {"compat"}  # signatures of others, which have to be written out


@dataclass(frozen=True)
class Made:
    volume: int = option(3, "how loud", least=1, most=11)
    share: float | None = option(None, "of all", least=0, most=1, doors=("form",))
    speed: float = option(1.0, "times real time", above=0)
    voice: str = option("low", "of the reader", choices=("low", "high"))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("volume", 0, "volume: out of range: expected at least 1, found 0"),
        ("volume", 12, "volume: out of range: expected at most 11, found 12"),
        ("share", 1.5, "share: out of range: expected 0 to 1, found 1.5"),
        ("share", float("nan"), "share: out of range: expected 0 to 1, found nan"),
        ("speed", 0.0, "speed: out of range: expected above 0, found 0.0"),
        ("speed", float("inf"), "speed: out of range: expected above 0, found inf"),
        ("voice", "shrill", "voice: unknown voice: expected low or high, found 'shrill'"),
    ],
)
def test_ranges(name: str, value: Any, message: str):
    made = Made(**{name: value})
    with pytest.raises(OptionError) as error:
        check_ranges(made)
    assert str(error.value) == message


def test_what_is_in_range_passes():
    check_ranges(Made())
    check_ranges(Made(volume=11, share=0.0, speed=1e-9, voice="high"))


def test_the_command_line_has_what_is_offered_there():
    assert [each.name for each in of_fields(Made)] == ["volume", "speed", "voice"]
    volume = of_fields(Made)[0]
    assert (volume.parse, volume.default, volume.help) == (int, 3, "how loud")


@pytest.mark.parametrize(("holder", "prefix"), [(TranscribeOptions, ""), (VadOptions, "vad_"), (WriterOptions, "")])
def test_every_option_is_at_its_doors(holder, prefix: str):
    flags = {option.name for _, group in TRANSCRIBE_GROUPS for option in group}
    for each in options_of(holder):
        name = prefix + each.name
        assert (name in flags) == ("command" in each.doors)
        form = {"initial_prompt": "prompt"}.get(name, name)
        assert (form in FIELDS) == ("form" in each.doors)


def test_limits_agree():
    limits = {each.name: (each.least, each.most) for each in options_of(TranscribeOptions)}
    for name, (least, most) in limits.items():
        field = FIELDS.get(name)
        if field is not None and field.kind in ("integer", "number") and name != "temperature":
            assert (field.lowest, field.highest) == (least, most)


@pytest.mark.parametrize("name", ["no_repeat_ngram_size", "repetition_penalty", "suppress_numerals", "max_line_count"])
def test_an_option_stands_in_one_file_and_in_that_of_its_rule(name: str):
    files = [path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if name in path.read_text(encoding="utf-8")]
    assert len([path for path in files if path.parts[0] not in OF_THE_PEER]) <= 2
