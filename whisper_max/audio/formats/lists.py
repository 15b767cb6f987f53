"""Files that name recordings in place of holding one: playlists, manifests, session descriptions.

FFmpeg follows them wherever they lead, to other files and over a network. They are known by how they begin, and refused
by their names before any library sees them.
"""

from __future__ import annotations

import os
import re
from io import FileIO

from whisper_max.errors import AudioError

_XML = rb"(?>\s|<\?(?s:.*?)\?>|<!--(?s:.*?)-->|<!(?!--)[^>]*>)*+"  # what may stand before the first element
_BEGINNINGS = {
    "an HLS or m3u playlist": rb"#EXTM3U",
    "a list of files for FFmpeg (concat)": rb"ffconcat version",
    "a DASH manifest": _XML + rb"<MPD[\s>]",
    "a session description (SDP)": rb"v=0\r?\n",
    "a pls playlist": rb"(?i:\[playlist\])",
    "an ASX playlist": _XML + rb"(?i:<asx[\s>]|\[reference\])",
    "an XSPF playlist": _XML + rb"<playlist[\s>]",
    "a SMIL presentation": _XML + rb"<smil[\s>]",
    "an IMF package": _XML + rb"<(?:\w+:)?(?:CompositionPlaylist|AssetMap|PackingList)[\s>]",
    "a Smooth Streaming manifest": _XML + rb"<SmoothStreamingMedia[\s>]",
    "an address": rb"(?i:(?:https?|rtsps?|rtmps?|mms|ftp|file)://)",
}
_LIST = re.compile(rb"(?:\xef\xbb\xbf)?\s*+(?:" + b"|".join(b"(%b)" % one for one in _BEGINNINGS.values()) + rb")")
_HEAD = 4096  # bytes in which a list is known


def find_list(head: bytes) -> str | None:
    """What a file is that names recordings in place of holding one; None where it is no such list.

    Args:
        head: its first bytes; 4096 are looked at.
    """
    found = _LIST.match(head[:_HEAD])
    return None if found is None or found.lastindex is None else list(_BEGINNINGS)[found.lastindex - 1]


def check_no_list(file: FileIO, where: str) -> None:
    """Refuse, by its name, a file that lists recordings.

    Raises:
        AudioError: it is one.
    """
    name = find_list(os.pread(file.fileno(), _HEAD, 0))
    if name is not None:
        raise AudioError(f"{name}, not a recording", where=where, hint="what it names is not opened: give that itself")
