"""Runs a bare-metal RV32 program, an ELF file, on the controller alone.

    python -m sim.elf FILE [--device model|verilator] [--config C] [--isa rv32i|rv32im]
                      [--base 0x80000000] [--max-cycles N] [--signature OUT] [--trace]

The file is linked statically at the base, where execution begins; its program memory is 1 MiB. It
ends with a write of the symbol `tohost`. Exit status: 0 when the value is 1, 1 when it is another
or the program stopped otherwise, 3 at the cycle limit, 2 for wrong use.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from accel.asm import disassemble
from accel.config import Config
from accel.errors import AccelError
from accel.isa import WINDOW_BASE
from sim.errors import Fault
from sim.lockstep import GoldenCore, Retirement

__all__ = ["ElfError", "ElfProgram", "Outcome", "load_elf", "main", "run"]

PROGRAM_BYTES = 1 << 20
WINDOW_BYTES = 2048
BASE_MULTIPLE = 1 << 22
SUCCESS, FAILURE, WRONG_USE, CYCLE_LIMIT = 0, 1, 2, 3
TRACED = 1 << 20
"""Instructions that a trace of the RTL shows at most."""


class ElfError(AccelError):
    """A file that cannot be run; the message names it and what is wrong."""


@dataclass(frozen=True)
class ElfProgram:
    """A program in memory.

    Parameters
    ----------
    memory : uint32 array
        PROGRAM_BYTES from the base on.
    base : int
    tohost : int
        Address of the word that ends the program.
    signature : (first address, address behind), optional
    """

    memory: npt.NDArray[np.uint32]
    base: int
    tohost: int
    signature: tuple[int, int] | None


@dataclass(frozen=True)
class Outcome:
    """How a program ended.

    Parameters
    ----------
    status : int
        SUCCESS, FAILURE or CYCLE_LIMIT.
    text : str
        One line about it.
    memory : uint32 array
        At the end.
    """

    status: int
    text: str
    memory: npt.NDArray[np.uint32]


def load_elf(path: Path, base: int) -> ElfProgram:
    """Read a file.

    Raises
    ------
    ElfError
        When it is no static RV32 program for memory at `base` with the symbol `tohost`.
    """
    try:
        from elftools.common.exceptions import ELFError
        from elftools.elf.elffile import ELFFile
    except ImportError:
        raise ElfError("pyelftools is not installed: pip install 'systolite[core]'") from None

    if base % BASE_MULTIPLE or not 0 <= base < 1 << 32 or base & WINDOW_BASE:
        raise ElfError(f"--base must be a multiple of {BASE_MULTIPLE:#x} without bit 30")
    image = np.zeros(PROGRAM_BYTES, np.uint8)
    try:
        with path.open("rb") as file:
            elf = ELFFile(file)
            header = elf.header
            if elf.elfclass != 32 or not elf.little_endian or header.e_machine != "EM_RISCV":
                raise ElfError(f"{path} is not for little-endian RV32")
            if header.e_type != "ET_EXEC":
                raise ElfError(f"{path} is not linked statically: its type is {header.e_type}")
            if header.e_entry != base:
                raise ElfError(
                    f"{path} begins at {header.e_entry:#x}, and execution at {base:#x}: see --base"
                )
            for segment in elf.iter_segments("PT_LOAD"):
                first = segment["p_paddr"] - base
                data = segment.data()
                if segment["p_memsz"] == 0:
                    continue
                if first < 0 or first + segment["p_memsz"] > PROGRAM_BYTES:
                    raise ElfError(
                        f"{path}: a segment at {segment['p_paddr']:#x} of {segment['p_memsz']} "
                        f"bytes is not in the {PROGRAM_BYTES} bytes from {base:#x} on"
                    )
                image[first : first + len(data)] = np.frombuffer(data, np.uint8)
            table = elf.get_section_by_name(".symtab")
            symbols = {s.name: s["st_value"] for s in table.iter_symbols()} if table else {}
    except OSError as error:
        raise ElfError(f"cannot read {path}: {error.strerror}") from None
    except ELFError as error:
        raise ElfError(f"{path} is not an ELF file: {error}") from None
    if "tohost" not in symbols:
        raise ElfError(f"{path} has no symbol tohost, whose write ends a program")
    tohost = symbols["tohost"]
    if tohost % 4 or not base <= tohost < base + PROGRAM_BYTES:
        raise ElfError(f"{path}: tohost at {tohost:#x} is no word of the program memory")
    marks = [symbols.get(name) for name in ("begin_signature", "end_signature")]
    signature = None
    if marks[0] is not None and marks[1] is not None:
        signature = (marks[0], marks[1])
        if not base <= marks[0] <= marks[1] <= base + PROGRAM_BYTES or marks[0] % 4:
            raise ElfError(f"{path}: the signature is not in the program memory")
    return ElfProgram(image.view("<u4"), base, tohost, signature)


def _line(record: Retirement) -> str:
    text = f"{record.pc:08x} {record.insn:08x} {disassemble(record.insn, record.pc)}"
    if record.trap:
        return f"{text} ; traps to {record.next:#x}"
    notes = [f"x{record.rd_addr} = {record.rd:#x}"] if record.rd_addr else []
    if record.write_mask:
        notes.append(f"[{record.address:#x}] = {record.stored:#x} mask {record.write_mask:04b}")
    return f"{text} ; {', '.join(notes)}" if notes else text


def _ended(value: int) -> tuple[int, str]:
    if value == 1:
        return SUCCESS, "tohost 1: success"
    return FAILURE, f"tohost {value:#x}: failure" + (f" of test {value >> 1}" if value & 1 else "")


def _fault(cause: str, address: int, pc: int) -> str:
    return f"stopped by {cause} at address {address:#x}, pc {pc:#x}, without a handler"


def _run_model(program: ElfProgram, multiply: bool, max_cycles: int, trace: bool) -> Outcome:
    memory = program.memory.copy()
    golden = GoldenCore(
        memory, multiply=multiply, window=bytearray(WINDOW_BYTES), base=program.base
    )
    core, words = golden.core, memory.data
    index = (program.tohost - program.base) // 4
    try:
        while core.running and core.cycles < max_cycles:
            if trace:
                for record in golden.step():
                    print(_line(record))
            else:
                core.step()
            if words[index]:
                return Outcome(*_ended(words[index]), memory)
    except Fault as fault:
        pc = core.pc if fault.pc is None else fault.pc
        return Outcome(FAILURE, _fault(fault.cause.name, fault.address, pc), memory)
    if core.running:
        return Outcome(CYCLE_LIMIT, f"no write of tohost within {max_cycles} cycles", memory)
    return Outcome(FAILURE, "TDONE ended the program before a write of tohost", memory)


def _run_verilator(
    program: ElfProgram, multiply: bool, target: str, max_cycles: int, trace: bool
) -> Outcome:
    from sim.devices.core import CoreSimulator

    core = CoreSimulator(
        multiply=multiply,
        program_bytes=PROGRAM_BYTES,
        window_bytes=WINDOW_BYTES,
        base=program.base,
        target=target,
    )
    core.memory[:] = program.memory
    core.load()
    done = core.run(
        cycles=max_cycles, tohost=program.tohost, records=min(max_cycles, TRACED) if trace else 0
    )
    names = [name for name in done.records.dtype.names or () if name not in ("halt", "cycle")]
    for row in done.records:
        record = Retirement(int(row["pc"]), int(row["insn"]))
        for name in names:
            setattr(record, name, int(row[name]))
        print(_line(record))
    memory = core.memory.copy()
    if done.end == "tohost":
        return Outcome(*_ended(done.exit_code), memory)
    if done.fault is not None:
        cause, address, pc = done.fault
        return Outcome(FAILURE, _fault(cause.name, address, pc), memory)
    if done.end == "done":
        return Outcome(FAILURE, "TDONE ended the program before a write of tohost", memory)
    limit = f"{max_cycles} cycles" if done.end == "cycle limit" else f"{TRACED} traced instructions"
    return Outcome(CYCLE_LIMIT, f"no write of tohost within {limit}", memory)


def run(
    program: ElfProgram,
    *,
    device: str = "model",
    multiply: bool = True,
    target: str = "generic",
    max_cycles: int = 10_000_000,
    trace: bool = False,
) -> Outcome:
    """Run a program on the golden machine ("model") or on the RTL ("verilator").

    Raises
    ------
    DeviceError
        When the simulator cannot be built.
    """
    if device == "model":
        return _run_model(program, multiply, max_cycles, trace)
    return _run_verilator(program, multiply, target, max_cycles, trace)


def _write_signature(program: ElfProgram, outcome: Outcome, path: Path) -> None:
    if program.signature is None:
        raise ElfError("the file has no symbols begin_signature and end_signature")
    first, stop = ((address - program.base) // 4 for address in program.signature)
    words = outcome.memory[first:stop]
    try:
        path.write_text("".join(f"{int(word):08x}\n" for word in words), encoding="ascii")
    except OSError as error:
        raise ElfError(f"cannot write {path}: {error.strerror}") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the file that the command line names; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m sim.elf", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="static RV32 ELF file")
    parser.add_argument("--device", choices=("model", "verilator"), default="model")
    parser.add_argument("--config", default="small", metavar="C", help="preset or TOML file")
    parser.add_argument("--isa", choices=("rv32i", "rv32im"), help="default: the configuration's")
    parser.add_argument("--base", type=lambda text: int(text, 0), default=0x80000000)
    parser.add_argument("--max-cycles", type=int, default=10_000_000, metavar="N")
    parser.add_argument("--signature", type=Path, metavar="OUT", help="file for the signature")
    parser.add_argument("--trace", action="store_true", help="print every instruction")
    options = parser.parse_args(arguments)
    try:
        config = Config.load(options.config)
        program = load_elf(options.file, options.base)
        outcome = run(
            program,
            device=options.device,
            multiply=config.multiply if options.isa is None else options.isa == "rv32im",
            target=config.target,
            max_cycles=options.max_cycles,
            trace=options.trace,
        )
        if options.signature is not None:
            _write_signature(program, outcome, options.signature)
    except AccelError as error:
        print(f"sim.elf: {error}", file=sys.stderr)
        return WRONG_USE
    print(f"{options.file.name}: {outcome.text}", file=sys.stderr)
    return outcome.status


if __name__ == "__main__":
    sys.exit(main())
