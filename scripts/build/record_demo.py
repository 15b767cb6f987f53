"""Record `demo` in a terminal as a moving picture: docs/demo.svg.

    python scripts/build/record_demo.py [--columns 100] AUDIO [OPTION...]

Runs the command in tmux, which is the terminal, captures its screen several times a second, and draws the screens that
differ with rich, one after the other, in one SVG of CSS animation: no script, no font and nothing else is fetched. Who
asks for less motion sees the last screen. It needs tmux.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

TARGET = Path(__file__).resolve().parents[2] / "docs" / "demo.svg"
SESSION = "whisper_max_demo"
EVERY = 0.25  # seconds between two looks at the screen
MOST_SCREENS = 14
LAST_COUNTS = 5  # the last screen is shown as long as so many others
SCREEN_SECONDS = 1.0
BACKGROUND, FOREGROUND = (22, 24, 29), (230, 230, 230)
_NORMAL = (
    *((60, 64, 72), (224, 92, 92), (106, 190, 110), (230, 180, 80), (86, 156, 214), (190, 130, 210)),
    (80, 190, 190),
)
THEME = TerminalTheme(BACKGROUND, FOREGROUND, [*_NORMAL, FOREGROUND], [*_NORMAL, (255, 255, 255)])
SCREEN = """\
<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" class="screen" id="{unique_id}"><style>
.{unique_id}-matrix{{font-family:ui-monospace,Menlo,Consolas,monospace;font-size:{char_height}px;white-space:pre}}
{styles}</style>{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></svg>
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--columns", type=int, default=100)
    parser.add_argument("--rows", type=int, default=34)
    parser.add_argument("--target", type=Path, default=TARGET)
    parser.add_argument("audio", type=Path)
    parser.add_argument("options", nargs=argparse.REMAINDER, help="of demo")
    args = parser.parse_args()
    screens = record(args.audio, args.options, args.columns, args.rows)
    args.target.write_text(animated(chosen(screens), args.columns), encoding="utf-8")
    print(f"{len(screens)} screens, {args.target.stat().st_size / 1e3:.0f} kB in {args.target}")
    print(Text.from_ansi(screens[-1]).plain)
    return 0


def record(audio: Path, options: Sequence[str], columns: int, rows: int) -> list[str]:
    """The screens of the command that differ, in their order, with the escape sequences of colours."""
    shown = ["whisper-max", "demo", audio.name, *options]
    real = [sys.executable, "-m", "whisper_max", "demo", str(audio), *options]
    script = f"clear; printf '$ %s\\n' {shlex.quote(shlex.join(shown))}; {shlex.join(real)}; sleep 2"
    size = ["-x", str(columns), "-y", str(rows)]
    tmux("new-session", "-d", "-s", SESSION, *size, "-c", os.getcwd(), f"bash -c {shlex.quote(script)}")
    screens: list[str] = []
    try:
        while tmux("has-session", "-t", SESSION, check=False).returncode == 0:
            screen = tmux("capture-pane", "-e", "-p", "-t", SESSION, check=False).stdout.rstrip()
            if screen and (not screens or screen != screens[-1]):
                screens.append(screen)
            time.sleep(EVERY)
    finally:
        tmux("kill-session", "-t", SESSION, check=False)
    return screens


def tmux(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["tmux", *arguments], capture_output=True, text=True, check=check)


def chosen(screens: Sequence[str]) -> list[str]:
    """Some screens, evenly from the first to the one before the last, and the last."""
    if len(screens) <= MOST_SCREENS:
        return list(screens)
    step = (len(screens) - 1) / (MOST_SCREENS - 1)
    return [screens[round(number * step)] for number in range(MOST_SCREENS)]


def animated(screens: Sequence[str], columns: int) -> str:
    """Screens as one SVG, each shown for a while, the last one longer."""
    rows = max(screen.count("\n") + 1 for screen in screens)
    drawings = [drawn(screen, columns, rows, f"s{number}") for number, screen in enumerate(screens)]
    parts = len(screens) - 1 + LAST_COUNTS
    total = parts * SCREEN_SECONDS
    styles = [f".screen{{visibility:hidden;animation:{total:.1f}s step-end infinite}}"]
    for number in range(len(screens)):
        start, end = 100 * number / parts, 100 * (number + 1) / parts if number < len(screens) - 1 else 100
        frames = f"0%{{visibility:hidden}}{start:.2f}%{{visibility:visible}}{end:.2f}%{{visibility:hidden}}"
        styles.append(f"#s{number}{{animation-name:a{number}}}@keyframes a{number}{{{frames}}}")
    last = f"#s{len(screens) - 1}"
    styles.append(f"@media(prefers-reduced-motion){{.screen{{animation:none}}{last}{{visibility:visible}}}}")
    width, height = columns * 12.2, rows * 24.4 + 20
    background = "#{:02x}{:02x}{:02x}".format(*BACKGROUND)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img"'
        f' aria-label="whisper-max demo in a terminal"><style>{"".join(styles)}</style>'
        f'<rect width="100%" height="100%" rx="8" fill="{background}"/><g transform="translate(8 8)">'
        f"{''.join(drawings)}</g></svg>\n"
    )


def drawn(screen: str, columns: int, rows: int, name: str) -> str:
    """One screen as SVG."""
    console = Console(width=columns, height=rows, record=True, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115
    lines = screen.split("\n")
    for line in [*lines, *((rows - len(lines)) * [""])]:
        console.print(Text.from_ansi(line), no_wrap=True, crop=True, overflow="crop")
    return console.export_svg(theme=THEME, code_format=SCREEN, unique_id=name)


if __name__ == "__main__":
    sys.exit(main())
