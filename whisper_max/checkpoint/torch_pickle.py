"""The pickle inside a PyTorch file, read by a machine of our own that knows what a state dict needs and nothing else.

It builds tensors, dictionaries whose keys are texts or numbers, lists, tuples, texts and numbers, and runs nothing.
Some names that trainers leave beside the weights are known, and nothing is made of them; naming anything else is
refused, as are cycles and deeper nesting than a state dict has. Opcodes are parsed by the standard library's
``pickletools``; what they mean is written there.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Collection
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from whisper_max.errors import CheckpointError

MOST_NESTED = 8
"""Containers in containers: torch writes five (the file, its state dict, the metadata, a module's, its version)."""

STORAGES = {
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "DoubleStorage": "float64",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "ShortStorage": "int16",
    "IntStorage": "int32",
    "LongStorage": "int64",
    "BoolStorage": "bool",
}
_NAMED = {
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    *(("torch", storage) for storage in STORAGES),
}
_BESIDE_WEIGHTS = {
    *(("torch", name) for name in ("device", "Size", "float16", "float32", "bfloat16", "float64", "int64")),
    *((f"numpy.{core}.multiarray", "scalar") for core in ("core", "_core")),
    ("numpy", "dtype"),
    ("_codecs", "encode"),  # of a scalar's bytes, in older protocols
    ("argparse", "Namespace"),
}
"""What trainers put beside the weights: where they stopped, and the options that they were given."""


@dataclass(frozen=True)
class PickledStorage:
    """The elements of tensors, which the file has elsewhere under ``key``: ``count`` elements of ``dtype``."""

    key: str
    dtype: str
    count: int


@dataclass(frozen=True)
class PickledTensor:
    """A tensor as a view of a storage; offset and stride in elements."""

    storage: PickledStorage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class Unread:
    """Stands for an object that nothing here needs, of a class that is known: it was neither made nor looked into."""


def load_torch_pickle(
    data: BytesIO,
    where: Path,
    unread: Collection[tuple[str, str]] = (),
    storages: dict[str, PickledStorage] | None = None,
) -> object:
    """What a pickle of ``torch.save`` holds: dictionaries, lists, tuples, texts, numbers and ``PickledTensor``.

    Args:
        data: stands at the pickle, and behind it afterwards.
        where: the file, for errors.
        unread: module and name of classes whose objects come as ``Unread``.
        storages: is given every storage that the pickle refers to, by its key.

    Raises:
        CheckpointError: it names anything but tensors and containers, is nested too deeply, or is no sound pickle.
    """
    machine = _Machine(where, {*unread, *_BESIDE_WEIGHTS}, {} if storages is None else storages)
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                return machine.pop().value
            machine.do(opcode.name, argument)
    except (_UnsoundError, ValueError, IndexError, MemoryError, OverflowError) as error:
        raise CheckpointError("not a sound PyTorch pickle", where=where, found=str(error)[:80]) from error
    raise CheckpointError("not a sound PyTorch pickle", where=where, found="no end")


class _UnsoundError(Exception):
    """An opcode that torch does not write, or one with other operands than torch gives it."""


@dataclass(frozen=True)
class _Name:
    """A class or function that the pickle names."""

    module: str
    name: str


class _UnreadClass:
    """A class whose objects are ``Unread``."""


@dataclass
class _Item:
    """A value on the stack. depth: of containers in it. sealed: it is inside another, and may not grow any more."""

    value: Any
    depth: int = 0
    sealed: bool = False


class _Machine:
    """The stack, the marks on it and the memo."""

    def __init__(self, where: Path, unread: Collection[tuple[str, str]], storages: dict[str, PickledStorage]) -> None:
        self._where = where
        self._unread = unread
        self._storages = storages
        self._stack: list[_Item] = []
        self._below: list[list[_Item]] = []  # the stacks below each mark
        self._memo: dict[int, _Item] = {}

    def do(self, name: str, argument: Any) -> None:  # noqa: ANN401 - as pickletools gives it
        """Carry out one opcode."""
        if name in _CONSTANTS:
            self._push(_CONSTANTS[name])
        elif name in _LITERALS:
            self._push(_number(argument) if isinstance(argument, int) else argument)
        elif name in _ACTIONS:
            _ACTIONS[name](self)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self._memo[argument] = self._stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            if argument not in self._memo:
                raise _UnsoundError("a memo slot that was never filled")
            self._stack.append(self._memo[argument])
        elif name in ("GLOBAL", "INST"):  # the second would call what it names
            self._name(*argument.split(" ", 1))
        elif name not in ("PROTO", "FRAME"):
            raise _UnsoundError(f"the opcode {name}")

    def pop(self) -> _Item:
        return self._stack.pop()

    def _push(self, value: Any, depth: int = 0) -> None:  # noqa: ANN401
        if depth > MOST_NESTED:
            raise _UnsoundError("nested more deeply than a state dict")
        self._stack.append(_Item(value, depth))

    def mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _marked(self) -> list[_Item]:
        """Take what was put on the stack since the last mark."""
        items, self._stack = self._stack, self._below.pop()
        return items

    def memoize(self) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    # ---------------------------------------------------------------- containers

    def tuple_of(self, count: int | None = None) -> None:
        items = self._marked() if count is None else [self.pop() for _ in range(count)][::-1]
        self._push(tuple(item.value for item in items), 1 + _seal(items))

    def empty(self, container: list[Any] | dict[str, Any]) -> None:
        self._push(container, 1)

    def new_list(self) -> None:
        items = self._marked()
        self._push([item.value for item in items], 1 + _seal(items))

    def new_dict(self) -> None:
        items = self._marked()
        self._push({}, 1)
        self._set(items)

    def append(self) -> None:
        self._extend([self.pop()])

    def appends(self) -> None:
        self._extend(self._marked())

    def set_item(self) -> None:
        value, key = self.pop(), self.pop()
        self._set([key, value])

    def set_items(self) -> None:
        self._set(self._marked())

    def _extend(self, items: list[_Item]) -> None:
        target = self._growing(list, items)
        target.value.extend(item.value for item in items)

    def _set(self, items: list[_Item]) -> None:
        target = self._growing(dict, items)
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key.value, str | int):  # an optimizer counts its parameters
                raise _UnsoundError("a key that is neither text nor a number")
            if key.value in target.value:
                raise _UnsoundError("a key that is there already")
            target.value[key.value] = value.value

    def _growing(self, kind: type, items: list[_Item]) -> _Item:
        """The container on top of the stack, deep enough for these items."""
        target = self._stack[-1]
        if not isinstance(target.value, kind) or target.sealed:
            raise _UnsoundError("what can't be put into a container")
        target.depth = max(target.depth, 1 + _seal(items))
        if target.depth > MOST_NESTED or target.sealed:  # sealed: it is one of the items
            raise _UnsoundError("nested more deeply than a state dict")
        return target

    # ---------------------------------------------------------------- names, and what torch calls

    def stack_name(self) -> None:
        name, module = self.pop().value, self.pop().value
        if not (isinstance(module, str) and isinstance(name, str)):
            raise _UnsoundError("a name that is not text")
        self._name(module, name)

    def _name(self, module: str, name: str) -> None:
        if (module, name) in self._unread:
            self._push(_UnreadClass())
            return
        if (module, name) not in _NAMED:
            raise CheckpointError(
                f"refused: the pickle names {module}.{name}"[:200],
                where=self._where,
                expected="tensors and plain containers only",
                hint="a file like this can run code when PyTorch loads it: do not trust it",
            )
        self._push(_Name(module, name))

    def reduce(self) -> None:
        arguments, function = self.pop().value, self.pop().value
        match function, arguments:
            case _UnreadClass(), tuple():
                self._push(Unread())
            case _Name(name="OrderedDict"), ():
                self._push({}, 1)
            case _Name(name="_rebuild_tensor_v2"), (PickledStorage() as of, offset, tuple(shape), tuple(stride), *_):
                self._push(_tensor(of, offset, shape, stride))
            case _Name(name="_rebuild_parameter"), (PickledTensor() as tensor, *_):
                self._push(tensor)
            case _Name(name="_rebuild_tensor_v2" | "_rebuild_parameter"), _:
                raise _UnsoundError("impossible arguments of a tensor")
            case _:
                raise _UnsoundError("a call of what can't be called")

    def new_object(self) -> None:
        arguments, of = self.pop().value, self.pop().value
        if not (isinstance(of, _UnreadClass) and isinstance(arguments, tuple)):
            raise _UnsoundError("a call of what can't be called")
        self._push(Unread())

    def build(self) -> None:
        """Attributes of a dictionary: torch puts the versions of modules there, which nothing here needs."""
        state = self.pop().value
        of = self._stack[-1].value
        if not (isinstance(of, Unread) or (isinstance(of, dict) and isinstance(state, dict))):
            raise _UnsoundError("attributes of what has none")

    def storage(self) -> None:
        match self.pop().value:
            case ("storage", _Name("torch", name), str(key), str(_), int(count), *view) if (
                count >= 0 and name in STORAGES and view in ([], [None])
            ):
                self._storages[key] = PickledStorage(key, STORAGES[name], count)
                self._push(self._storages[key])
            case _:
                raise _UnsoundError("impossible reference to a storage")


def _seal(items: list[_Item]) -> int:
    """Mark items as being inside a container, and return the depth of the deepest."""
    for item in items:
        item.sealed = True
    return max((item.depth for item in items), default=0)


def _number(number: int) -> int:
    if not -(1 << 63) <= number < 1 << 63:
        raise _UnsoundError("a number of more than 64 bits")
    return number


def _tensor(storage: PickledStorage, offset: object, shape: tuple[Any, ...], stride: tuple[Any, ...]) -> PickledTensor:
    are_sizes = all(type(number) is int and number >= 0 for number in (offset, *shape, *stride))
    if not are_sizes or len(shape) != len(stride):
        raise _UnsoundError("impossible arguments of a tensor")
    return PickledTensor(storage, offset, shape, stride)  # type: ignore[arg-type]


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_NUMBERS = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT")
_TEXTS = ("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8")
_LITERALS = frozenset((*_NUMBERS, *_TEXTS))
_ACTIONS: dict[str, Callable[[_Machine], None]] = {
    "MARK": _Machine.mark,
    "MEMOIZE": _Machine.memoize,
    "EMPTY_TUPLE": lambda machine: machine.tuple_of(0),
    "TUPLE1": lambda machine: machine.tuple_of(1),
    "TUPLE2": lambda machine: machine.tuple_of(2),
    "TUPLE3": lambda machine: machine.tuple_of(3),
    "TUPLE": _Machine.tuple_of,
    "EMPTY_LIST": lambda machine: machine.empty([]),
    "LIST": _Machine.new_list,
    "EMPTY_DICT": lambda machine: machine.empty({}),
    "DICT": _Machine.new_dict,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "STACK_GLOBAL": _Machine.stack_name,
    "REDUCE": _Machine.reduce,
    "NEWOBJ": _Machine.new_object,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.storage,
}
