"""How many bytes of uploads and of decoded samples may be on disk at a time, over all requests."""

from __future__ import annotations

import threading

from whisper_max.server.errors import OVERLOADED, APIError
from whisper_max.server.settings import MIB

_RETRY_AFTER = "10"  # seconds


class SpoolBudget:
    """Bytes on disk that all requests share; from any thread.

    Args:
        n_bytes: of all of them together.
    """

    def __init__(self, n_bytes: int) -> None:
        self.n_bytes = n_bytes
        self.n_taken = 0
        self.lock = threading.Lock()

    def check(self, n_bytes: int) -> None:
        """Refuse one request's bytes where there are none for them.

        Raises:
            APIError: 413 where they are more than there ever are, 429 where others have them.
        """
        limit = f"{self.n_bytes // MIB} MiB"
        if n_bytes > self.n_bytes:
            message = f"the recording takes more disk than there is for all: {limit}"
            raise APIError(413, message, code="too_large", param="file")
        if self.n_taken + n_bytes > self.n_bytes:
            message = f"other recordings take the disk that there is for all: {limit}"
            headers = {"Retry-After": _RETRY_AFTER}
            raise APIError(429, message, type=OVERLOADED, code="spool_budget", headers=headers)


class DiskSpace:
    """The bytes of one request, none at first; from any thread.

    Args:
        budget: what they are of.
    """

    def __init__(self, budget: SpoolBudget) -> None:
        self._budget = budget
        self._uploaded = 0
        self._decoded = 0

    def need(self, *, uploaded: int | None = None, decoded: int | None = None) -> None:
        """Have so many bytes of each, more or fewer than before; raises as ``SpoolBudget.check``, and then has none."""
        budget = self._budget
        with budget.lock:
            budget.n_taken -= self._uploaded + self._decoded
            before, self._uploaded, self._decoded = (self._uploaded, self._decoded), 0, 0
            wanted = (before[0] if uploaded is None else uploaded, before[1] if decoded is None else decoded)
            budget.check(sum(wanted))
            self._uploaded, self._decoded = wanted
            budget.n_taken += sum(wanted)

    def close(self) -> None:
        """Give them back."""
        self.need(uploaded=0, decoded=0)
