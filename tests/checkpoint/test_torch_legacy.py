"""Files of ``torch.save`` from before torch 1.6, whose storages follow the pickles."""

from __future__ import annotations

import base64
import pickle
import re
import struct
import zlib

import numpy as np
import pytest

from whisper_max.checkpoint import read_checkpoint
from whisper_max.checkpoint.huggingface import read_pytorch_shard
from whisper_max.checkpoint.torch_archive import TorchArchive
from whisper_max.errors import CheckpointError

OF_TORCH = (
    b"c-n1}OK;Oa5XaYc9$;uGZ^|>g6CS~N)UhumLZ~2_SIxy2WI4`K8(DV7-c$l9QZ9{JJ_84id;vZYTsU$Ai378?8whx%9qrEU{{AzwGZo*<!LJV+"
    b"KWlG3y;yBd#i!pSv=bn8YlRRpiX#@eQDAS=IPs$p1iWA^;Yr{#7EqgpL*EHO+_hwMvbQ5@C;mH{fHZ+p-72Fq@uHYP*$^!WcYesAVw9{BXGGx^RE"
    b"^Sjyss&s*8#z0QS5q6d(8YGk?oic#(prg84Z&twzu0di1oTv<#4>|Y*CQ1C-O!RIqYTTl%ZrT;~l-Lw=})o>nNSJqCh!~!ySz=j><Cz)lGvKq9M)"
    b"TfFT*e3=ZzOm~uc}h8ZXF^LR*OI(+E6Oa{4O!XXBSO;}2U9l)}Ov3QbKsCC54G*&hZ0X4)K9K{7n9ozFb>NtZFCY(&G;W@!;IF-@zY#yU)p3Lb#0"
    b"$NwmS}nb!!Wk40P+*lOA?(0eZq8-!^9(MSa54RaLG1V;Tw0(%NQ>1{=L)q21+}Ml+8SKW6|Uq8SGl>CDO_i8!-Sh@B|@k#(4XMv&dH4ha!*y&t^&7"
    b"m@@*tH8X55pgS#d)Es?iJ4EG+bfBo@!_lx&EYbE9|3d#gp2Km42S<Gu%7urZBNbc~M$qsaR%xjr~%AjY0mhhf?#e1$GXQ2ox7UduneM)iL(IzhwAG"
    b"LnIAp0KapFLTxkiW<DJ{o-0$2rCMvHu&K=;|f"
)
"""What torch 2.13 wrote of {"a": t, "b": t.t()[1:], "half", "brain", "n", "lr", "state"}; t is 0 to 5 as (2, 3)."""


def pickled(content):
    return pickle.dumps(content, 2)


def legacy(writers, content, arrays, machine=None, version=1001, keys=None, count=None):
    """As torch's ``_legacy_save`` writes: the references to storages have one more part than in archives."""
    five = re.compile(rb"(X\x03\0\0\0cpu(?:J....|\x8a..*?))tQ", re.DOTALL)
    pickles = [
        pickled(0x1950A86A20F9469CFC6C),
        pickled(version),
        pickled(machine or {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2}}),
        five.sub(rb"\1NtQ", content),
        pickled([str(number) for number in range(len(arrays))] if keys is None else keys),
    ]
    storages = [struct.pack("<q", array.size if count is None else count) + array.tobytes() for array in arrays]
    return b"".join(pickles + storages)


@pytest.fixture
def stored(writers):
    return {name: array.astype("<f4") for name, array in writers.stored("openai").items()}


def write(writers, folder, stored, **more):
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(writers.tokenizer_json())
    path = folder / "model.pt"
    path.write_bytes(legacy(writers, writers.openai_pickle(stored), list(stored.values()), **more))
    return path


def test_an_openai_checkpoint(writers, stored, tmp_path):
    checkpoint = read_checkpoint(write(writers, tmp_path, stored))
    assert (checkpoint.dims, checkpoint.format) == (writers.dims, "openai")
    for name, array in stored.items():
        np.testing.assert_array_equal(checkpoint.tensors[name], array)


def test_a_hugging_face_folder(writers, stored, tmp_path):
    theirs = {name: array.astype("<f4") for name, array in writers.stored("safetensors").items()}
    writers.write_stored("safetensors", tmp_path, writers.stored("safetensors"))
    (tmp_path / "model.safetensors").unlink()
    p = writers.pickle
    state = {name: p.tensor(str(i), array.shape, "FloatStorage") for i, (name, array) in enumerate(theirs.items())}
    content = legacy(writers, p.whole(p.state(state)), list(theirs.values()))
    (tmp_path / "pytorch_model.bin").write_bytes(content)
    checkpoint = read_checkpoint(tmp_path)
    assert checkpoint.format == "pytorch"
    for name, array in stored.items():
        np.testing.assert_array_equal(checkpoint.tensors[name], array)


def test_what_torch_wrote(tmp_path):
    path = tmp_path / "torch.pt"
    path.write_bytes(zlib.decompress(base64.b85decode(OF_TORCH)))
    archive = TorchArchive(path)
    content = archive.content()
    assert isinstance(content, dict)
    assert (content["lr"], content["n"].storage.dtype, content["state"][0].shape) == (1e-5, "int64", (0,))
    found = {name: tensor.read() for name, tensor in archive.tensors(dict(list(content.items())[:4])).items()}
    np.testing.assert_array_equal(found["a"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(found["b"], [[1, 4], [2, 5]])
    assert found["half"].dtype == np.float16
    assert (found["half"].tolist(), found["brain"].tolist()) == ([1.5], [2.5])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"version": 1000}, "not a PyTorch file that can be read: expected little-endian, version 1001"),
        ({"machine": {"little_endian": False}}, "not a PyTorch file that can be read: expected little-endian"),
        ({"machine": [True]}, "not a PyTorch file that can be read"),
        ({"keys": ["0"]}, "the storages are not those of its tensors"),
        ({"keys": [0, 0]}, "the storages are not those of its tensors"),
        ({"keys": [["0"]]}, "the storages are not those of its tensors"),
        ({"keys": {}}, "the storages are not those of its tensors"),
        ({"count": 1 << 62}, r"storage 0 has another length: expected \d+, found 4611686018427387904"),
        ({"count": -1}, "storage 0 has another length"),
    ],
)
def test_damage(more, message, writers, stored, tmp_path):
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(write(writers, tmp_path, stored, **more))


def test_a_file_that_ends_early(writers, stored, tmp_path):
    path = write(writers, tmp_path, stored)
    whole = path.read_bytes()
    for size in (20, 40, 500, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match=r"not a sound PyTorch pickle|the file ends inside"):
            read_checkpoint(path)


def test_it_runs_nothing(tmp_path):
    class Call:
        def __reduce__(self):
            return eval, (f"open({str(tmp_path / 'owned')!r}, 'w')",)

    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(b"".join(map(pickled, (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, Call(), []))))
    with pytest.raises(CheckpointError, match=r"refused: the pickle names .*eval"):
        read_pytorch_shard(path)
    assert not (tmp_path / "owned").exists()
