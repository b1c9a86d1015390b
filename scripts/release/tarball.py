#!/usr/bin/env python3
"""Pack a release tarball, the same bytes for the same files.

    scripts/release/tarball.py PROGRAM STAGE PLATFORM OUT

Writes OUT/courtside-VERSION-PLATFORM.tar.gz with the program, the folder of scripts/release/stage.sh, the licence and the
documents, and OUT/courtside-VERSION-PLATFORM.tar.gz.sha256. SOURCE_DATE_EPOCH is the modification time of the files.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ("README.md", "CHANGELOG.md", "LICENSE")


def version() -> str:
    """The version of the workspace."""
    found = re.search(r'(?ms)^\[workspace\.package\]\n.*?^version = "([^"]+)"$', (ROOT / "Cargo.toml").read_text())
    if not found:
        sys.exit("error: Cargo.toml has no workspace.package.version")
    return found.group(1)


def pack(files: dict[str, Path], file: Path) -> None:
    """Writes files under the given names, ordered by name, without owners and with one time."""
    time = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    with open(file, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=time) as packed:
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar:
            for name, path in sorted(files.items()):
                info = tarfile.TarInfo(name)
                info.size, info.mtime = path.stat().st_size, time
                info.mode = 0o755 if os.access(path, os.X_OK) else 0o644
                with open(path, "rb") as content:
                    tar.addfile(info, content)


def digest(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    hashed = hashlib.sha256()
    with open(file, "rb") as content:
        while chunk := content.read(1 << 20):
            hashed.update(chunk)
    return hashed.hexdigest()


def main() -> None:
    if len(sys.argv) != 5:
        sys.exit(f"usage: {sys.argv[0]} PROGRAM STAGE PLATFORM OUT")
    program, stage, platform, out = sys.argv[1:]
    name = f"courtside-{version()}-{platform}"
    files = {f"{name}/courtside": Path(program)}
    files.update({f"{name}/{document}": ROOT / document for document in DOCUMENTS})
    staged = (path for path in Path(stage).rglob("*") if path.is_file())
    files.update({f"{name}/{path.relative_to(stage)}": path for path in staged})
    file = Path(out) / f"{name}.tar.gz"
    pack(files, file)
    file.with_name(f"{file.name}.sha256").write_text(f"{digest(file)}  {file.name}\n")
    print(file)


if __name__ == "__main__":
    main()
