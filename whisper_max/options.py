"""An option is said once: the dataclass field that holds it carries its help, its range and the doors it is offered at.

The command line, the form of the server and the guide are made from these fields, each with a short list of what it
has otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import Field, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from whisper_max.errors import OptionError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Door = Literal["command", "form"]
_KEY = "option"
T = TypeVar("T")


@dataclass(frozen=True)
class OptionField:
    """What a door needs to know of an option.

    name: the field's. annotation: its type, as written. help: what it is for, in one line. least, most: its range, both
    ends included; above: a lower end that is not. choices: its only values. unset: what holds where it is None, in
    words. doors: where it is offered, besides Python.
    """

    name: str
    annotation: str
    default: Any
    help: str
    least: float | None
    most: float | None
    above: float | None
    choices: Sequence[str] | None
    unset: str | None
    doors: tuple[Door, ...]

    @property
    def kinds(self) -> tuple[str, ...]:
        """The parts of the annotation: ``("int", "None")``."""
        return tuple(self.annotation.split(" | "))

    @property
    def is_optional(self) -> bool:
        """True where None is a value."""
        return "None" in self.kinds

    def check(self, value: float | str | None, prefix: str = "") -> None:
        """Refuse a number out of range, or a text that is none of the choices; None is let through.

        Args:
            prefix: before the name in errors.

        Raises:
            OptionError: such a value.
        """
        if value is None:
            return
        where = prefix + self.name
        if self.choices is not None:
            if value not in self.choices:
                raise OptionError(
                    f"unknown {self.name}", where=where, expected=" or ".join(self.choices), found=repr(value)
                )
            return
        if isinstance(value, str):
            return
        low = self.above is not None and not value > self.above
        low = low or (self.least is not None and not value >= self.least)
        high = self.most is not None and not value <= self.most
        infinite = (self.least is not None or self.above is not None) and not value < math.inf
        if low or high or infinite:
            raise OptionError("out of range", where=where, expected=self._range(low), found=value)

    def _range(self, low: bool) -> str:
        if "int" in self.kinds:
            return f"at least {self.least:g}" if low else f"at most {self.most:g}"
        if self.least is not None and self.most is not None:
            return f"{self.least:g} to {self.most:g}"
        return f"above {self.above:g}" if self.above is not None else f"{self.least:g} or more"


def option(
    default: T,
    help: str,
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    choices: Sequence[str] | None = None,
    unset: str | None = None,
    doors: tuple[Door, ...] = ("command", "form"),
) -> T:
    """A dataclass field that is an option; the arguments are those of ``OptionField``."""
    about = {"help": help, "least": least, "most": most, "above": above, "choices": choices, "unset": unset}
    return field(default=default, metadata={_KEY: about | {"doors": doors}})


def options_of(holder: type[DataclassInstance] | DataclassInstance) -> Iterator[OptionField]:
    """The options among the fields of a dataclass, in their order."""
    for each in fields(holder):
        if _KEY in each.metadata:
            yield _described(each)


def _described(each: Field[Any]) -> OptionField:
    return OptionField(each.name, str(each.type), each.default, **each.metadata[_KEY])


def check_ranges(holder: DataclassInstance, prefix: str = "") -> None:
    """Refuse a value out of its option's range.

    Args:
        prefix: before the names in errors.

    Raises:
        OptionError: the first such value.
    """
    for each in options_of(holder):
        value = getattr(holder, each.name)
        if value is None or isinstance(value, int | float | str):
            each.check(value, prefix)
