#!/usr/bin/env bash
# Finding: a model that MAX 26.7.0 exports (`CompiledModel.export_mef`) holds kernels of models that were compiled before.
#
# Expected: the same graph for the same target gives the same file, or one of about the same size, whatever was compiled
# on the machine before.
# Happens: kernels are cached by the compilation as one object file. A later graph that needs one kernel of an object has
# the whole object linked into its export, beside an object of its own. A graph of one softmax: 169 KB with an empty cache,
# 532 KB after a graph with a softmax and a layer norm was compiled; real models grew from 6 to 50 MB, and with them the
# memory that loading them takes. Nothing tells, and every export is right.
# Way out: compile what is to be passed on with a cache of its own (MODULAR_CACHE_DIR).
#
# Exits 0 while this holds, 1 when it changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check max==26.7.0 numpy==2.4.6
cat > "$folder/compile.py" <<'PY'
"""Compile the graphs that are named, each exported to a file; print its bytes."""

import sys
from pathlib import Path

from max.driver import CPU
from max.dtype import DType
from max.engine import InferenceSession
from max.graph import DeviceRef, Graph, TensorType, ops


def constant(value):
    return ops.constant([value] * 64, DType.float32, DeviceRef.CPU())


def build(name):
    with Graph(name, input_types=[TensorType(DType.float32, ["n", 64], device=DeviceRef.CPU())]) as graph:
        x = graph.inputs[0].tensor
        if name == "large":
            x = ops.softmax(ops.layer_norm(x, constant(1.0), constant(0.0), 1e-5))
        graph.output(ops.softmax(x))
    return graph


path = Path(sys.argv[2])
InferenceSession(devices=[CPU()]).compile(build(sys.argv[1])).export_mef(path)
print(path.stat().st_size)
PY
compile() { MODULAR_CACHE_DIR="$folder/$1" "$folder/venv/bin/python" "$folder/compile.py" "$2" "$folder/model.mef"; }
alone=$(compile empty small)
compile used large >/dev/null
after=$(compile used small)
echo "the same graph, exported: $alone bytes with an empty cache, $after after another graph was compiled"
[ "$after" -gt $((2 * alone)) ]
