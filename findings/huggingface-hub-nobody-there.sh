#!/usr/bin/env bash
# Finding: huggingface_hub 2.4.0 tries a connection that is refused six times, over 23 seconds, and logs each try.
#
# Expected: where nobody listens, or a name has no address, a caller hears of it at once; pauses are for hubs that are
# there and busy, and for connections that break.
# Happens: `HfApi.list_repo_files` takes a refused connection for one that broke: pauses of 1, 2, 4, 8 and 8 seconds, two
# warnings in the log for each try, and no argument or variable that changes it. `snapshot_download` tries once. So does a
# request through `get_session()`, which has the same proxies and certificates.
#
# Exits 0 while this holds, 1 when it changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check huggingface_hub==2.4.0
export HF_HOME="$folder/home"
"$folder/venv/bin/python" - <<'PY' && status=0 || status=$?
import logging
import socket
import sys
import time

import huggingface_hub

warnings = []
handler = logging.Handler()
handler.emit = warnings.append
logging.getLogger("huggingface_hub").addHandler(handler)

with socket.socket() as closed:  # a port at which nobody listens
    closed.bind(("127.0.0.1", 0))
    endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"


def attempt(ask):
    warnings.clear()
    start = time.monotonic()
    try:
        ask()
    except Exception as error:
        return time.monotonic() - start, len(warnings), f"{type(error).__name__}: {error}"
    raise SystemExit("somebody answered")


print("huggingface_hub", huggingface_hub.__version__)
api = huggingface_hub.HfApi(endpoint=endpoint)
asked = {
    "list_repo_files": lambda: api.list_repo_files("owner/name"),
    "snapshot_download": lambda: huggingface_hub.snapshot_download("owner/name", endpoint=endpoint),
    "get_session().head": lambda: huggingface_hub.get_session().head(endpoint, timeout=10),
}
found = {name: attempt(ask) for name, ask in asked.items()}
for name, (seconds, n_warnings, error) in found.items():
    print(f"{name:20} {seconds:5.1f} s, {n_warnings} warnings, {error[:60]}")
holds = found["list_repo_files"][0] > 20 and found["list_repo_files"][1] >= 10 and found["snapshot_download"][1] == found["get_session().head"][1] == 0
print("as described" if holds else "CHANGED")
sys.exit(0 if holds else 1)
PY
exit "$status"
