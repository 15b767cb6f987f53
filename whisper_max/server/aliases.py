"""Names that programs have for models, and the model of this server that each one means."""

from __future__ import annotations

import re
from collections.abc import Mapping

from whisper_max.checkpoint.copies import published_name

_DEFAULT = re.compile(r"whisper-1|gpt-realtime-whisper|gpt(-4o)?(-mini)?-transcribe(-diarize)?(-\d{4}-\d\d-\d\d)?")
"""OpenAI's own models, which programs name whatever the server is: the default model."""


class Names:
    """The names of a server's models.

    Args:
        sources: what each id is loaded from, the default model first; of two ids of the same model, the second is an
            alias.
        aliases: other names, and the id that each means.

    Attributes:
        ids: of the models, each one copy in memory.
    """

    def __init__(self, sources: Mapping[str, str], aliases: Mapping[str, str]) -> None:
        firsts: dict[str, str] = {}
        for id, source in sources.items():
            firsts.setdefault(published_name(source) or source, id)
        self._firsts = firsts
        self._named = {id: firsts[published_name(source) or source] for id, source in sources.items()}
        self._named |= {name: self._named[id] for name, id in aliases.items()}
        self.ids = tuple(firsts.values())

    def find(self, name: str) -> str | None:
        """The id that a name means; None where it means none of this server's."""
        if name in self._named:
            return self._named[name]
        published = published_name(name)
        if published in self._firsts:
            return self._firsts[published]
        return self.ids[0] if _DEFAULT.fullmatch(name) else None
