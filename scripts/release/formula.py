#!/usr/bin/env python3
"""Print the Homebrew formula of a release.

    scripts/release/formula.py VERSION OWNER/REPOSITORY SHA256SUMS

SHA256SUMS has the sums of the release's tarballs. Fails if one is missing that packaging/homebrew/courtside.rb names.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

TEMPLATE = Path(__file__).resolve().parents[2] / "packaging" / "homebrew" / "courtside.rb"


def formula(template: str, version: str, repository: str, sums: str) -> str:
    """The template with the values in place of the words in @, without its first line."""
    by_file = {name.lstrip("*"): digest for digest, name in (line.split(maxsplit=1) for line in sums.splitlines())}
    values = {"VERSION": version, "REPOSITORY": repository}

    def value(match: re.Match[str]) -> str:
        word = match.group(1)
        if not word.startswith("SHA256:"):
            return values[word]
        file = f"courtside-{version}-{word.removeprefix('SHA256:')}.tar.gz"
        if file not in by_file:
            sys.exit(f"error: there is no sum of {file}")
        return by_file[file]

    return re.sub(r"@([A-Z0-9]+(?::[\w-]+)?)@", value, template.split("\n", 1)[1])


def main() -> None:
    if len(sys.argv) != 4:
        sys.exit(f"usage: {sys.argv[0]} VERSION OWNER/REPOSITORY SHA256SUMS")
    version, repository, sums = sys.argv[1:]
    print(formula(TEMPLATE.read_text(), version, repository, Path(sums).read_text()), end="")


if __name__ == "__main__":
    main()
