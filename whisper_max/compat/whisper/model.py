"""openai-whisper's model object, and loading one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from whisper_max import api
from whisper_max.compat.loading import is_gpu, load
from whisper_max.compat.missing import NotOffered
from whisper_max.compat.whisper import decoding
from whisper_max.compat.whisper.transcribe import transcribe as transcribe_function
from whisper_max.dims import ModelDimensions
from whisper_max.engine import select_target
from whisper_max.errors import OptionError


class DeviceName(str):
    """The name of a device, with what programs ask of torch's: ``type`` ("cpu", "cuda") and ``index`` (of a GPU)."""

    @property
    def type(self) -> str:
        """The kind of device."""
        return self.partition(":")[0]

    @property
    def index(self) -> int | None:  # type: ignore[override] # a text's own method, which no device has
        """The number of a GPU, where the name has it."""
        number = self.partition(":")[2]
        return int(number) if number else None


class Whisper:
    """A model with openai-whisper's methods.

    Args:
        native: the model that does the work.
        device: "cpu", "cuda" or "cuda:N".
    """

    def __init__(self, native: api.Model, device: str) -> None:
        self.native = replace(native, as_openai=True)
        self.device = DeviceName(device)

    @property
    def dims(self) -> ModelDimensions:
        return self.native.dims

    @property
    def is_multilingual(self) -> bool:
        """True where the model knows more than English."""
        return self.native.is_multilingual

    @property
    def num_languages(self) -> int:
        """Language tokens in the vocabulary."""
        return len(self.native.vocabulary.specials.languages)

    def to(self, device: object) -> Whisper:
        """This model, where it is on that device already.

        Raises:
            OptionError: it is on another one: a model stays where it was loaded.
        """
        if str(device) != self.device:
            raise OptionError(
                "a model stays on the device it was loaded for",
                where="device",
                expected=self.device,
                found=device,
                hint="load_model has device",
            )
        return self

    def eval(self) -> Whisper:
        """This model: it knows no other mode."""
        return self

    def embed_audio(self, mel: NDArray[Any]) -> decoding.EncodedAudio:
        """Encode windows, for ``decode`` and ``detect_language``."""
        return decoding.embed_audio(self, mel)

    encoder = NotOffered("embed_audio encodes windows")
    decoder = NotOffered("decode and transcribe decode")
    logits = NotOffered("decode and transcribe give text and tokens")
    forward = NotOffered("decode and transcribe give text and tokens")
    install_kv_cache_hooks = NotOffered("keys and values are kept without being asked to")
    set_alignment_heads = NotOffered("those of the checkpoint count")
    parameters = NotOffered("the weights are in the model's file")
    state_dict = NotOffered("the weights are in the model's file")

    detect_language = decoding.detect_language
    transcribe = transcribe_function
    decode = decoding.decode


def load_model(name: str, device: object = None, download_root: str | None = None, in_memory: bool = False) -> Whisper:
    """Load a model.

    Args:
        name: a published name, a path, or a hub id.
        device: "cpu", "cuda", "cuda:N" or a device that prints so; None takes a GPU where there is one. A GPU computes
            in float16, a CPU in float32.
        download_root: a folder of models, looked at first; what is nowhere on this machine is downloaded to it.
        in_memory: changes nothing: weights are in memory once the model is loaded.

    Raises:
        OptionError: an argument that can't be honoured.
        WhisperMaxError: as ``whisper_max.load_model``.
    """
    wanted = "auto" if device is None else str(device)
    if wanted not in ("auto", "cpu") and not is_gpu(wanted):
        raise OptionError("unknown device", where="device", expected="cpu, cuda or cuda:N", found=device)
    if wanted == "auto":
        wanted = "cpu" if select_target().is_cpu else "cuda"
    compute_type = "float32" if wanted == "cpu" else "float16"
    native = load(name, device=wanted, compute_type=compute_type, download_root=download_root)
    return Whisper(native, wanted)
