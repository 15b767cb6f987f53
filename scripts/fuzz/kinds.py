"""The kinds of input: each has seeds, a way to change them, and a way to try the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from random import Random

from scripts.fuzz.verdicts import Verdict

Attempt = Callable[[Path], Verdict]
NAMES = ("audio", "checkpoint", "journal", "form", "realtime")


@dataclass(frozen=True)
class Kind:
    """One kind of input.

    seeds: makes what is valid, each one or several files by name. change: a file of a seed, by its name and content.
    opened: gives what tries the folder of a case; it is kept open for many cases.
    seconds: most for a case. memory: bytes that the process that tries may take besides what it has.
    """

    seeds: Callable[[], Mapping[str, Mapping[str, bytes]]]
    change: Callable[[str, bytes, Random], bytes]
    opened: Callable[[], AbstractContextManager[Attempt]]
    seconds: float = 20.0
    memory: int = 2 << 30


def kind(name: str) -> Kind:
    """A kind by its name, or by the module that has it; what it takes is imported now."""
    found: Kind = import_module(name if "." in name else f"scripts.fuzz.{name}").KIND
    return found


@contextmanager
def always(attempt: Attempt) -> Iterator[Attempt]:
    """What needs nothing to be opened."""
    yield attempt
