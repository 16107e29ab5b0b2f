"""Builds kernels with clang from the PyPI package `ziglang`: `pip install 'systolite[firmware]'`.

    python -m accel.firmware.build my_kernel.c -o build

writes build/my_kernel.rv32i.bin and build/my_kernel.rv32im.bin, for `accel.firmware.register`.
"""

import argparse
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from accel.errors import FirmwareError
from accel.firmware import blob_name

__all__ = ["SOURCES", "build", "main"]

SOURCES = Path(__file__).parent
"""Folder of accel.h, the linker script, the runtime and the shipped kernels' sources."""

FLAGS = (
    "-target riscv32-freestanding-none -nostdlib -ffreestanding -fno-builtin -std=c11 -Os "
    "-fno-sanitize=undefined -fno-stack-protector -mcmodel=medany -fno-jump-tables "
    "-ffunction-sections -fdata-sections -Wall -Wextra -Werror -Wframe-larger-than=160"
).split()
"""Position-independent code without any library, and warnings for what cannot work."""

BASES = (0, 0x10000)
"""Where a kernel is linked; the same bytes at both prove that it runs anywhere."""


def build(source: Path, *, multiply: bool, zig: Sequence[str] = ()) -> bytes:
    """Return the blob of one C file.

    Parameters
    ----------
    source : Path
        Has one function declared with ACCEL_KERNEL.
    multiply : bool
        For a controller with the M extension.
    zig : sequence of str
        Command that runs zig; by default this interpreter's package `ziglang`.

    Raises
    ------
    FirmwareError
        When the file does not compile, needs what a kernel cannot have, or ziglang is missing.
    """
    command = [*(zig or (sys.executable, "-m", "ziglang"))]
    cpu = "-mcpu=generic_rv32" + ("+m" if multiply else "")
    with tempfile.TemporaryDirectory() as folder:
        objects = []
        for number, file in enumerate((source, SOURCES / "runtime.c")):
            objects.append(f"{folder}/{number}.o")
            compiler = [*command, "cc", *FLAGS, cpu, f"-I{SOURCES}", "-c", str(file)]
            _run([*compiler, "-o", objects[-1]], source)
        blobs = []
        for base in BASES:
            linker = [*command, "ld.lld", "-m", "elf32lriscv", "--gc-sections"]
            linker += ["-T", str(SOURCES / "kernel.ld"), f"--defsym=accel_base={base}"]
            _run([*linker, "--oformat=binary", *objects, "-o", f"{folder}/blob"], source)
            blobs.append(Path(folder, "blob").read_bytes())
    if not blobs[0]:
        raise FirmwareError(f"{source.name} has no kernel: declare its function with ACCEL_KERNEL")
    if blobs[0] != blobs[1]:
        raise FirmwareError(f"{source.name} depends on its address: avoid tables of pointers")
    return blobs[0] + bytes(-len(blobs[0]) % 4)


def _run(command: Sequence[str], source: Path) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise FirmwareError(f"cannot run {command[0]}: {error.strerror}") from None
    if done.returncode:
        if "No module named" in done.stderr:
            raise FirmwareError("ziglang is not installed: pip install 'systolite[firmware]'")
        lines = [line for line in done.stderr.splitlines() if "error:" in line] or ["it failed"]
        raise FirmwareError(f"{source.name} cannot be built: {lines[0].strip()}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Build or check the kernels that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m accel.firmware.build", description=__doc__)
    parser.add_argument("sources", nargs="+", type=Path, metavar="KERNEL.c")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the blobs")
    parser.add_argument("--check", action="store_true", help="compare with the blobs there")
    parser.add_argument("--zig", default="", help="command that runs zig, if not this Python's")
    chosen = parser.parse_args(arguments)
    try:
        return _build_all(chosen.sources, chosen.output, chosen.check, shlex.split(chosen.zig))
    except FirmwareError as error:
        print(error, file=sys.stderr)
        return 2


def _build_all(sources: Sequence[Path], output: Path, check: bool, zig: Sequence[str]) -> int:
    differing = 0
    for source in sources:
        for multiply in (False, True):
            blob = build(source, multiply=multiply, zig=zig)
            file = output / blob_name(source.stem, multiply)
            if not check:
                output.mkdir(parents=True, exist_ok=True)
                file.write_bytes(blob)
                print(f"{file}: {len(blob)} bytes")
            elif not file.exists() or file.read_bytes() != blob:
                print(f"{file} is not what {source.name} gives: build it again", file=sys.stderr)
                differing = 1
    return differing


if __name__ == "__main__":
    sys.exit(main())
