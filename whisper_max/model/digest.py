"""The digest of a model's graphs: of what is compiled, without building it where that was done before.

Building takes 0.2 to 2 seconds. What came of it is listed beside artifacts that are passed on (``LIST``), with the
digests of the source that it holds for, and remembered in ``cache_dir()/graphs`` on the machine that built.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import astuple, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from max.dtype import DType

from whisper_max.dims import ModelDimensions
from whisper_max.files.atomic import whole_file
from whisper_max.files.cache import cache_dir
from whisper_max.model.source import code_digest, kernel_code, source_digest

if TYPE_CHECKING:
    from max.graph import Module

LIST = "graphs.json"
"""In a folder of artifacts: what their graphs' digests are."""
FAST = "fast"
"""The end of a target's code whose artifacts have the forms of ``model/gpu/fast.py``."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MACHINE = re.compile(r"mo\.device_info_mapping = \{[^{}]*\}|_kernel_library_paths = \[[^\[\]]*\]")
"""What MAX writes into a module of the machine that builds it: its devices, and where it keeps the kernels."""
_CALL = re.compile(r'mo\.custom \[symbol = "(whisper_max\.\w+)"')


@dataclass(frozen=True)
class Graphs:
    """All graphs of a model, for one kind of target.

    dtype: of activations. storage: of the matrices of linear layers. kind: "cpu" or "gpu". fast: with the forms of
    ``model/gpu/fast.py``.
    """

    dims: ModelDimensions
    dtype: DType
    storage: DType
    kind: str
    fast: bool = False

    @property
    def name(self) -> str:
        """Every value in one line."""
        forms = [FAST] if self.fast else []
        sizes = "x".join(map(str, astuple(self.dims)))
        return "-".join([sizes, self.dtype.name, self.storage.name, self.kind, *forms])

    def digest(self, folders: Iterable[Path] = ()) -> str:
        """SHA-256, in hex, of what is compiled: the graphs as built, and the code of the kernels that they call.

        Args:
            folders: whose lists are looked at first.
        """
        for folder in folders:
            found = listed(folder).get(self.name)
            if found is not None:
                return found
        return remembered(self.name, self.build)

    def build(self) -> str:
        """The digest, by building the graphs."""
        return _built(self)


@cache
def _built(graphs: Graphs) -> str:
    from max.graph import DeviceRef

    from whisper_max.model.module import build_module, kernel_library

    library = kernel_library(check=False)
    device = DeviceRef.GPU() if graphs.kind == "gpu" else DeviceRef.CPU()
    module, _ = build_module(graphs.dims, graphs.dtype, graphs.storage, device, fast=graphs.fast, library=library)
    return module_digest(module)


def module_digest(module: Module) -> str:
    """SHA-256, in hex, of a module: the text of its graphs, and the code of the kernel files that they need.

    Files count as a whole, with those that they import; comments, docstrings and layout don't count.
    """
    text = _MACHINE.sub("", module._to_mlir_str())
    parts = [text, *kernel_code(sorted(set(_CALL.findall(text))))]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def remembered(name: str, build: Callable[[], str]) -> str:
    """A digest of graphs that was built before, or now; it holds for this very source and version of MAX.

    A cache that can't be written only costs time.
    """
    state = "\n".join([name, version("max-core"), source_digest()])
    memory = cache_dir() / "graphs" / hashlib.sha256(state.encode()).hexdigest()
    with suppress(OSError, ValueError):
        found = memory.read_text(encoding="ascii")
        if _DIGEST.fullmatch(found):
            return found
    digest = build()
    with suppress(OSError), whole_file(memory) as file:
        file.write(digest.encode("ascii"))
    return digest


def list_graphs(folder: Path, digests: Mapping[str, str]) -> None:
    """Add digests, by name of graphs, to a folder's list; those of another source or version of MAX are dropped.

    Raises:
        OSError: it can't be written.
    """
    kept = {**listed(folder), **digests}
    content = {"max": version("max-core"), "source": source_digest(), "code": code_digest(), "graphs": kept}
    with whole_file(folder / LIST) as file:
        file.write(json.dumps(content, indent=1, sort_keys=True).encode() + b"\n")


def listed(folder: Path) -> dict[str, str]:
    """The digests that a folder lists for this source, or one with the same code; none where its list can't be read."""
    try:
        content: dict[str, Any] = json.loads((folder / LIST).read_text(encoding="utf-8"))
        holds = content["max"] == version("max-core") and (
            content["source"] == source_digest() or content["code"] == code_digest()
        )
        return {str(name): str(digest) for name, digest in content["graphs"].items()} if holds else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
