#!/usr/bin/env bash
# On an offline host with a GPU, in one command and within ten minutes: install what was packed for it, check the GPU,
# time it.
#
#   scripts/gpu/gpu_host.sh PARTS_DIR [OUT_DIR]
#
# PARTS_DIR: bundle.00, bundle.01... , one tar of wheels in parts (MAX with its runtime, whisper_max's dependencies, and
# packages with weights), and cache/, what `gpu_gate.py --build` and `whisper_max compile` made on another machine, as
# WHISPER_MAX_CACHE. OUT_DIR gets the figures; default: results. PYTHON: the interpreter, default python3.
set -euo pipefail
parts=$(realpath "${1:?usage: gpu_host.sh PARTS_DIR [OUT_DIR]}")
mkdir -p "${2:-results}"
out=$(realpath "${2:-results}")
python=${PYTHON:-python3}
start=$SECONDS
left() { echo $((540 - SECONDS + start)); }

site=$(mktemp -d)
wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT
cat "$parts"/bundle.[0-9][0-9] | tar -xf - -C "$wheels"
"$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$site" "$wheels"/*.whl
[ ! -f "$wheels/mojo_runtime.tar" ] || tar -xf "$wheels/mojo_runtime.tar" -C "$site"
cd "$(dirname "$0")/../.."
export PYTHONPATH="$site:$PWD" WHISPER_MAX_CACHE="$out/cache"
[ ! -d "$parts/cache" ] || cp -r "$parts/cache" "$out/"
nvidia-smi --query-gpu=name,driver_version,memory.total,memory.free --format=csv | tee "$out/nvidia_smi.csv" || true
echo "installed in $((SECONDS - start)) s"

# The check first: what is wrong must not be timed. Its own exit status is this script's, after the timing.
status=0
"$python" scripts/gpu/gpu_gate.py --budget $(($(left) / 2)) --output "$out/gpu_gate.json" 2>&1 | tee "$out/gpu_gate.log" || status=$?
"$python" scripts/gpu/gpu_benchmark.py --budget "$(left)" --output "$out/gpu_benchmark.json" \
    --figure "$out/gpu_roofline.png" 2>&1 | tee "$out/gpu_benchmark.log" || status=$?
echo "done in $((SECONDS - start)) s, exit status $status"
exit "$status"
