"""Checkpoints: from a name, path or hub id to a model's dims, tensors and vocabulary, without PyTorch."""

from whisper_max.checkpoint.files import ModelFiles
from whisper_max.checkpoint.reader import Checkpoint, check_digests, read_checkpoint
from whisper_max.checkpoint.resolve import ModelListing, list_models, resolve, resolve_adapter
from whisper_max.checkpoint.tensors import Tensors
from whisper_max.checkpoint.vocabulary import Vocabulary

__all__ = [
    "Checkpoint",
    "ModelFiles",
    "ModelListing",
    "Tensors",
    "Vocabulary",
    "check_digests",
    "list_models",
    "read_checkpoint",
    "resolve",
    "resolve_adapter",
]
