"""The restricted unpickler builds tensors and containers, and refuses everything else by name."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import zipfile
from dataclasses import asdict

import numpy as np
import pytest

from whisper_max.checkpoint import read_checkpoint
from whisper_max.checkpoint.tensors import Stored
from whisper_max.errors import CheckpointError


class Reduce:
    """Pickles as a call of ``function``."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def write(writers, folder, data_pkl, **entries):
    stored = writers.openai_entries(writers.stored("openai"))
    return writers.write_archive(folder / "model.pt", {**stored, "data.pkl": data_pkl, **entries})


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (os.system, ("touch owned",), "posix.system"),
        (eval, ("open('owned', 'w')",), "builtins.eval"),
        (exec, ("open('owned', 'w')",), "builtins.exec"),
        (getattr, (os, "system"), "builtins.getattr"),
        (np.load, ("owned",), "numpy.*load"),
    ],
)
def test_a_call_is_refused_by_name(protocol, function, arguments, name, writers, tmp_path):
    if arguments[0] is os:
        arguments = ("", "join")
    evil = pickle.dumps({"dims": Reduce(function, *arguments), "model_state_dict": {}}, protocol)
    name = name.replace("builtins", "__builtin__") if protocol < 3 else name
    path = write(writers, tmp_path, evil)
    with pytest.raises(CheckpointError, match=f"refused: the pickle names {name}"):
        read_checkpoint(path)
    assert not os.path.exists("owned")


@pytest.mark.parametrize(
    "opcodes",
    [
        b"cos\nsystem\n(X\x05\0\0\0touchtR.",  # GLOBAL, REDUCE
        b"(ios\nsystem\n.",  # INST
        b"(cos\nsystem\nX\x05\0\0\0toucho.",  # OBJ
        b"cos\nsystem\n)\x81.",  # NEWOBJ
        b"\x8c\x02os\x8c\x06system\x93.",  # STACK_GLOBAL
        b"ccollections\nOrderedDict\n)Rcos\nsystem\nb.",  # BUILD with a refused state
        b"ctorch._utils\n_rebuild_tensor_v2\n(cos\nsystem\ntR.",  # nested in allowed arguments
        b"(cos\nsystem\n}tQ.",  # nested in a storage reference
        b"ctorch.storage\n_load_from_bytes\n(tR.",
        b"ccollections\nOrderedDict.fromkeys\n(tR.",
        b"ctorch\nHalfStorage.__init__\n(tR.",
    ],
)
def test_other_ways_to_name_a_function(opcodes, writers, tmp_path):
    path = write(writers, tmp_path, b"\x80\x04" + opcodes)
    with pytest.raises(
        CheckpointError, match=r"refused: the pickle names (os\.system|torch\.storage|.*\.fromkeys|.*init)"
    ):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "opcodes",
    [
        b"ctorch._utils\n_rebuild_tensor_v2\n(tR.",  # no arguments
        b"ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x02K\x03K\x04tR.",  # arguments of other types
        b"ctorch._utils\n_rebuild_tensor_v2\n}X\x01\0\0\0aK\x01sb.",  # BUILD on the function
        b"ctorch._utils\n_rebuild_tensor_v2\nN}X\x08\0\0\0__call__K\x01s\x86b.",  # BUILD by slots
        b"ctorch\nHalfStorage\nN}X\x05\0\0\0dtypeK\x01s\x86b.",
        b"ccollections\nOrderedDict\nN}X\x06\0\0\0updateK\x01s\x86b.",  # BUILD on the class itself
        b"ctorch\nHalfStorage\n)R.",  # a storage type is not to be called
        b"ctorch\nHalfStorage\n)\x81.",
        b"X\x07\0\0\0storageQ.",
        b"\x82\x01.",  # extension registry
        b"K\x01r\xff\xff\xff\x7f.",  # a memo slot that would take 32 GB
        b"g9\n.",  # a memo slot that was never filled
        b"K\x01p99999999999\n.",
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",  # bytes longer than the file
        b"",
        b"N",
        b"NN(0.",
        b"\xff\xfe.",
    ],
)
def test_an_unsound_pickle(opcodes, writers, tmp_path):
    path = write(writers, tmp_path, b"\x80\x04" + opcodes)
    with pytest.raises(CheckpointError, match=r"not a sound PyTorch pickle|not an OpenAI checkpoint"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("opcodes", "message"),
    [
        (b"(" * 9 + b"t" * 9 + b".", "nested more deeply than a state dict"),
        (b"]" * 9 + b"a" * 8 + b".", "nested more deeply than a state dict"),
        (b"}X\x01\0\0\0k" * 9 + b"Ns" * 1 + b"s" * 8 + b".", "nested more deeply than a state dict"),
        (b"]q\0h\0a.", "nested more deeply than a state dict"),  # a list in itself
        (b"]q\0]h\0a0h\0Na.", "the opcode POP"),
        (b"]q\0]h\0ah\0Na.", "what can't be put into a container"),  # a list that grows once it is in another
        (b"}(K\x01K\x02tNs.", "a key that is neither text nor a number"),
        (b"}(NN)Nu.", "a key that is neither text nor a number"),
        (b"}(X\x01\0\0\0kNX\x01\0\0\0kNu.", "a key that is there already"),
        (b"(X\x01\0\0\0kNNd.", "argument 2 is shorter"),  # a key without a value
        (b"I" + b"9" * 5000 + b"\n.", "not a sound PyTorch pickle"),
        (b"\x8b\x00\x08\0\0" + b"\x7f" * 2048 + b".", "a number of more than 64 bits"),
        (b"Na.", "what can't be put into a container|list index|pop from empty"),
        (b"t.", "pop from empty list"),
        (b"NR.", "pop from empty list"),
        (b"(NNtQ.", "impossible reference to a storage"),
    ],
)
def test_what_no_state_dict_holds(opcodes, message, writers, tmp_path):
    path = write(writers, tmp_path, b"\x80\x02" + opcodes)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(path)


@pytest.mark.parametrize("depth", [1, 5, 8])
def test_nesting_that_is_allowed_is_read(depth, writers, tmp_path):
    path = write(writers, tmp_path, b"\x80\x02" + b"(" * depth + b"t" * depth + b".")
    with pytest.raises(CheckpointError, match="not an OpenAI checkpoint"):
        read_checkpoint(path)


def test_an_archive_whose_directory_is_larger_than_any_checkpoints(writers, tmp_path):
    path = writers.write_archive(tmp_path / "model.pt", {f"{index:0400}": b"" for index in range(20_000)})
    with pytest.raises(CheckpointError, match=r"not a sound zip archive: found a directory of \d+ bytes"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "content",
    [
        b"N.",
        b"}.",
        b"}X\x04\0\0\0dims}s.",
        b"}(X\x04\0\0\0dimsNX\x10\0\0\0model_state_dict}u.",
    ],
)
def test_a_sound_pickle_of_something_else(content, writers, tmp_path):
    path = write(writers, tmp_path, b"\x80\x02" + content)
    with pytest.raises(CheckpointError, match="not an OpenAI checkpoint: expected dims and model_state_dict"):
        read_checkpoint(path)


def test_what_a_trainer_adds_is_left_alone(writers, tmp_path):
    p, stored = writers.pickle, writers.stored("openai")
    sizes = p.dict({name: p.number(size) for name, size in asdict(writers.dims).items()})
    tensors = {name: p.tensor(str(i), array.shape, "FloatStorage") for i, (name, array) in enumerate(stored.items())}
    optimizer = pickle.dumps({"state": {0: {"step": 3.0}}, "param_groups": [{"lr": 1e-5, "params": [0]}]}, 2)
    others = {
        "optimizer": optimizer[2:-1],  # without the version and the end
        "loss": p.name("numpy._core.multiarray", "scalar") + p.name("numpy", "dtype") + b"(X\x02\0\0\0f8\x89\x88tR"
        b"(K\x03X\x01\0\0\0<NNNtbX\x01\0\0\0a\x86R",
        "dtype": p.name("torch", "float16"),
        "device": p.name("torch", "device") + b"(X\x03\0\0\0cputR",
        "options": p.name("argparse", "Namespace") + b")\x81}X\x02\0\0\0lrNsb",
    }
    content = p.dict({"dims": sizes, "model_state_dict": p.state(tensors), "epoch": p.number(3), **others})
    (tmp_path / "tokenizer.json").write_text(writers.tokenizer_json())
    path = writers.write_archive(tmp_path / "model.pt", writers.openai_entries(stored) | {"data.pkl": p.whole(content)})
    assert read_checkpoint(path).dims == writers.dims


def test_dims_that_are_no_sizes(writers, tmp_path):
    p = writers.pickle
    for value, message in (
        (b"X\x01\0\0\0x", "found 'x'"),
        (p.number(1 << 62), "found 4611686018427387904"),
        (b"(((ttt", "found a value of type tuple"),
        (b"\x88", "found True"),
    ):
        dims = {name: p.number(8) for name in writers.dims.__dataclass_fields__} | {"n_mels": value}
        data = p.whole(p.dict({"dims": p.dict(dims), "model_state_dict": p.state({})}))
        with pytest.raises(CheckpointError, match=f"impossible n_mels: expected 1 to 1024, {message}"):
            read_checkpoint(write(writers, tmp_path, data))


def whole_pickle(writers, tensors):
    p = writers.pickle
    sizes = {name: p.number(getattr(writers.dims, name)) for name in writers.dims.__dataclass_fields__}
    return p.whole(p.dict({"dims": p.dict(sizes), "model_state_dict": p.state(tensors)}))


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        ({"shape": (1 << 40,), "count": 1 << 40}, "decoder.ln.bias leaves its storage"),
        ({"shape": (1 << 62, 1 << 62, 1 << 62), "count": 1 << 62}, "decoder.ln.bias leaves its storage|64 bits"),
        ({"shape": (1 << 31, 1 << 31), "count": 1 << 62}, "decoder.ln.bias leaves its storage"),
        ({"shape": (8,), "offset": 1}, "decoder.ln.bias leaves its storage"),
        ({"shape": (9,), "count": 8}, "decoder.ln.bias leaves its storage"),
        ({"shape": (8,), "offset": -1}, "impossible arguments of a tensor"),
        ({"shape": (-8,), "count": 8}, "impossible arguments of a tensor"),
        ({"shape": (8,), "count": -1}, "impossible reference to a storage"),
        ({"shape": (8,), "key": "../../etc/passwd"}, "entry is missing: expected archive/data/../../etc/passwd"),
        ({"shape": (8,), "key": "99999"}, "an archive entry is missing: expected archive/data/99999"),
    ],
)
def test_a_tensor_that_leaves_its_storage(tensor, message, writers, tmp_path):
    key = str(list(writers.stored("openai")).index("decoder.ln.bias"))
    arguments = {"key": key, "storage": "FloatStorage", **tensor}
    data = whole_pickle(writers, {"decoder.ln.bias": writers.pickle.tensor(**arguments)})
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(write(writers, tmp_path, data))


def strided(writers, folder, name, shape, stride, values, offset=0):
    """A file in which one tensor's elements lie in another order."""
    stored = writers.stored("openai")
    key = str(list(stored).index(name))
    tensor = writers.pickle.tensor(key, stored[name].shape, "FloatStorage")
    changed = writers.pickle.tensor(key, shape, "FloatStorage", values.size, offset, stride)
    data = writers.openai_pickle(stored)
    assert data.count(tensor) == 1
    (folder / "tokenizer.json").write_text(writers.tokenizer_json())
    return write(writers, folder, data.replace(tensor, changed), **{f"data/{key}": values.astype("<f4").tobytes()})


def test_a_tensor_with_other_strides(writers, tmp_path):
    name = "encoder.blocks.1.mlp.0.weight"
    expected = writers.stored("openai")[name]
    path = strided(writers, tmp_path, name, (32, 8), (1, 32), expected.T)
    tensors = read_checkpoint(path).tensors
    np.testing.assert_array_equal(tensors[name], expected)
    entry = tensors.entry(name)
    assert isinstance(entry, Stored)
    np.testing.assert_array_equal(entry.rows(5, 9).read(), expected[5:9])
    columns = np.concatenate([np.zeros((1, 16)), np.concatenate([expected, expected + 1], axis=1)])
    path = strided(writers, tmp_path, name, (32, 8), (16, 1), columns, offset=16)
    np.testing.assert_array_equal(read_checkpoint(path).tensors[name], expected)


@pytest.mark.parametrize(
    ("shape", "stride", "offset"),
    [
        ((32, 8), (1, 33), 0),
        ((32, 8), (1, 32), 1),
        ((32, 16), (0, 1), 0),  # 512 elements of 256
        ((1 << 40, 1 << 40), (0, 0), 0),
        ((1 << 62, 2), (1, 0), 0),
        ((0, 8, 2), (0, 0, 0), 0),
    ],
)
def test_strides_that_leave_the_storage_or_claim_more_than_there_is(shape, stride, offset, writers, tmp_path):
    path = strided(writers, tmp_path, "encoder.blocks.1.mlp.0.weight", shape, stride, np.zeros(256), offset)
    with pytest.raises(CheckpointError, match="leaves its storage"):
        read_checkpoint(path)


def test_strides_of_other_axes_than_the_shapes(writers, tmp_path):
    path = strided(writers, tmp_path, "encoder.blocks.1.mlp.0.weight", (32, 8), (8,), np.zeros(256))
    with pytest.raises(CheckpointError, match="impossible arguments of a tensor"):
        read_checkpoint(path)


def test_a_compressed_archive_is_refused(writers, tmp_path):
    entries = writers.openai_entries(writers.stored("openai"))
    path = writers.write_archive(tmp_path / "model.pt", entries, zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="is compressed: expected stored as it is"):
        read_checkpoint(path)


def test_a_bomb_is_refused_before_it_is_unpacked(writers, tmp_path):
    bomb = {"data.pkl": bytes(64 << 20)}
    with pytest.raises(CheckpointError, match=r"archive entry archive/data.pkl is compressed"):
        read_checkpoint(writers.write_archive(tmp_path / "model.pt", bomb, zipfile.ZIP_DEFLATED))


def test_sizes_that_the_archive_only_claims(writers, tmp_path):
    path = writers.write_archive(tmp_path / "model.pt", {"data.pkl": b"\x80\x02}."})
    raw = bytearray(path.read_bytes())
    central = raw.index(b"PK\x01\x02")
    raw[central + 20 : central + 28] = b"\xff\xff\xff\x7f" * 2
    path.write_bytes(raw)
    with pytest.raises(CheckpointError, match=r"entry archive/data.pkl is too large: expected at most 4194304 bytes"):
        read_checkpoint(path)


def test_a_big_endian_archive_is_refused(writers, tmp_path):
    path = write(writers, tmp_path, writers.openai_pickle(writers.stored("openai")), byteorder=b"big")
    with pytest.raises(CheckpointError, match="not little-endian"):
        read_checkpoint(path)


def test_the_hand_made_pickle_is_one(writers):
    """The writer of these tests speaks the pickle language: every opcode parses and the stack ends empty."""
    pickletools.dis(writers.openai_pickle(writers.stored("openai")), out=io.StringIO())
