"""faster-whisper's options of voice activity detection."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from whisper_max.audio import vad as native
from whisper_max.errors import OptionError


@dataclass
class VadOptions:
    """When speech begins and ends; what the fields mean stands at ``whisper_max.audio.vad.VadOptions``."""

    threshold: float = 0.5
    neg_threshold: float | None = None
    min_speech_duration_ms: int = 0
    max_speech_duration_s: float = float("inf")
    min_silence_duration_ms: int = 2000
    speech_pad_ms: int = 400

    def native(self) -> native.VadOptions:
        """The same for ``whisper_max``.

        Raises:
            OptionError: an impossible value.
        """
        return native.VadOptions(**asdict(self))


def vad_options(given: dict[str, Any] | VadOptions | None, default: VadOptions | None = None) -> VadOptions:
    """``vad_parameters`` as ``VadOptions``; None stands for the default.

    Raises:
        OptionError: a name that is no option.
    """
    if given is None:
        return default or VadOptions()
    if isinstance(given, VadOptions):
        return given
    names = [each.name for each in fields(VadOptions)]
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise OptionError(
            "unknown option", where="vad_parameters", expected=f"some of {', '.join(names)}", found=", ".join(unknown)
        )
    return VadOptions(**given)
