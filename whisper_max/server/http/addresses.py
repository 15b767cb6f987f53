"""The field ``url``: a recording that the server fetches itself, from the hosts that it was told, and from no other."""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from urllib.parse import urlsplit

from whisper_max.audio.opening import spool_url
from whisper_max.files.remote import WEB, scheme
from whisper_max.server.errors import APIError
from whisper_max.server.http.uploads import Form
from whisper_max.server.jobs import Cancelled
from whisper_max.server.settings import MIB, Settings
from whisper_max.server.spool import DiskSpace


async def fetch_recording(form: Form, urls: list[str], settings: Settings, place: DiskSpace) -> None:
    """Fetch what the form names by its address, as if it had been sent.

    Args:
        form: gets the file, which ``read_form`` closes.
        urls: as they were sent; more than one is refused.
        settings: hosts and limits, those of an upload.
        place: takes the bytes of the file.

    Raises:
        APIError: 400 for an address that is not allowed, 408 for one that answers too slowly, 413 for a recording that
            is too large.
        AudioError: it can't be had.
        OptionError: the extra ``remote`` is not installed.
    """
    url = _allowed(urls, form, settings)
    form.file = tempfile.TemporaryFile(buffering=0, prefix="whisper_max-")  # noqa: SIM115 - read_form closes
    ended, end = threading.Event(), time.monotonic() + settings.upload_timeout

    def watch(n_bytes: int) -> None:
        if ended.is_set():
            raise Cancelled("cancelled")
        if time.monotonic() > end:
            raise APIError(408, "url: the recording comes too slowly", code="upload_timeout", param="url")
        if n_bytes > settings.max_upload * MIB:
            message = f"the recording is too large: expected at most {settings.max_upload} MiB"
            raise APIError(413, message, code="too_large", param="url")
        place.need(uploaded=n_bytes)

    hosts = [host.lower() for host in settings.url_hosts]
    try:
        spooled = asyncio.to_thread(spool_url, url, form.file, allowed_hosts=hosts, watch=watch)
        form.n_bytes = await asyncio.wait_for(spooled, settings.upload_timeout)
    except TimeoutError as error:
        raise APIError(408, "url: no answer in time", code="upload_timeout", param="url") from error
    finally:
        ended.set()
    form.file.seek(0)


def _allowed(urls: list[str], form: Form, settings: Settings) -> str:
    """The one address, where the server may ask it."""
    if not settings.url_hosts:
        raise _refused("this server fetches no recordings: send it as file")
    if len(urls) > 1:
        raise APIError(400, "url: sent more than once", code="duplicate_field", param="url")
    if form.file is not None:
        raise APIError(400, "url and file can't be given together", code="duplicate_field", param="url")
    (url,) = urls
    if scheme(url) not in WEB:
        raise _refused("expected an address that begins with http:// or https://")
    try:
        host = (urlsplit(url).hostname or "").lower()
    except ValueError as error:
        raise _refused("no address") from error
    if host not in [name.lower() for name in settings.url_hosts]:
        raise _refused(f"the host {host[:100]!r} is not one of those that this server asks")
    return url


def _refused(why: str) -> APIError:
    return APIError(400, f"url: {why}", code="url_not_allowed", param="url")
