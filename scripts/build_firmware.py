"""Builds the blobs of the shipped kernels and of the documentation's examples.

Needs the extra `firmware` (or --zig "COMMAND" that runs zig). --check compares with the blobs
that are there:

    python scripts/build_firmware.py [--check] [--zig COMMAND]

The same ziglang version gives the same bytes; constraints.txt pins it.
"""

import sys
from pathlib import Path

from accel.firmware import KERNELS
from accel.firmware.build import SOURCES, main

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"


def build_all(options: list[str]) -> int:
    """Return 0 when all is built, or equal with --check."""
    shipped = [str(SOURCES / f"{name}.c") for name in KERNELS]
    examples = [str(file) for file in sorted(EXAMPLES.glob("*.c"))]
    return max(
        main([*sources, "-o", str(folder), *options])
        for sources, folder in ((shipped, SOURCES), (examples, EXAMPLES))
    )


if __name__ == "__main__":
    sys.exit(build_all(sys.argv[1:]))
