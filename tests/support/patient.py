"""Requests that wait for a machine that is busy: the 5 s that httpx waits by itself are less than that may take."""

from functools import partial
from typing import Any

import httpx

SECONDS = 300
"""What a test waits for anything: a machine may give it a twentieth of a core, and then a minute is not enough."""
SOCKET: dict[str, Any] = {"open_timeout": SECONDS, "close_timeout": SECONDS, "ping_timeout": SECONDS}
"""Of a client of WebSockets, which waits 10 s and 20 s by itself."""

request = partial(httpx.request, timeout=SECONDS)
get = partial(request, "GET")
post = partial(request, "POST")
delete = partial(request, "DELETE")
