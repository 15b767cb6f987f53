"""Short recordings of people who are known by name, sent with a request: their voices, to tell them apart by."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from io import FileIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from whisper_max.audio.io import gather_audio
from whisper_max.audio.reading import Reading
from whisper_max.audio.warnings import AudioWarning
from whisper_max.errors import AudioError
from whisper_max.server.decoding.parent import Decoders
from whisper_max.server.errors import APIError
from whisper_max.server.jobs import Cancelled
from whisper_max.speakers.diarize import load_networks
from whisper_max.speakers.reference import voice_of

if TYPE_CHECKING:
    from whisper_max.speakers.networks import SpeakerNetworks

FIELD = "known_speaker_references"
SHORTEST, LONGEST = 2.0, 10.0  # seconds, as OpenAI has them
_SLACK = 0.1  # seconds that encoders add or take


@dataclass(frozen=True)
class Reference:
    """Somebody's name, and a recording of that person alone: a file of audio."""

    name: str
    content: bytes


def voices_of(
    references: Sequence[Reference], decoders: Decoders, check: Callable[[], None]
) -> dict[str, NDArray[np.float32]]:
    """The voice of each by name; nothing of them is kept.

    Args:
        references: as they were sent.
        decoders: decode them.
        check: called again and again; what it raises ends the work.

    Raises:
        APIError: 400, one of them is no audio, too short, too long, or nobody is heard in it.
        OptionError: the extra ``speakers`` or its checkpoints are not installed.
        Cancelled: from ``check``.
    """
    if not references:
        return {}
    networks = load_networks()
    return {each.name: _voice(each, networks, decoders, check) for each in references}


def _voice(
    reference: Reference, networks: SpeakerNetworks, decoders: Decoders, check: Callable[[], None]
) -> NDArray[np.float32]:
    with tempfile.TemporaryFile(buffering=0, prefix="whisper_max-") as file:
        file.write(reference.content)
        file.seek(0)
        try:
            voice = _heard(file, reference.name, networks, decoders, check)
        except Cancelled:
            raise
        except AudioError as error:
            raise refused(f"the recording of {reference.name!r}: {error.what}") from error
    if voice is None:
        raise refused(f"the recording of {reference.name!r}: nobody is heard in it for half a second or longer")
    return voice


def _heard(
    file: FileIO, name: str, networks: SpeakerNetworks, decoders: Decoders, check: Callable[[], None]
) -> NDArray[np.float32] | None:
    warnings: list[AudioWarning] = []

    def refuse_longer(seconds: float) -> None:
        _check_length(name, max(seconds, SHORTEST))

    with (
        closing(decoders.decode(file, Reading(FIELD), warnings.append, check=check, later=False)) as pieces,
        gather_audio(pieces, warnings, FIELD, on_decoded=refuse_longer, in_memory_seconds=60.0) as waveform,
    ):
        _check_length(name, waveform.duration)
        return voice_of(waveform, networks)


def _check_length(name: str, seconds: float) -> None:
    if not SHORTEST - _SLACK <= seconds <= LONGEST + _SLACK:
        raise refused(f"the recording of {name!r}: expected {SHORTEST:g} to {LONGEST:g} s, found {seconds:.1f} s")


def refused(what: str) -> APIError:
    """The answer to recordings that can't be taken."""
    return APIError(400, f"{FIELD}: {what}", code="invalid_value", param=FIELD)
