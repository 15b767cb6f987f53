"""From the body of a request to a form: small fields in memory, the recording in a file without a name.

The file is unlinked as soon as it is made, so that nothing is left of it when the request ends, however it ends.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from io import FileIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from whisper_max.server.errors import APIError
from whisper_max.server.http.fields import LONGEST_REFERENCE
from whisper_max.server.http.synonyms import SHOWN
from whisper_max.server.references import FIELD as REFERENCES
from whisper_max.server.settings import MIB, Settings
from whisper_max.server.spool import DiskSpace

_MAX_FIELDS = 2048  # parts of a form; keywords are many
_MAX_FIELDS_BYTES = 256 << 10  # of all fields with their headers, and of what stands after the last boundary
_MAX_REFERENCES_BYTES = LONGEST_REFERENCE  # of recordings of voices, which come in fields
_FLUSH_BYTES = 1 << 20  # written to disk at a time
_UNREAD_BYTES, _UNREAD_SECONDS = 8 << 20, 5.0  # of a body that is refused, read so that the client sees why
_UNREAD_IDLE = 0.5  # seconds without a byte of it


@dataclass
class Form:
    """A form that was sent.

    fields: the values of each, as text. file: the recording, opened unbuffered, or None. file_name: as it was sent.
    n_bytes: of the recording.
    """

    fields: dict[str, list[str]] = field(default_factory=dict)
    file: FileIO | None = None
    file_name: str = ""
    n_bytes: int = 0


@asynccontextmanager
async def read_form(request: Request, settings: Settings, place: DiskSpace, file: str = "file") -> AsyncIterator[Form]:
    """Read a multipart form; its file is gone with the context.

    Args:
        request: whose body it is.
        settings: limits.
        place: takes the bytes of the file, and keeps them.
        file: the field that the recording is in.

    Raises:
        APIError: 400 for a malformed form, 408 for one that comes too slowly, 413 for one that is too large, 415 for
            something else than a form, 429 where others' files take the disk.
        ClientDisconnect: the client went away.
        OSError: the file can't be written; ENOSPC where the disk is full.
    """
    reader = _FormReader(_boundary(request), settings.max_upload * MIB, file)
    try:
        declared = request.headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > reader.max_bytes + _MAX_FIELDS_BYTES + _MAX_REFERENCES_BYTES:
            raise _too_large(reader.max_bytes)
        async with aclosing(body_chunks(request, settings.upload_timeout, settings.idle_timeout)) as chunks:
            async for chunk in chunks:
                reader.feed(chunk)
                if len(reader.unwritten) >= _FLUSH_BYTES:
                    place.need(uploaded=reader.form.n_bytes)
                    await asyncio.to_thread(reader.flush)
        place.need(uploaded=reader.form.n_bytes)
        await asyncio.to_thread(reader.flush)
        yield reader.finish()
    finally:
        if reader.form.file is not None:
            reader.form.file.close()


async def discard_body(request: Request) -> bool:
    """Read what is left of a small body that nobody needs, since clients look for an answer only after sending it.

    Returns:
        whether that was all of it; else the connection is of no more use.
    """
    if "expect" in request.headers:  # who asks before sending needs no reading
        return False
    n_bytes = 0
    try:
        async with aclosing(body_chunks(request, _UNREAD_SECONDS, _UNREAD_IDLE)) as chunks:
            async for chunk in chunks:
                n_bytes += len(chunk)
                if n_bytes > _UNREAD_BYTES:
                    return False
    except (APIError, ClientDisconnect):
        return False
    except RuntimeError:  # it was read to its end before
        pass
    return True


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not boundary:
        raise APIError(
            415,
            "not a form: expected multipart/form-data with a boundary",
            code="unsupported_media_type",
        )
    return boundary


async def body_chunks(request: Request, seconds: float, idle: float) -> AsyncGenerator[bytes, None]:
    """The body as it comes, if all of it comes in so many seconds, and the next bytes in ``idle``."""
    stream = aiter(request.stream())
    try:
        async with asyncio.timeout(seconds):
            while True:
                async with asyncio.timeout(idle):
                    chunk = await anext(stream, None)
                if chunk is None:
                    return
                yield chunk
    except TimeoutError as error:
        raise APIError(408, "the upload is too slow", code="upload_timeout", headers={"Connection": "close"}) from error


def _too_large(max_bytes: int) -> APIError:
    return APIError(
        413, f"the recording is too large: expected at most {max_bytes // MIB} MiB", code="too_large", param="file"
    )


def _malformed(what: str) -> APIError:
    return APIError(400, f"malformed form: {what}", code="malformed_form")


class _FormReader:
    """Takes the bytes of a form as they come; see python-multipart's ``MultipartParser`` for the order of calls."""

    def __init__(self, boundary: bytes, max_bytes: int, file: str) -> None:
        self._file = file
        self.form = Form()
        self.max_bytes = max_bytes
        self.unwritten = bytearray()
        self._n_parts = 0
        self._n_bytes = 0
        self._n_reference_bytes = 0
        self._header_name = self._header_value = b""
        self._disposition = b""
        self._name: str | None = None  # of the field that is being read; None: the recording
        self._value = bytearray()
        self._has_file = False  # what is being read: a file, be it in the wrong field
        self._ended = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": self._add_header_name,
                    "on_header_value": self._add_header_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._end_headers,
                    "on_part_data": self._add_data,
                    "on_part_end": self._end_part,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise _malformed("a boundary that is too long") from error

    def feed(self, chunk: bytes) -> None:
        """Parse some more bytes."""
        self._n_bytes += len(chunk)
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _malformed("it does not follow its boundary") from error
        if self._n_bytes - self.form.n_bytes - self._n_reference_bytes > _MAX_FIELDS_BYTES:
            large = APIError(413, "the form is too large apart from its file", code="too_large")
            raise (self._misplaced() or large) if self._name is not None else large

    def flush(self) -> None:
        """Write what has come of the recording to disk; blocks."""
        data, self.unwritten = memoryview(bytes(self.unwritten)), bytearray()
        while self.form.file is not None and data:
            data = data[self.form.file.write(data) :]

    def finish(self) -> Form:
        """The form, once all of its bytes were fed and flushed."""
        if not self._ended:
            raise _malformed("it ends before its last boundary")
        if self.form.file is not None:
            self.form.file.seek(0)
        return self.form

    # ---------------------------------------------------------------- the parser's calls, in their order

    def _begin_part(self) -> None:
        self._n_parts += 1
        if self._n_parts > _MAX_FIELDS:
            raise _malformed(f"more than {_MAX_FIELDS} fields")
        self._disposition = b""

    def _add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = self._header_value
        self._header_name = self._header_value = b""

    def _end_headers(self) -> None:
        kind, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if kind != b"form-data" or not name:
            raise _malformed("a field without a name")
        self._value = bytearray()
        self._name = name
        self._has_file = b"filename" in options
        if name == self._file:
            if self.form.file is not None:
                raise APIError(400, "more than one file", code="duplicate_field", param=name)
            self._name = None
            self.form.file_name = options.get(b"filename", b"").decode("utf-8", "replace")
            self.form.file = tempfile.TemporaryFile(buffering=0, prefix="whisper_max-")  # noqa: SIM115 - read_form closes

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self._name is None:
            self.form.n_bytes += end - start
            if self.form.n_bytes > self.max_bytes:
                raise _too_large(self.max_bytes)
            self.unwritten += data[start:end]
            return
        if self._name.removesuffix("[]") == REFERENCES:
            self._n_reference_bytes += end - start
            if self._n_reference_bytes > _MAX_REFERENCES_BYTES:
                raise APIError(413, f"{REFERENCES}: too large", code="too_large", param=REFERENCES)
        self._value += data[start:end]

    def _end_part(self) -> None:
        if self._name is None:
            return
        try:
            value = self._value.decode()
        except UnicodeDecodeError as error:
            raise self._misplaced() or _malformed("a field that is not UTF-8") from error
        self.form.fields.setdefault(self._name, []).append(value)

    def _misplaced(self) -> APIError | None:
        """What is wrong with a file that another field has than the recording's; None where there is no such file."""
        if not self._has_file:
            return None
        found = str(self._name)[:SHOWN]
        return APIError(
            400,
            f"{self._file}: expected the recording here, found a file as {found!r}",
            code="missing_field",
            param=self._file,
        )

    def _end(self) -> None:
        self._ended = True
