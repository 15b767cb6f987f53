"""What counts as code of a source file, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from whisper_max.model import source
from whisper_max.model.source import KERNELS, ROOM, code_of, kernel_code

CODE = '''
def f(x: Int) -> Int:
    """What it does."""
    var text = "# no comment"
    return x + 1
'''


@pytest.mark.parametrize(
    "same",
    [
        CODE.replace('"""What it does."""', '"""What it\n\n    really does, "quoted" (and all."""  # here'),
        CODE.replace('    """What it does."""\n', ""),
        CODE.replace('"""What it does."""', "'A word.'"),
        CODE.replace("\n    return", "  # why\n\n\n  # and why not\n    return"),
        CODE.replace("f(x: Int)", "f(\n            x: Int  # an argument\n)"),
        CODE.replace("x + 1", "x+1   "),
        CODE.replace("x + 1", "x \\\n        + 1"),
        '"""The file."""\n' + CODE + "\n\n",
    ],
)
def test_comments_docstrings_and_layout_are_no_code(same):
    assert same != CODE
    assert code_of(same) == code_of(CODE)


@pytest.mark.parametrize(
    "other",
    [
        CODE.replace("x + 1", "x + 2"),
        CODE.replace("x + 1", "1 + x"),
        CODE.replace("# no comment", "# a comment"),
        CODE.replace("# no comment", "#  no comment"),
        CODE.replace("    return", "        return"),
        CODE.replace("return x", "return (\n    '''text'''\n    x)"),
        CODE.replace("x + 1", "x + 1\n    f(\n        '''text'''\n    )"),
        CODE.replace("def f", "@always_inline\ndef f"),
        CODE.replace("Int) ->", "Int32) ->"),
        CODE.replace("var text", "var t ext"),
    ],
)
def test_everything_else_is(other):
    assert code_of(other) != code_of(CODE)


def test_a_text_among_arguments_is_no_docstring():
    call = "f(\n    {}\n)\n"
    assert code_of(call.format('"""a"""')) != code_of(call.format('"""b"""'))


def test_indentation_tells_blocks_apart():
    assert code_of("if a:\n    b()\nc()\n") != code_of("if a:\n    b()\n    c()\n")


@pytest.mark.parametrize("path", [*ROOM.rglob("*.py"), *ROOM.rglob("*.mojo")], ids=lambda path: path.name)
def test_every_file_of_the_room_keeps_its_digest_when_its_prose_changes(path):
    text = path.read_text(encoding="utf-8")
    changed = f'"""Other words."""\n{text}'.replace("\n\n", "\n# A remark: 'odd\" (quotes\n\n")
    assert code_of(changed) == code_of(text)
    assert code_of(f"{text}\nx = 1\n") != code_of(text)


def test_the_digest_of_the_code_is_of_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(source, "ROOM", tmp_path)
    (tmp_path / "kernels").mkdir()

    def digests(name: str, content: str) -> tuple[str, str]:
        (tmp_path / name).write_text(content)
        source.source_digest.cache_clear()
        source.code_digest.cache_clear()
        return source.source_digest(), source.code_digest()

    try:
        first = digests("a.py", "x = 1\n")
        more = digests("kernels/b.mojo", "comptime A = 1\n")
        prose = digests("kernels/b.mojo", "# Why.\ncomptime A = 1\n")
        code = digests("kernels/b.mojo", "comptime A = 2\n")
    finally:
        monkeypatch.undo()
        source.source_digest.cache_clear()
        source.code_digest.cache_clear()
    assert len({first[0], more[0], prose[0], code[0]}) == 4
    assert len({first[1], more[1], code[1]}) == 3
    assert prose[1] == more[1]


# ---------------------------------------------------------------- kernels


def names(*operations: str) -> list[str]:
    return [code.partition("\n")[0] for code in kernel_code(operations)]


def test_the_files_of_an_operation_are_its_own_and_those_that_it_imports():
    assert names("whisper_max.linear") == ["finish", "linear", "team", "tiles"]
    assert "int8_linear" not in names("whisper_max.self_attention", "whisper_max.cross_attention")
    assert set(names("whisper_max.int8_self_attention")) >= {"int8_attention", "attention", "int8_linear", "dot"}
    assert names() == []


def test_an_operation_that_no_file_registers():
    with pytest.raises(KeyError, match="unheard"):
        kernel_code(["whisper_max.unheard_of"])


def test_every_kernel_file_is_some_operations():
    registered = [line for path in KERNELS.glob("*.mojo") for line in path.read_text().splitlines()]
    operations = [line.split('"')[1] for line in registered if line.startswith("@extensibility.register")]
    assert len(operations) == len(set(operations)) >= 14
    assert {*names(*operations), "__init__"} == {path.stem for path in KERNELS.glob("*.mojo")}
