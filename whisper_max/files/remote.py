"""Recordings and transcripts in a store: by URL, through fsspec, which the extra ``remote`` installs.

What a store refuses is an ``OSError`` whose ``strerror`` says why, without what a URL may carry of passwords and
signatures. Credentials come from where each store's own tools look for them.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, TypeVar
from urllib.parse import unquote, urljoin, urlsplit

from whisper_max.errors import OptionError

if TYPE_CHECKING:
    from fsspec.spec import AbstractFileSystem

T = TypeVar("T")

WEB = ("http", "https")
_PACKAGES = {
    **{"http": "aiohttp", "https": "aiohttp", "s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"},
    **{"az": "adlfs", "abfs": "adlfs", "abfss": "adlfs", "memory": "fsspec"},
}
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://.*", re.DOTALL)
_ANY_URL = re.compile(r"\b[a-zA-Z][a-zA-Z0-9+.-]+://[^\s'\"<>]+")

_BLOCK = 8 << 20  # bytes of one ranged read: few requests, little memory
_STREAMED = 1 << 20  # bytes taken at once from an answer that comes as a stream
_PAUSES = (0.5, 1.0, 2.0, 4.0)  # seconds before each try after the first
_CONNECT, _SILENCE = 30.0, 60.0  # seconds until a connection, and until its next bytes
_NO_USE = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, NotImplementedError, ValueError)
_WORTH_ANOTHER_TRY = (408, 425, 429)  # of the HTTP statuses below 500


class RemoteRefused(OSError):
    """What no further try would change: a redirect to a host that isn't allowed, a recording that changed."""


@dataclass(frozen=True)
class RemotePath:
    """A place in a store, with as much of ``pathlib.Path`` as transcripts need.

    uri: ``s3://bucket/folder/name``, without a slash at its end.
    """

    uri: str

    def __truediv__(self, name: str | os.PathLike[str]) -> RemotePath:
        inner = PurePosixPath(os.fspath(name)).as_posix()
        return self if inner == "." else RemotePath(f"{self.uri.rstrip('/')}/{inner}")

    def __str__(self) -> str:
        return shown_source(self.uri)

    @property
    def name(self) -> str:
        """What stands after the last slash."""
        return source_name(self.uri)

    def read_bytes(self) -> bytes:
        """The whole object; for small ones.

        Raises:
            OSError: it is not there, or the store refuses.
        """
        system, path = _system(self.uri)
        content: bytes = _tried(lambda: system.cat_file(path))
        return content

    def write_bytes(self, content: bytes) -> None:
        """Store an object; it is whole or not there, and what was there before is replaced.

        Raises:
            OSError: the store refuses.
        """
        if scheme(self.uri) in WEB:
            raise OSError(errno.EROFS, "http takes no transcripts: expected s3, gs, az, file or a folder")
        system, path = _system(self.uri)
        _tried(lambda: system.pipe_file(path, content))

    def exists(self) -> bool:
        """Whether there is an object, or something below this name.

        Raises:
            OSError: the store doesn't say.
        """
        system, path = _system(self.uri)
        return bool(_tried(lambda: system.exists(path)))

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the object.

        Raises:
            OSError: it is not there, or the store refuses.
        """
        system, path = _system(self.uri)
        try:
            _tried(lambda: system.rm_file(path))
        except FileNotFoundError:
            if not missing_ok:
                raise


Place: TypeAlias = "Path | RemotePath"
"""Where a file is or will be: on this machine, or in a store."""


@dataclass(frozen=True)
class Found:
    """An object of a store: its URL, its bytes, and what changes when it changes; each "" or 0 where it isn't told."""

    uri: str
    size: int
    version: str


def scheme(source: str) -> str | None:
    """The scheme of a URL, in lower case; None for a path."""
    match = _URL.fullmatch(source)
    return match[1].lower() if match else None


def is_remote(source: str) -> bool:
    """True for a URL of anything but a file of this machine.

    Raises:
        OptionError: a scheme that is not known.
    """
    kind = scheme(source)
    if kind is not None and kind != "file" and kind not in _PACKAGES:
        expected = f"{', '.join(['file', *_PACKAGES])}, or a path"
        raise OptionError("unknown kind of URL", where=shown_source(source), expected=expected, found=f"{kind}://")
    return kind not in (None, "file")


def local_path(source: str) -> str:
    """A path of this machine as it is, or that of a ``file://`` URL."""
    if scheme(source) != "file":
        return source
    parts = urlsplit(source, allow_fragments=False)
    if parts.netloc not in ("", "localhost"):
        raise OptionError("a file of another machine", where=source, expected="file:///PATH")
    return unquote(parts.path)


def place(text: str | os.PathLike[str] | RemotePath) -> Place:
    """Where transcripts are to go: a folder of this machine, or of a store.

    Raises:
        OptionError: a URL of an unknown kind, or one that takes a package that is not installed.
    """
    if isinstance(text, RemotePath):
        return text
    name = os.fspath(text)
    if not is_remote(name):
        return Path(local_path(name))
    _system(name)
    return RemotePath(name.rstrip("/"))


def shown_source(source: str) -> str:
    """A source as messages and results may name it: a URL without user, password, query and fragment."""
    kind = scheme(source)
    if kind is None:
        return source
    rest = source[len(kind) + 3 :]
    if kind in WEB:
        rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    host, slash, path = rest.partition("/")
    if kind not in ("abfs", "abfss"):  # there the name before the @ is the container's
        host = host.rpartition("@")[2]
    return f"{kind}://{host}{slash}{path}"


def source_name(source: str) -> str:
    """The file name of a path or URL."""
    shown = shown_source(source)
    return shown.rstrip("/").rpartition("/")[2] if scheme(source) else Path(source).name


def size_of(uri: str) -> int | None:
    """Bytes of an object; None where its store doesn't say.

    Raises:
        OSError: it is not there, or the store refuses.
    """
    return _info(uri).get("size")


def modified(uri: str) -> float | None:
    """When an object was last changed, in seconds of Unix time; None where its store doesn't say.

    Raises:
        OSError: it is not there, or the store refuses.
    """
    system, path = _system(uri)
    try:
        changed = _tried(lambda: system.modified(path))
    except NotImplementedError:
        return None
    return float(changed.timestamp())


def found_at(uri: str) -> Found:
    """An object of a store as it is now.

    Raises:
        OSError: it is not there, or the store refuses.
    """
    return _found(uri, _info(uri))


def find_below(uri: str) -> list[Found]:
    """The objects below a folder of a store, or those that match a pattern; sorted by name.

    Raises:
        OSError: the store refuses.
    """
    system, path = _system(uri)
    magic = any(mark in uri for mark in "*?[")
    listed: dict[str, dict[str, Any]] = _tried(
        lambda: system.glob(path, detail=True) if magic else system.find(path, detail=True)
    )
    kind = scheme(uri)
    return [
        _found(f"{kind}://{name.lstrip('/')}", about)
        for name, about in sorted(listed.items())
        if about.get("type") == "file"
    ]


def is_folder(uri: str) -> bool:
    """Whether a URL stands for what is below it; those of the web never do.

    Raises:
        OSError: the store refuses.
    """
    if scheme(uri) in WEB:
        return False
    system, path = _system(uri)
    return bool(_tried(lambda: system.isdir(path)))


def open_seekable(source: str) -> AbstractContextManager[BinaryIO]:
    """A path or URL as a file to look at here and there, as for a header; what isn't read isn't fetched.

    Raises:
        OSError: it is not there, or the store refuses.
    """
    if not is_remote(source):
        return open(local_path(source), "rb")
    system, path = _system(source)
    opened: AbstractContextManager[BinaryIO] = _tried(lambda: system.open(path, "rb", block_size=1 << 16))
    return opened


def read_blocks(uri: str, allowed_hosts: Collection[str] | None = None) -> Iterator[bytes]:
    """The bytes of an object, a few MiB at a time, from one try after the other where connections drop.

    Args:
        uri: of the object.
        allowed_hosts: of the web, those that may be asked, also where one redirects to another; None: any.

    Raises:
        OSError: it is not there, the store refuses, or every try failed.
    """
    if scheme(uri) in WEB:
        yield from _read_web(uri, allowed_hosts)
        return
    system, path = _system(uri)
    about = _info(uri)
    size, version = int(about["size"]), _version(about)
    for start in range(0, size, _BLOCK):
        end = min(start + _BLOCK, size)
        block: bytes = _tried(partial(system.cat_file, path, start=start, end=end))
        if len(block) != end - start:
            raise RemoteRefused(errno.EIO, "changed while it was read")
        yield block
    if size > _BLOCK and _version(_info(uri)) != version:
        raise RemoteRefused(errno.EIO, "changed while it was read")


def _read_web(url: str, allowed_hosts: Collection[str] | None) -> Iterator[bytes]:
    """As ``read_blocks``: one request, and where the connection drops, another for the bytes that are left."""
    system, _ = _system(url, tuple(allowed_hosts) if allowed_hosts is not None else None)
    if allowed_hosts is not None:
        _check_host(url, allowed_hosts)
    n_read, version, failures = 0, None, 0
    while True:
        try:
            ranged = {"headers": {"Range": f"bytes={n_read}-", "Accept-Encoding": "identity"}}
            with closing(system.open(url, block_size=0, size=1, **ranged)) as answer:
                if n_read and answer.r.status == 416:  # there is nothing after what was read
                    return
                answer.r.raise_for_status()
                now = (answer.r.headers.get("ETag"), answer.r.headers.get("Last-Modified"))
                if version is not None and now != version:
                    raise RemoteRefused(errno.EIO, "changed while it was read")
                version = now
                skip = n_read - _first_byte(answer.r) if n_read else 0
                while block := answer.read(_STREAMED):
                    new = block[skip:]
                    skip = max(skip - len(block), 0)
                    if new:
                        n_read, failures = n_read + len(new), 0
                        yield new
                return
        except Exception as error:  # whatever a store's client raises
            if getattr(error, "status", None) == 416 and n_read == 0:
                return  # an empty object has no first byte
            if failures == len(_PAUSES) or not _is_passing(error):
                raise _as_os_error(error) from None
            _pause(_PAUSES[failures])
            failures += 1


def _first_byte(answer: Any) -> int:  # noqa: ANN401 - of aiohttp
    """Where in the object an answer begins: at 0 where the server has no ranges."""
    match = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", "")) if answer.status == 206 else None
    return int(match[1]) if match else 0


def _check_host(url: str, allowed_hosts: Collection[str]) -> None:
    host = (urlsplit(url).hostname or "").lower()
    if host not in allowed_hosts:
        raise RemoteRefused(errno.EACCES, f"the host {host} is not one of those allowed")


def _system(uri: str, allowed_hosts: tuple[str, ...] | None = None) -> tuple[AbstractFileSystem, str]:
    """The store of a URL, and the object's name there."""
    kind = scheme(uri) or ""
    try:
        import fsspec
    except ImportError:
        raise OptionError(f"{kind}:// takes the extra remote", hint='pip install "whisper-max[remote]"') from None
    if kind == "memory":
        return fsspec.filesystem("memory"), "/" + uri[len("memory://") :].strip("/")
    options: dict[str, Any] = {"use_listings_cache": False}
    if kind in WEB:
        options |= {"client_kwargs": _web_client(allowed_hosts)}
    try:
        system: AbstractFileSystem = fsspec.filesystem(kind, skip_instance_cache=kind in WEB, **options)
    except ImportError:
        package = _PACKAGES[kind]
        raise OptionError(
            f"{kind}:// takes the package {package}", hint=f'pip install "whisper-max[remote]" {package}'
        ) from None
    except Exception as error:  # a store's settings that its client can't read
        raise _as_os_error(error) from None
    return system, uri if kind in WEB else system._strip_protocol(uri)


def _web_client(allowed_hosts: tuple[str, ...] | None) -> dict[str, Any]:
    """What fsspec makes its HTTP client of: no limit on the whole, but on silence; redirects to allowed hosts only."""
    import aiohttp

    async def on_redirect(session: object, context: object, parameters: Any) -> None:  # noqa: ANN401 - of aiohttp
        target = urljoin(str(parameters.url), parameters.response.headers.get("Location", ""))
        if allowed_hosts is not None:
            _check_host(target, allowed_hosts)

    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(on_redirect)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT, sock_read=_SILENCE)
    return {"timeout": timeout, "trace_configs": [trace]}


def _info(uri: str) -> dict[str, Any]:
    system, path = _system(uri)
    about: dict[str, Any] = _tried(lambda: system.info(path))
    if about.get("type") == "directory":
        raise IsADirectoryError(errno.EISDIR, "a folder, not a file")
    return about


def _found(uri: str, about: dict[str, Any]) -> Found:
    return Found(uri, int(about.get("size") or 0), _version(about))


def _version(about: dict[str, Any]) -> str:
    """What changes when an object changes, as its store tells it: a digest, else a time."""
    for name in ("ETag", "etag", "md5Hash", "content_md5", "LastModified", "last_modified", "updated", "created"):
        if about.get(name):
            return f"{about.get('size')} {about[name]}"
    return f"{about.get('size')}" if about.get("mtime") is None else f"{about.get('size')} {about['mtime']}"


def _tried(work: Callable[[], T]) -> T:
    """What a store answers, asked again after a pause where that may help; its refusal as an ``OSError`` of ours."""
    for pause in (*_PAUSES, None):
        try:
            return work()
        except NotImplementedError:
            raise
        except Exception as error:  # whatever a store's client raises
            if pause is None or not _is_passing(error):
                raise _as_os_error(error) from None
            _pause(pause)
    raise AssertionError("the last try returns or raises")


def _pause(seconds: float) -> None:
    time.sleep(seconds)


def _is_passing(error: Exception) -> bool:
    """Whether another try may succeed."""
    if isinstance(error, (RemoteRefused, *_NO_USE)) or type(error).__name__ in ("NoCredentialsError", "InvalidURL"):
        return False
    status = getattr(error, "status", None)
    return not (isinstance(status, int) and status < 500 and status not in _WORTH_ANOTHER_TRY)


def _as_os_error(error: Exception) -> OSError:
    """The error of a store as one of this machine's files, without what its text may hold of secrets."""
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(errno.ENOENT, "no such file")
    if type(error).__name__ == "NoCredentialsError":
        return PermissionError(errno.EACCES, "no credentials for this store")
    status, text = getattr(error, "status", None), getattr(error, "message", None)
    if isinstance(status, int) and isinstance(text, str):
        kind: type[OSError] = PermissionError if status in (401, 403) else OSError
        return kind(errno.EACCES if kind is PermissionError else errno.EIO, f"status {status} {text}".strip())
    if isinstance(error, PermissionError):
        return PermissionError(errno.EACCES, f"access denied: {_plain(error)}")
    if isinstance(error, IsADirectoryError):
        return IsADirectoryError(errno.EISDIR, "a folder, not a file")
    if isinstance(error, TimeoutError):
        return TimeoutError(errno.ETIMEDOUT, "no answer in time")
    number = error.errno if isinstance(error, OSError) and error.errno else errno.EIO
    return type(error)(number, _plain(error)) if isinstance(error, RemoteRefused) else OSError(number, _plain(error))


def _plain(error: Exception) -> str:
    """The text of an error, any URL in it without its secrets."""
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return _ANY_URL.sub(lambda match: shown_source(match[0]), said)
