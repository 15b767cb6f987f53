"""Modules of ``scripts/``, which are no package: rooms of it have modules of the same names."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@contextmanager
def scripts_of(room: str) -> Iterator[None]:
    """What stands in a room of ``scripts/`` can be imported, and is forgotten in the end."""
    place = str(SCRIPTS / room)
    sys.path.insert(0, place)
    try:
        yield
    finally:
        sys.path.remove(place)
        files = {name: str(getattr(module, "__file__", None)) for name, module in sys.modules.items()}
        for name in [name for name, file in files.items() if file.startswith(place)]:
            del sys.modules[name]
