"""How many requests are taken at a time, and whether any still are."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from whisper_max.server.errors import busy, stopping

_WEIGHT = 0.2  # of the last request in the running mean of their durations
_LONGEST_WAIT = 60  # seconds, the most that Retry-After says


class Admission:
    """Requests that are taken and not answered yet; used on the event loop only.

    Args:
        max_requests: how many at a time.
    """

    def __init__(self, max_requests: int) -> None:
        self.max_requests = max_requests
        self.n_requests = 0
        self.stopping = asyncio.Event()
        self._seconds = 1.0  # running mean of what a request takes

    @contextmanager
    def admit(self) -> Iterator[None]:
        """A place among the requests, for as long as the context.

        Raises:
            APIError: 429 where there is none, 503 while the server is stopping.
        """
        if self.stopping.is_set():
            raise stopping()
        if self.n_requests >= self.max_requests:
            raise busy(f"{self.n_requests} requests are being worked on", self.retry_after)
        self.n_requests += 1
        start = time.monotonic()
        try:
            yield
        finally:
            self.n_requests -= 1
            self._seconds += _WEIGHT * (time.monotonic() - start - self._seconds)

    @property
    def retry_after(self) -> int:
        """Seconds after which a place is likely to be free: what requests take, over how many there are."""
        return min(max(math.ceil(self._seconds / self.max_requests), 1), _LONGEST_WAIT)

    def stop(self) -> None:
        """Take no more requests."""
        self.stopping.set()
