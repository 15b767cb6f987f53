"""The script that reads a module's machine code: on an ELF file put together here, with a CPU's beside it."""

from __future__ import annotations

import struct

import pytest

from tests.support.scripts import scripts_of

NOTHING, WGMMA, MMA, STORE, LOAD = 0x918, 0x9F0, 0x23C, 0x387, 0x983  # lowest twelve bits, as nvdisasm prints them
CODE = (MMA, NOTHING, WGMMA, WGMMA, STORE, LOAD, LOAD)
INFO = struct.pack("<BBHII", 4, 0x2F, 8, 7, 168) + struct.pack("<BBH", 3, 0x1B, 255)
INFO += struct.pack("<BBHII", 4, 0x11, 8, 7, 24)


@pytest.fixture
def script():
    with scripts_of("gpu"):
        import gpu_kernels as module

        yield module


def elf(machine, contents):
    """A file with sections by name, each (type, bytes); of type 8 only the size is kept."""
    contents = {"": (0, b""), **contents, ".shstrtab": (3, b"")}
    names = "\0".join(contents).encode() + b"\0"
    contents[".shstrtab"] = (3, names)
    body, entries = b"", b""
    for name, (kind, data) in contents.items():
        at = names.index(name.encode() + b"\0")
        entries += struct.pack("<IIQQQQIIQQ", at, kind, 0, 0, 64 + len(body), len(data), 0, 0, 0, 0)
        body += b"" if kind == 8 else data
    header = b"\x7fELF\x02\x01".ljust(16, b"\0") + struct.pack("<HHIQQQ", 2, machine, 1, 0, 0, 64 + len(body))
    header += struct.pack("<IHHHHHH", 0, 64, 0, 0, 64, len(contents), len(contents) - 1)
    return header + body + entries


@pytest.fixture
def module():
    code = b"".join(struct.pack("<QQ", opcode | 0xABCD000, 0x9F0) for opcode in CODE)
    kernel = {".text.mine": (1, code), ".nv.info": (1, INFO), ".nv.shared.mine": (8, bytes(1024))}
    return b"before" + elf(62, {".text.host": (1, code)}) + b"between" + elf(190, kernel) + b"\x7fELF\x02 no file"


def test_a_kernels_figures_are_read_from_its_file(script, module):
    (kernel,) = script.kernels(module)
    assert kernel == script.Kernel("mine", registers=168, stack=24, shared=1024, spills=3, wgmma=2, mma=1)


def test_the_table_is_printed_of_either_kind_of_file(script, module, tmp_path, capsys):
    from whisper_max.compile.artifact import write_artifact

    (tmp_path / "module.mef").write_bytes(module)
    write_artifact(tmp_path / "module.wmx", module)
    for name in ("module.mef", "module.wmx"):
        assert script.main([str(tmp_path / name)]) == 0
        printed = capsys.readouterr().out
        assert "| mine | 168 | 24 | 1024 | 3 | 2 | 1 |" in printed
        assert "1 kernels; 1 have wgmma, 1 mma, 1 spill" in printed
    (tmp_path / "other.mef").write_bytes(module.replace(b"mine", b"ours"))
    assert script.main([str(tmp_path / "other.mef"), "--spilling"]) == 0
    assert "| ours |" in capsys.readouterr().out


def test_what_can_not_be_read_is_told(script, tmp_path, capsys):
    assert script.main([str(tmp_path / "none.mef")]) == 2
    assert "none.mef" in capsys.readouterr().err
    (tmp_path / "text.md").write_text("no module")
    assert script.main([str(tmp_path / "text.md")]) == 2
    assert "text.md: has no kernels for an NVIDIA GPU" in capsys.readouterr().err
