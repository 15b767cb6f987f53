"""Zip archives whose entries are stored as they are, so that they can be read where they lie in the file."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from io import FileIO
from pathlib import Path

from whisper_max.checkpoint.file_bytes import FileBytes
from whisper_max.errors import CheckpointError

_MOST_ENTRIES = 1 << 16
_MOST_DIRECTORY_BYTES = 8 << 20
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, ..., length of the name, length of the extra field


class StoredZip:
    """The entries of a zip archive, located in the file.

    Raises:
        CheckpointError: no sound zip archive, an entry twice, or more entries than any checkpoint has.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = FileBytes([path])
        try:
            with _Directory(path) as file, zipfile.ZipFile(file) as archive:
                infos = archive.infolist()
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, OverflowError, struct.error) as error:
            raise CheckpointError("not a sound zip archive", where=path, found=str(error)[:80]) from error
        self.entries = {info.filename: info for info in infos}
        if len(self.entries) != len(infos):
            raise CheckpointError("an archive entry is stored twice", where=path)
        if len(infos) > _MOST_ENTRIES:
            raise CheckpointError("too many archive entries", where=path, expected=_MOST_ENTRIES, found=len(infos))

    def locate(self, name: str) -> tuple[int, int]:
        """Offset and size of an entry's bytes in the file.

        Raises:
            CheckpointError: no such entry, or one that is compressed, encrypted or elsewhere.
        """
        info = self.entries.get(name)
        if info is None:
            raise CheckpointError("an archive entry is missing", where=self.path, expected=name[:80])
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size or info.flag_bits & 1:
            what = f"archive entry {name[:80]} is compressed"
            raise CheckpointError(what, where=self.path, expected="stored as it is")
        header = self.file.read(info.header_offset, _LOCAL_HEADER.size, name[:80]).tobytes()
        signature, name_length, extra_length = _LOCAL_HEADER.unpack(header)
        if signature != b"PK\x03\x04":
            raise CheckpointError(f"archive entry {name[:80]} is not where the archive says", where=self.path)
        return info.header_offset + _LOCAL_HEADER.size + name_length + extra_length, info.file_size

    def bytes_of(self, name: str, most: int) -> bytes:
        """The bytes of a small entry.

        Raises:
            CheckpointError: as ``locate``; it is not small.
        """
        offset, size = self.locate(name)
        if size > most:
            what = f"archive entry {name[:80]} is too large"
            raise CheckpointError(what, where=self.path, expected=f"at most {most} bytes", found=size)
        return self.file.read(offset, size, name[:80]).tobytes()

    def check(self) -> None:
        """Compare every entry's bytes with the CRC-32 that the archive has of them, where it has one.

        Raises:
            CheckpointError: as ``locate``; they are others.
        """
        for name, info in self.entries.items():
            offset, size = self.locate(name)
            if info.CRC and zlib.crc32(self.file.read(offset, size, name[:80]).data) != info.CRC:
                raise CheckpointError(
                    f"archive entry {name[:80]} is damaged", where=self.path, hint="fetch the file again"
                )


class _Directory(FileIO):
    """A zip file for reading its directory, which ``zipfile`` would take whole, however large it says that it is."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            size = os.fstat(self.fileno()).st_size - self.tell()
        if size > _MOST_DIRECTORY_BYTES:
            raise OSError(f"a directory of {size} bytes")
        return super().read(max(size, 0))
