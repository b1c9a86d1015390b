"""`python -m courtside` is the program `courtside`."""

from __future__ import annotations

import os
import sys

from ._program import find_program
from .errors import ProgramNotFound


def main() -> None:
    """Replaces this process by the program."""
    try:
        program = find_program()
    except ProgramNotFound as error:
        sys.exit(f"error: {error}")
    os.execv(program, [str(program), *sys.argv[1:]])


if __name__ == "__main__":
    main()
