"""The source of the graphs and kernels: all of it as it stands, and what is left without comments and layout.

The same rules serve Python and Mojo. What they can't tell apart counts as code: rather a change too many than one too
few.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

ROOM = Path(__file__).parent
KERNELS = ROOM / "kernels"

_TOKEN = re.compile(
    r'(?P<text>"""(?:[^\\]|\\.)*?"""|\'\'\'(?:[^\\]|\\.)*?\'\'\'|"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'|`[^`\n]*`)'
    r"|(?P<end>(?:[ \t]*(?:#[^\n]*)?\n)+[ \t]*)"  # of a line; with it comments, empty lines, the next one's indentation
    r"|(?P<gap>(?:[ \t]|\\\n)+)"
    r"|(?P<bracket>[()\[\]{}])"
    r"|(?P<word>[\w.]+|[^\s])",
    re.DOTALL,
)
_REGISTERED = re.compile(r'@ extensibility.register \( "(whisper_max\.\w+)" \)')
_IMPORT = re.compile(r"^ *from \.(\S*) import ", re.MULTILINE)


def code_of(text: str) -> str:
    """A file without comments, docstrings (texts that are a statement of their own), empty lines and line breaks.

    What stands on each logical line is separated by single spaces, after the line's indentation.
    """
    lines, line, depth, indentation = [], list[str](), 0, 0
    for match in _TOKEN.finditer(f"\n{text}\n"):
        kind, token = match.lastgroup, match[0]
        if kind == "end" and depth == 0:
            if line and not (len(line) == 1 and line[0][0] in "\"'"):
                lines.append(" " * indentation + " ".join(line))
            line, indentation = [], len(token) - token.rindex("\n") - 1
        elif kind not in ("end", "gap"):
            depth += (token in "([{") - (token in ")]}") if kind == "bracket" else 0
            line.append(token)
    return "\n".join(lines)


@cache
def source_digest() -> str:
    """SHA-256 over every source file of this room by relative name and content: quick, and different after any edit."""
    return _digest({name: path.read_bytes() for name, path in _files().items()})


@cache
def code_digest() -> str:
    """The same over their code alone; takes some ten milliseconds."""
    return _digest({name: code_of(path.read_text(encoding="utf-8")).encode() for name, path in _files().items()})


def _files() -> dict[str, Path]:
    return {path.relative_to(ROOM).as_posix(): path for kind in ("*.py", "*.mojo") for path in ROOM.rglob(kind)}


def _digest(contents: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, content in sorted(contents.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def kernel_code(operations: Iterable[str], folder: Path = KERNELS) -> list[str]:
    """The code of the files that register these custom operations, and of all that those import, by name of file.

    Raises:
        KeyError: no file registers one of them.
    """
    code = {path.stem: code_of(path.read_text(encoding="utf-8")) for path in folder.glob("*.mojo")}
    home = {operation: name for name, text in code.items() for operation in _REGISTERED.findall(text)}
    needed, waiting = set[str](), [home[operation] for operation in operations]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += _IMPORT.findall(code[name])
    return [f"{name}\n{code[name]}" for name in sorted(needed)]
