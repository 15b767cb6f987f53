"""Requests that wait for a machine that is busy: the 5 s that httpx waits by itself are less than that may take."""

from functools import partial

import httpx

SECONDS = 60

request = partial(httpx.request, timeout=SECONDS)
get = partial(request, "GET")
post = partial(request, "POST")
delete = partial(request, "DELETE")
