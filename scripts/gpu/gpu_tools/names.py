"""Names on the command line; one that is not known is told with those that are."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Collection

from whisper_max.checkpoint.published import MODELS

_SIZES = (*MODELS, "tiny-shape")
DTYPES = ("bfloat16", "float16", "float32")
FORMS = ("fast", "plain")


def size_name(name: str) -> str:
    """The name of a size, for ``argparse``.

    Raises:
        ArgumentTypeError: there is no such size.
    """
    return _known(name, "size", _SIZES)


def size_names(names: str) -> list[str]:
    """Sizes with commas between them; as ``size_name``."""
    return list(map(size_name, names.split(",")))


def dtype_names(names: str) -> list[str]:
    """Dtypes with commas between them; as ``size_name``."""
    return [_known(name, "dtype", DTYPES) for name in names.split(",")]


def form_names(names: str) -> list[str]:
    """Forms of the graphs with commas between them; as ``size_name``."""
    return [_known(name, "form", FORMS) for name in names.split(",")]


def _known(name: str, kind: str, known: Collection[str]) -> str:
    if name not in known:
        raise ArgumentTypeError(f"no such {kind}: expected one of {', '.join(known)}, found {name}")
    return name
