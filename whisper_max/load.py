"""Loading a model: from a name to files, a checkpoint, a target and an engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from whisper_max.api import Model
from whisper_max.checkpoint import Checkpoint, ModelFiles, check_digests, read_checkpoint, resolve, resolve_adapter
from whisper_max.checkpoint.checksum import sha256_of
from whisper_max.checkpoint.published import ALIASES, MODELS
from whisper_max.compile.bundle import read_bundle
from whisper_max.engine import Target, check_utilization, open_engine, select_target
from whisper_max.engine.storage import compute_type_for
from whisper_max.errors import CheckpointError
from whisper_max.files.cache import why_unwritable
from whisper_max.text.tokenizer import Vocabulary


def tokens_of(checkpoint: Checkpoint) -> Vocabulary:
    """The vocabulary of a checkpoint, ready for tokenizers.

    Raises:
        CheckpointError: the tokens that it states are not a Whisper model's.
    """
    stated = checkpoint.vocabulary
    try:
        return Vocabulary(
            stated.tokens,
            checkpoint.dims.n_vocab,
            stated.special_tokens,
            stated.words,
            stated.multilingual,
            stated.languages,
        )
    except CheckpointError as error:
        raise CheckpointError(
            error.what, where=checkpoint.source, expected=error.expected, found=error.found, hint=error.hint
        ) from error


def target_name(target: Target) -> str:
    """All of a target that a transcript may depend on: ``cpu:x86-64-v3 float32, weights int8``."""
    weights = "" if target.storage is None else f", weights {target.storage.name}"
    return f"{target.code} {target.dtype.name}{weights}"


def content_of(files: ModelFiles, checkpoint: Checkpoint, target: Target) -> str | None:
    """What names the contents of a checkpoint's files, where its weights will be rounded to int8; else None."""
    if target.storage is None or target.storage.name != "int8" or checkpoint.tensors.quantized:
        return None
    config = files.companions.get("config.json")
    return " ".join([sha256_of(files.weights), *([sha256_of([config])] if config else [])])


def load_model(
    model: str | Path = "base",
    *,
    device: str = "auto",
    compute_type: str = "auto",
    threads: int | None = None,
    gpu_memory_utilization: float | None = None,
    offline: bool = False,
    weights_dir: str | Path | None = None,
    revision: str | None = None,
    lora: str | Path | Sequence[str | Path] = (),
    progress: Callable[[str], object] | None = None,
) -> Model:
    """Load a model by name, path or hub id, or a bundle by its folder.

    Args:
        model: a published name ("base", "large-v3", "turbo", "distil-large-v3"...), a checkpoint file or folder of any
            format that is read, a hub id ("owner/name"), or the folder that ``export`` made.
        device: "auto" (a GPU that was checked on this machine, else the CPU), "cpu", "gpu" or "gpu:N".
        compute_type: "auto" (float32 on a CPU, bfloat16 on a GPU; for int8 weights and for bundles what they were made
            for), "float32", "int8", "float16" or "bfloat16".
        threads: that run the graphs on a CPU, the same for all models of a process; None for
            ``$WHISPER_MAX_THREADS``, else every core that the process may use.
        gpu_memory_utilization: share of what a GPU has free once the weights are loaded, to plan batches with; None
            for nine tenths. A CPU takes none.
        offline: never ask the hub.
        weights_dir: a folder with checkpoints by name, looked at first.
        revision: a branch, tag or commit of a model on the hub.
        lora: folders or hub ids of LoRA adapters to merge into the weights, in this order; "FOLDER=0.5" applies one
            half as strongly as it was trained.
        progress: called with a line for people when something slow happens: a download, a compilation.

    Raises:
        UnknownModelError, HubError: no such model, or it can't be had.
        CheckpointError: the checkpoint is damaged or not a Whisper model.
        DeviceError: the device is not there, can't be used, or has too little free memory.
        ArtifactError: the graphs can't be compiled or loaded.
        OptionError: an impossible device, compute type, number of threads or share of memory.
    """

    def report(line: str) -> None:
        if progress is not None:
            progress(line)

    if (reason := why_unwritable()) is not None:
        report(f"no cache ({reason}): checksums and compiled graphs are made again each time; set WHISPER_MAX_CACHE")
    target = select_target(device, compute_type, threads)  # refuses what is impossible for any model
    check_utilization(target, gpu_memory_utilization)
    bundle = None if str(model) in (*MODELS, *ALIASES) else read_bundle(model)
    if bundle is None:
        folder = Path(weights_dir) if weights_dir else None
        files = resolve(model, offline=offline, weights_dir=folder, revision=revision, announce=report)
        kinds = {"cpu", "gpu"}
    else:
        files, kinds = bundle.files(), bundle.kinds
        compute_type = bundle.compute_type if compute_type == "auto" else compute_type
    adapters = [
        resolve_adapter(adapter, offline=offline, announce=report)
        for adapter in ([lora] if isinstance(lora, str | Path) else lora)
    ]
    checkpoint = read_checkpoint(files, verify=False)
    if adapters:
        from whisper_max.checkpoint.lora import merge_adapters

        checkpoint = replace(checkpoint, tensors=merge_adapters(checkpoint.tensors, adapters, checkpoint.dims))
    if checkpoint.tensors.packed is not None and compute_type == "auto" and target.is_cpu:
        report(f"{checkpoint.tensors.packed} weights run in int8; compute_type float32 keeps their exact values")
    compute_type = compute_type_for(checkpoint, compute_type, is_cpu=target.is_cpu)
    vocabulary = tokens_of(checkpoint)
    check_digests(files)
    if device == "auto" and (compute_type == "int8" or kinds == {"cpu"}):
        device = "cpu"  # the only kind of device that can run it
    target = select_target(device, compute_type, threads, report)
    artifacts = None if bundle is None else bundle.artifacts_for(target)
    content = content_of(files, checkpoint, target) if not adapters else None
    engine = open_engine(checkpoint, target, report, artifacts, gpu_memory_utilization, content)
    used = replace(target, codes=(engine.code,))
    weights = (*files.weights, *(path for adapter in adapters for path in (adapter.config, adapter.weights)))
    factors = "".join(f", lora {adapter.factor:g}" for adapter in adapters)
    return Model(engine, vocabulary, checkpoint.name, weights, target_name(used) + factors)
