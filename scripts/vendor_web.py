"""Fetch the web page's libraries from the npm registry, at pinned versions and with their hashes checked.

    python scripts/vendor_web.py            # write whisper_max/server/web/static/vendor
    python scripts/vendor_web.py --check    # fail where what is there differs

It needs npm.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

VENDOR = Path(__file__).parent.parent / "whisper_max/server/web/static/vendor"


@dataclass(frozen=True)
class Package:
    """A package of the npm registry and what the page takes from it.

    folder: below vendor/. integrity: of the package's archive, as npm has it. files: path in the package to name here.
    """

    name: str
    version: str
    folder: str
    integrity: str
    files: dict[str, str]


PACKAGES = (
    Package(
        "wavesurfer.js",
        "8.0.1",
        "wavesurfer",
        "sha512-h0OnRWSVTqIYLSw3/IVrBtsun/xw9L5u4FA3bjfSDTFMX/xswVWS1JwK4fFu3ulmxRUSHg8zQORl6zENG983eg==",
        {
            "dist/wavesurfer.esm.js": "wavesurfer.esm.js",
            "dist/plugins/regions.esm.js": "regions.esm.js",
            "LICENSE": "LICENSE",
        },
    ),
)


def main() -> int:
    parser = argparse.ArgumentParser(description="Fetch the web page's libraries.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where what is there differs")
    check = parser.parse_args().check
    different = []
    for package in PACKAGES:
        for name, content in fetch(package).items():
            path = VENDOR / package.folder / name
            if check and (not path.is_file() or path.read_bytes() != content):
                different.append(path)
            if not check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
    for path in different:
        print(f"error: {path} differs from the package", file=sys.stderr)
    return 1 if different else 0


def fetch(package: Package) -> dict[str, bytes]:
    """The package's files by their name here."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", "--silent", f"{package.name}@{package.version}"]
        name = subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1]
        archive = Path(folder) / name
        found = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if found != package.integrity:
            sys.exit(f"error: {name}: expected {package.integrity}, found {found}")
        with tarfile.open(archive) as tar:
            return {here: read(tar, f"package/{there}") for there, here in package.files.items()}


def read(tar: tarfile.TarFile, path: str) -> bytes:
    member = tar.extractfile(path)
    if member is None:
        sys.exit(f"error: {path} is no file")
    return member.read()


if __name__ == "__main__":
    sys.exit(main())
