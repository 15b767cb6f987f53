"""What the package imports, and when: nothing that it promises to do without, and nothing heavy before it is needed."""

from __future__ import annotations

import ast
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import whisper_max

PACKAGE = Path(whisper_max.__file__).parent

BLOCK = """
import sys

class Block:
    blocked = {"torch", "torchaudio", "transformers", "whisper", "faster_whisper", "ctranslate2", "librosa", "ffmpeg"}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.blocked:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Block())
"""


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=PACKAGE.parent,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def module_names() -> list[str]:
    modules = pkgutil.walk_packages([str(PACKAGE)], prefix="whisper_max.")
    return ["whisper_max", *(module.name for module in modules if module.name != "whisper_max.__main__")]


def test_every_module_imports_without_torch_and_its_relatives():
    code = BLOCK + f"import importlib\nfor name in {module_names()}: importlib.import_module(name)\nprint('imported')"
    result = run_python(code)
    assert (result.stdout, result.stderr, result.returncode) == ("imported\n", "", 0)


def test_the_block_blocks():
    result = run_python(BLOCK + "import torch.nn")
    assert "ImportError: torch is blocked" in result.stderr


def test_help_runs_with_an_empty_path_and_without_torch():
    code = BLOCK + "from whisper_max.commands.main import main\nmain(['transcribe', '--help'])"
    result = run_python(code, PATH="")
    assert result.returncode == 0, result.stderr
    assert "--output_format" in result.stdout


def test_importing_the_package_and_its_parser_loads_nothing_heavy():
    code = (
        "import sys, whisper_max, whisper_max.commands.main\n"
        "whisper_max.commands.main.build_parser()\n"
        "print(sorted({'max', 'huggingface_hub', 'av', 'soundfile', 'soxr', 'safetensors', 'tiktoken', 'numpy'}"
        " & set(sys.modules)))"
    )
    result = run_python(code)
    assert (result.stdout, result.stderr) == ("[]\n", "")


def test_one_speaker_is_found_without_the_slowest_of_scipy():
    code = (
        "import sys, numpy as np\n"
        "from whisper_max.speakers.clustering import Voices, speakers_of\n"
        "from whisper_max.speakers.known import name_speakers\n"
        "voices = np.eye(1, 192, dtype=np.float32).repeat(4, axis=0)\n"
        "seconds = np.ones(4, np.float32)\n"
        "labels = speakers_of(Voices(voices, seconds, seconds, np.array([0, 0, 1, 2])), 1, None)\n"
        "print(labels, name_speakers({0: voices[0]}, {}), 'scipy.optimize' in sys.modules)"
    )
    assert run_python(code).stdout == "[0 0 0 0] {0: 'Speaker 1'} False\n"


def max_imports(path: Path) -> set[str]:
    """The parts of MAX (``max.graph``, ...) that a source file imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [f"max.{alias.name}" for alias in node.names] if node.module == "max" else [node.module]
        found |= {".".join(name.split(".")[:2]) for name in names if name.partition(".")[0] == "max"}
    return found


def test_graphs_are_built_from_three_parts_of_max_and_only_three_rooms_know_the_rest():
    allowed = {"model": {"max.graph", "max.dtype", "max.nn"}}
    wrong = {}
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0]
        if room not in ("compile", "engine", "hardware") and (extra := max_imports(path) - allowed.get(room, set())):
            wrong[str(path.relative_to(PACKAGE))] = extra
    assert wrong == {}


def test_max_imports_sees_every_form(tmp_path: Path):
    source = tmp_path / "module.py"
    source.write_text(
        "import max.engine\nfrom max import driver\nfrom max.graph.ops import add\nimport maximum\n"
        "def f():\n    from max.nn import Linear\n"
    )
    assert max_imports(source) == {"max.engine", "max.driver", "max.graph", "max.nn"}
