"""Names of the peers' classes that have no counterpart."""

from __future__ import annotations

from typing import Self

from whisper_max.errors import NotOfferedError


class NotOffered:
    """An attribute that names itself and what to use in its place where a program asks an object for it."""

    def __init__(self, hint: str) -> None:
        self._hint = hint
        self._name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> Self:
        if instance is None:
            return self
        raise NotOfferedError("not offered", where=self._name, hint=self._hint)
