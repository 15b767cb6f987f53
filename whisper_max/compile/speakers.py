"""The compiled graphs of the networks that tell speakers apart: like a model's, but of one size, and on CPUs only."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from whisper_max.compile.artifact import SHIPPED
from whisper_max.compile.compiler import compile_speakers
from whisper_max.compile.store import Report, find_artifact, own_folders, reporting
from whisper_max.hardware.processors import cpu_codes, is_native
from whisper_max.model.digest import listed, module_digest, remembered

NAME = "speakers"
"""What their graphs are called where digests are listed."""


def file_name(code: str, folders: Iterable[Path] = (SHIPPED,)) -> str:
    """The artifact that this version of the code needs.

    code: a Target's. folders: where digests of graphs may be listed.
    """
    found = next((digest for folder in folders if (digest := listed(folder).get(NAME))), None)
    digest = found or remembered(NAME, build_digest)
    key = hashlib.sha256("\n".join([NAME, code, version("max-core"), digest]).encode()).hexdigest()[:16]
    return f"{NAME}-{code.replace(':', '-')}-{key}.wmx"


def build_digest() -> str:
    """The digest of the graphs, by building them."""
    from whisper_max.model.module import kernel_library
    from whisper_max.model.speakers.module import build_module

    return module_digest(build_module(kernel_library(check=False))[0])


def find_speakers(report: Report) -> bytes:
    """The compiled module for this machine's CPU.

    Raises:
        ArtifactError: as ``find_module``.
    """
    codes = cpu_codes()
    folders = [*own_folders(), SHIPPED]
    names = {file_name(code, folders): code for code in codes}
    portable = next((name for name, code in names.items() if not is_native(code)), next(iter(names)))

    def compile_wanted(report: Report) -> bytes:
        report(f"compiling the networks that tell speakers apart for {names[portable]}: happens once, takes a minute")
        with reporting(report):
            return compile_speakers(names[portable])

    return find_artifact(names, portable, compile_wanted, report).module
