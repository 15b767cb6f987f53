"""The guide lists every option as the command line has it; ``python tests/test_guide.py`` writes the list anew."""

from __future__ import annotations

from pathlib import Path

from whisper_max.commands.flags import TRANSCRIBE_GROUPS, Option

GUIDE = Path(__file__).parents[1] / "docs" / "guide.md"
START, END = "<!-- options: written by tests/test_guide.py -->\n", "<!-- end of options -->\n"


def row(option: Option) -> str:
    default = "" if option.switch else f"`{option.shown_default}`"
    if isinstance(option.default, tuple) and option.default:
        default = f"`{','.join(option.default)}`"
    name = f"`--{option.name}`" + (f", `{option.short}`" if option.short else "")
    return f"| {name} | {default} | {option.help} |".replace("``", "` `")


def options() -> str:
    tables = []
    for title, group in TRANSCRIBE_GROUPS:
        rows = "\n".join(row(option) for option in group)
        tables.append(f"### {title.capitalize()}\n\n| option | default | |\n| --- | --- | --- |\n{rows}\n")
    return "\n" + "\n".join(tables) + "\n"


def with_options(guide: str) -> str:
    before, rest = guide.split(START)
    return before + START + options() + END + rest.split(END)[1]


def test_the_guide_has_every_option_as_it_is():
    guide = GUIDE.read_text(encoding="utf-8")
    assert guide == with_options(guide)
    names = [option.name for _, group in TRANSCRIBE_GROUPS for option in group]
    assert all(guide.count(f"| `--{name}`") == 1 for name in names)


if __name__ == "__main__":
    GUIDE.write_text(with_options(GUIDE.read_text(encoding="utf-8")), encoding="utf-8")
