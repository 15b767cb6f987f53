#!/usr/bin/env bash
# Finding: in a graph of MAX 26.7.0 on a CPU, a mask that is computed for each row of a batch and added to a tensor with
# one axis more is that of the first row for all rows.
#
# Expected: x + mask, x of shape (rows, heads, slots), mask of shape (rows, 1, slots) and computed in the graph by comparing
# slots with a limit of each row, is what NumPy's broadcasting gives. It is where the number of rows is known when the
# graph is compiled, where there is one head, and where the mask is an output of its own.
# Happens: with a symbolic number of rows and two heads every row gets the first row's mask, without a word. In a decoder
# that is how each sequence of a batch attends to as many slots as it has tokens, so that sequences of other lengths
# than the first one's read what is not theirs.
# Way out: give the mask as an input, or test each row of a batch whose rows differ.
#
# Exits 0 while this holds, 1 when it changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check max==26.7.0 numpy==2.4.6
cat > "$folder/mask.py" <<'PY'
"""How many slots each row's mask has, by case; one line each."""

from importlib.metadata import version

import numpy as np
from max.driver import CPU
from max.dtype import DType
from max.engine import InferenceSession
from max.graph import DeviceRef, Graph, Module, TensorType, ops

SLOTS = 8
LIMITS = np.array([1, 6, 3, 4], np.int32)
CASES = {  # the number of rows, heads, and whether the mask is given alone
    "symbolic rows, 2 heads": ("rows", 2, False),
    "4 rows, 2 heads": (4, 2, False),
    "symbolic rows, 1 head": ("rows", 1, False),
    "symbolic rows, the mask alone": ("rows", 2, True),
}
module, cpu = Module(), DeviceRef.CPU()
for number, (rows, heads, alone) in enumerate(CASES.values()):
    types = [TensorType(DType.float32, [rows, heads, SLOTS], cpu), TensorType(DType.int32, [rows], cpu)]
    with Graph(f"case{number}", input_types=types, module=module) as graph:
        x, limits = (value.tensor for value in graph.inputs)
        slots = ops.range(0, SLOTS, 1, out_dim=SLOTS, dtype=DType.int32, device=cpu).reshape((1, 1, SLOTS))
        mask = ops.greater(slots, limits.reshape((limits.shape[0], 1, 1))).cast(DType.float32)
        graph.output(mask if alone else x + mask)
models = InferenceSession(devices=[CPU()]).load_all(module)
print(f"MAX {version('max')}; expected in each row: {(SLOTS - 1 - LIMITS).tolist()}")
for number, (name, (_, heads, _)) in enumerate(CASES.items()):
    (result,) = models[f"case{number}"].execute(np.zeros((len(LIMITS), heads, SLOTS), np.float32), LIMITS)
    print(f"{name}: {result.to_numpy()[:, 0].sum(axis=-1).astype(int).tolist()}")
PY
"$folder/venv/bin/python" "$folder/mask.py" | tee "$folder/seen"
right="[6, 1, 4, 3]"
if [ "$(sed -n 2p "$folder/seen")" = "symbolic rows, 2 heads: [6, 6, 6, 6]" ] && [ "$(grep -cF "$right" "$folder/seen")" = 4 ]; then
    echo "as described"
else
    echo "changed"
    exit 1
fi
