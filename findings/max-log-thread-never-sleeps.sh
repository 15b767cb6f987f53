#!/usr/bin/env bash
# Finding: a process that has run one graph of MAX 26.7.0 on a CPU never sleeps again.
#
# Expected: a process that waits for work takes no processor time. MAX's workers sleep when nothing is to be done, and a
# process that has only loaded a graph does take none.
# Happens: with the first execution of a graph the library starts a thread that looks for lines of its log about every
# 0.1 ms, as long as the process lives, whatever the level of the log: thousands of wake-ups and up to a sixth of a core a
# second in a server that does nothing, and while graphs run it takes cores from the workers each time (10,500 switches a
# window of an encoder of Whisper's base size on two cores of an EPYC, a twentieth of its time). No setting was found that
# stops it; telemetry off does not.
# Way out: the thread inherits the timer slack of the one that starts it, so the first execution on a thread whose slack
# is 100 ms (prctl, PR_SET_TIMERSLACK) leaves some ten wake-ups a second.
#
# Exits 0 while this holds, 1 when it changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check max==26.7.0 numpy==2.4.6
cat > "$folder/idle.py" <<'PY'
"""Wake-ups and processor time a second while nothing is done: graph loaded, run once; argument: first with late timers."""

import ctypes
import sys
import time
from pathlib import Path

import numpy as np
from max.driver import CPU, Buffer
from max.dtype import DType
from max.engine import InferenceSession
from max.graph import DeviceRef, Graph, TensorType, ops

SECONDS = 4


def wake_ups():
    lines = [line for task in Path("/proc/self/task").iterdir() for line in (task / "status").read_text().split("\n")]
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))


def idle(what):
    before, began = wake_ups(), time.process_time()
    time.sleep(SECONDS)
    n, busy = (wake_ups() - before) / SECONDS, (time.process_time() - began) / SECONDS
    print(f"{what}: {n:.0f} wake-ups and {1000 * busy:.0f} ms of processor time a second", file=sys.stderr)
    return round(n)


with Graph("twice", input_types=[TensorType(DType.float32, ["n"], device=DeviceRef.CPU())]) as graph:
    graph.output(graph.inputs[0].tensor + graph.inputs[0].tensor)
model = InferenceSession(devices=[CPU()]).load(graph)
loaded = idle("graph loaded")
if sys.argv[1:] == ["late"]:
    ctypes.CDLL(None).prctl(29, ctypes.c_ulong(100_000_000), 0, 0, 0)
model.execute(Buffer.from_numpy(np.ones(4, np.float32)))
print(loaded, idle("graph run once"))
PY
run() { "$folder/venv/bin/python" "$folder/idle.py" "$@"; }
read -r loaded ran < <(run)
read -r _ late < <(run late)
echo "wake-ups a second: $loaded with a graph loaded, $ran after it ran once, $late where it first ran with late timers"
[ "$ran" -gt 1000 ] && [ "$loaded" -lt $((ran / 4)) ] && [ "$late" -lt $((ran / 4)) ]
