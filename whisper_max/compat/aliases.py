"""The peers' own names for the adapters, for programs whose imports can't be edited."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import InspectLoader, Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from multiprocessing import spawn
from types import CodeType, ModuleType
from typing import Any

from whisper_max.errors import OptionError

PEERS = ("whisper", "faster_whisper")
_HERE = "whisper_max.compat."


def install() -> None:
    """From here on ``import whisper`` and ``import faster_whisper`` import the adapters, in this process.

    To be called before the program imports them; a second call changes nothing. Processes that the program makes with
    ``multiprocessing`` have it too, forked or spawned; others must call it themselves.

    Raises:
        OptionError: one of the peers is imported already: its classes and ours would meet in one program.
    """
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    for name in PEERS:
        if name in sys.modules:
            found = getattr(sys.modules[name], "__file__", None) or name
            raise OptionError("imported already", where=name, found=found, hint="call install() before the import")
    sys.meta_path.insert(0, _Finder())
    _reach_spawned()


def _reach_spawned() -> None:
    """Let what a spawned process is told first, before it imports the program, install the names there as well."""
    told = spawn.get_preparation_data

    def get_preparation_data(name: str) -> dict[str, Any]:
        return {**told(name), __name__: _Installed()}

    vars(spawn)["get_preparation_data"] = get_preparation_data


class _Installed:
    """Installs the names where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return install, ()


class _Finder(MetaPathFinder):
    """Finds each module of a peer at the adapter; a module that the adapter lacks isn't looked for elsewhere."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of an adapter's module under the peer's name."""
        if fullname.partition(".")[0] not in PEERS:
            return None
        real = importlib.util.find_spec(_HERE + fullname)
        if real is None:
            raise ModuleNotFoundError(f"{fullname}: the adapter has no such module", name=fullname)
        return ModuleSpec(
            fullname, _Loader(), origin=real.origin, is_package=real.submodule_search_locations is not None
        )


class _Loader(Loader):
    """Gives the adapter's own module: under two names it is one, and so are its classes."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module, imported; it keeps its own spec."""
        module = importlib.import_module(_HERE + spec.name)
        self._own = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is left to execute."""
        module.__spec__ = self._own

    def get_code(self, fullname: str) -> CodeType | None:
        """The adapter's code, for a module that is run as a program."""
        found = importlib.util.find_spec(_HERE + fullname)
        loader = None if found is None else found.loader
        return loader.get_code(_HERE + fullname) if isinstance(loader, InspectLoader) else None
