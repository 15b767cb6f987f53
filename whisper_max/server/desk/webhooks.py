"""Telling a server of somebody's that a job has ended: signed, and to no server but those named at the start.

The signature is that of Standard Webhooks (standardwebhooks.com), which OpenAI's webhooks have and its client verifies.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import http.client
import logging
import time
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from whisper_max.errors import OptionError

log = logging.getLogger(__name__)

WAITS = (5.0, 30.0, 120.0, 600.0, 3600.0, 6 * 3600.0)
"""Seconds before each further try."""
LONGEST = 2048  # characters of an address
_SECONDS = 10.0  # for an answer
_PORTS = {"http": 80, "https": 443}
_SECRET = "whsec_"

Origin = tuple[str, str, int]
"""Scheme, host and port."""


def origin_of(text: str) -> Origin:
    """The origin of an address.

    Raises:
        ValueError: it is none of http or https, or has a user, or characters that readers of addresses disagree about.
    """
    if len(text) > LONGEST or not text.isascii() or any(c <= " " or c in '\\"<>^`{|}' for c in text):
        raise ValueError(text)
    parts: SplitResult = urlsplit(text)
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc:
        raise ValueError(text)
    return parts.scheme, parts.hostname.rstrip("."), parts.port or _PORTS[parts.scheme]


def key_of(secret: str) -> bytes:
    """The key of a secret: what stands in base64 after ``whsec_``, or else its bytes.

    Raises:
        OptionError: it is empty, or no base64.
    """
    try:
        encoded = secret.removeprefix(_SECRET)
        key = base64.b64decode(encoded, validate=True) if secret.startswith(_SECRET) else secret.encode()
    except binascii.Error as error:
        raise OptionError("no base64 after whsec_", where="webhook_secret") from error
    if len(key) < 16:
        raise OptionError("too short to sign with", where="webhook_secret", expected="16 bytes or more")
    return key


@dataclass(frozen=True)
class Webhooks:
    """Who may be told, and with which key. origins: all that are told anything."""

    origins: frozenset[Origin]
    key: bytes

    def allows(self, url: str) -> bool:
        """True for an address at one of the origins."""
        try:
            return origin_of(url) in self.origins
        except ValueError:
            return False

    def headers(self, id: str, body: bytes) -> dict[str, str]:
        """What goes with a body so that it can be believed; the id is the same in each try."""
        now = str(int(time.time()))
        signed = hmac.new(self.key, b".".join((id.encode(), now.encode(), body)), hashlib.sha256).digest()
        return {
            "Content-Type": "application/json",
            "User-Agent": "whisper_max",
            "webhook-id": id,
            "webhook-timestamp": now,
            "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
        }

    def deliver(self, url: str, id: str, body: bytes) -> bool:
        """Post a body, follow nothing, and read nothing but the status; blocks. False where it was not taken."""
        if not self.allows(url):
            log.warning("%s: its webhook is at none of the origins any more", id)
            return False
        scheme, host, port = origin_of(url)
        parts = urlsplit(url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
        connection = kind(host, port, timeout=_SECONDS)
        try:
            connection.request("POST", path, body, self.headers(id, body))
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            log.warning("%s: its webhook can't be reached: %s", id, error)
            return False
        finally:
            connection.close()
        if not 200 <= status < 300:
            log.warning("%s: its webhook answered %d", id, status)
        return 200 <= status < 300
