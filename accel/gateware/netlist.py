"""Text passes on emitted netlists: merge identical modules, shorten memory initialisation."""

import hashlib
import re

__all__ = ["compress_memory_init", "merge_modules"]

_MODULE = re.compile(r"^((?:attribute [^\n]*\n)*)module (\\\S+)\n(.*?)^end$", re.M | re.S)
_CELL = re.compile(r"^  cell (\\\S+) ", re.M)


def merge_modules(rtlil: str, name: str, ports: dict[str, str]) -> str:
    """Return the RTLIL text with one copy of modules that are equal in content.

    Modules are equal when their bodies are, instances of equal modules counted as the same. The
    text must hold no `src` attributes, which would make every module different. The copy that
    stays is the first; it is called `name` and its instance path, joined by underscores, so that
    no escaped identifier is left among module names.

    Parameters
    ----------
    rtlil : str
        What `amaranth.back.rtlil.convert(..., emit_src=False)` returns.
    name : str
        New name of the first module, the top.
    ports : dict of str to str
        New names of the top module's ports by their old ones.
    """
    modules = {m[2]: (m[1], m[3]) for m in _MODULE.finditer(rtlil)}
    digests: dict[str, str] = {}

    def digest(module: str) -> str:
        if module not in digests:
            attributes, body = modules[module]
            keyed = _CELL.sub(
                lambda m: f"  cell {digest(m[1]) if m[1] in modules else m[1]} ", body
            )
            digests[module] = hashlib.sha256((attributes + keyed).encode()).hexdigest()
        return digests[module]

    top = next(iter(modules))
    attributes, body = modules[top]
    modules[top] = (
        attributes,
        # Not the ports of instances: submodules keep their own names.
        re.sub(r"(?<!\n    connect \\)(?<=\\)\w+(?=\s)", lambda m: ports.get(m[0], m[0]), body),
    )
    new_names: dict[str, str] = {}
    taken = {""}
    for module in modules:
        if digest(module) not in new_names:
            path = module.removeprefix(top).replace(".", "_")
            base = candidate = "\\" + name + re.sub(r"\W", "_", path)
            number = 1
            while candidate in taken:
                number += 1
                candidate = f"{base}_{number}"
            taken.add(candidate)
            new_names[digest(module)] = candidate

    output = []
    written = set()
    for module, (attributes, body) in modules.items():
        new_name = new_names[digest(module)]
        if new_name not in written:
            written.add(new_name)
            renamed = _CELL.sub(
                lambda m: f"  cell {new_names[digest(m[1])] if m[1] in modules else m[1]} ", body
            )
            output.append(f"{attributes}module {new_name}\n{renamed}end\n")
    return "\n".join(output)


_INIT_BLOCK = re.compile(r"^  initial begin\n((?:    \S+\[\d+\] = \S+;\n)+)  end\n", re.M)
_INIT_LINE = re.compile(r"    (\S+)\[(\d+)\] = (\S+);\n")


def compress_memory_init(verilog: str, least: int = 16) -> str:
    """Return Verilog text in which runs of equal initial values of a memory are loops.

    Parameters
    ----------
    verilog : str
        What yosys' `write_verilog` wrote.
    least : int
        Length from which on a run becomes a loop.
    """
    blocks = 0

    def compress(match: re.Match[str]) -> str:
        nonlocal blocks
        lines: list[str] = []
        runs: list[tuple[str, int, int, str]] = []
        for memory, index, value in _INIT_LINE.findall(match[1]):
            if runs and runs[-1][0] == memory and runs[-1][2:] == (int(index), value):
                runs[-1] = (memory, runs[-1][1], int(index) + 1, value)
            else:
                runs.append((memory, int(index), int(index) + 1, value))
        for memory, first, end, value in runs:
            if end - first >= least:
                lines.append(f"    for (i = {first}; i < {end}; i = i + 1)")
                lines.append(f"      {memory}[i] = {value};")
            else:
                lines += [f"    {memory}[{i}] = {value};" for i in range(first, end)]
        if not any("for (" in line for line in lines):
            return match[0]
        blocks += 1
        body = "\n".join(lines)
        return f"  initial begin : memory_init_{blocks}\n    integer i;\n{body}\n  end\n"

    return _INIT_BLOCK.sub(compress, verilog)
