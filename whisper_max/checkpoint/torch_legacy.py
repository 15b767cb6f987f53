"""A file of ``torch.save`` from before torch 1.6: pickles one after the other, then the storages.

The pickles are a magic number, a version, how the machine stores numbers, the content, and the keys of its storages.
For each key follow the number of its elements (i64) and these. Source: torch ``serialization.py``, ``_legacy_save``.
"""

from __future__ import annotations

from collections.abc import Collection
from io import BytesIO
from pathlib import Path

import numpy as np

from whisper_max.checkpoint.file_bytes import FileBytes
from whisper_max.checkpoint.torch_pickle import PickledStorage, load_torch_pickle
from whisper_max.errors import CheckpointError

MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The end of the first pickle: the number, and that it ends."""
_MOST_HEAD_BYTES = 64
_MOST_PICKLE_BYTES = 8 << 20  # of all together; large-v3's have 0.4 MB
_VERSION = 1001


def is_legacy_head(head: bytes) -> bool:
    """Whether a file that begins so is one."""
    return head.startswith(b"\x80") and MAGIC in head[:_MOST_HEAD_BYTES]


def is_legacy(path: Path) -> bool:
    """Whether a file is one.

    Raises:
        CheckpointError: it can't be read.
    """
    file = FileBytes([path])
    return is_legacy_head(file.read(0, min(file.size, _MOST_HEAD_BYTES), "the beginning").tobytes())


class LegacyFile:
    """The content of such a file, and where its storages lie.

    Raises:
        CheckpointError: of another version, or of a machine that stores numbers otherwise.
    """

    def __init__(self, path: Path) -> None:
        self.file = FileBytes([path])
        self._places: dict[str, tuple[int, int]] = {}
        self._pickles = BytesIO(self.file.read(0, min(self.file.size, _MOST_PICKLE_BYTES), "the pickles").tobytes())
        self._pickles.seek(self._pickles.getvalue().index(MAGIC) + len(MAGIC))
        version, machine = (load_torch_pickle(self._pickles, path) for _ in range(2))
        if version != _VERSION or not isinstance(machine, dict) or machine.get("little_endian") is not True:
            raise CheckpointError(
                "not a PyTorch file that can be read", where=path, expected="little-endian, version 1001"
            )
        self._start = self._pickles.tell()

    def content(self, unread: Collection[tuple[str, str]]) -> object:
        """What the pickle holds; see ``load_torch_pickle``.

        Raises:
            CheckpointError: as there; the keys behind it are not those of its storages, or the file ends within one.
        """
        self._pickles.seek(self._start)
        storages: dict[str, PickledStorage] = {}
        content = load_torch_pickle(self._pickles, self.file.where, unread, storages)
        stated = load_torch_pickle(self._pickles, self.file.where)
        keys = [str(key) for key in stated] if isinstance(stated, list) else []
        if sorted(keys) != sorted(storages):
            raise CheckpointError("the storages are not those of its tensors", where=self.file.where)
        offset = self._pickles.tell()
        for key in keys:
            offset += self._place(storages[key], offset)
        return content

    def locate(self, key: str) -> tuple[int, int]:
        """Offset and size of a storage's bytes in the file, once the content was read."""
        return self._places[key]

    def check(self) -> None:
        """Nothing: it has no checksums."""

    def _place(self, storage: PickledStorage, offset: int) -> int:
        """Remember where a storage lies; the bytes that it takes, with its length before it."""
        name = f"storage {storage.key[:40]}"
        count = int(self.file.read(offset, 8, name).view("<i8")[0])
        if count != storage.count:
            raise CheckpointError(
                f"{name} has another length", where=self.file.where, expected=storage.count, found=count
            )
        size = count * (2 if storage.dtype == "bfloat16" else np.dtype(storage.dtype).itemsize)
        self.file.check(offset + 8, size, name)
        self._places[storage.key] = (offset + 8, size)
        return 8 + size
