#!/usr/bin/env bash
# Finding: with pytest 9.2.0, pytest-xdist 3.8.0 spreads the tests of one xdist_group over all workers.
#
# Expected: with --dist loadgroup, tests that are marked xdist_group("one") run in one worker, one after the other, as they
# do with pytest 9.0.2. That is what keeps a costly session fixture, or a port, in one process.
# Happens: each test is handed out by itself, without a word: a worker's xdist adds "@one" to a test by setting
# item._nodeid, and pytest 9.2.0 tells a test's id from elsewhere, so the scheduler sees no group. What the group protected
# is made twice, or fails by chance.
# Way out: --dist loadfile or loadscope, which go by the id alone.
#
# Exits 0 while this holds, 1 when it changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
cat > "$folder/test_group.py" <<'PY'
import time

import pytest


@pytest.mark.xdist_group("one")
@pytest.mark.parametrize("number", range(12))
def test_of_a_group(number):
    time.sleep(0.2)
PY
workers() {  # in how many workers the tests ran
    "$folder/venv/bin/pip" install -q --disable-pip-version-check "pytest==$1" pytest-xdist==3.8.0
    (cd "$folder" && venv/bin/python -m pytest -p no:cacheprovider -v -n 2 --dist "$2" test_group.py) |
        grep -o '^\[gw[01]\].*PASSED' | cut -c1-5 | sort -u | wc -l
}
before=$(workers 9.0.2 loadgroup)
now=$(workers 9.2.0 loadgroup)
by_file=$(workers 9.2.0 loadfile)
echo "workers that a group of 12 tests ran in, of two: pytest 9.0.2: $before; pytest 9.2.0: $now, with loadfile: $by_file"
if [ "$before $now $by_file" = "1 2 1" ]; then
    echo "as described"
else
    echo "changed"
    exit 1
fi
