"""Imports go in one direction only (docs/architecture.md): checked on the sources' syntax trees."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

BASE = {
    "accel.config",
    "accel.isa",
    "accel.regmap",
    "accel.numerics",
    "accel.errors",
    "accel.protocol",
}

# What each part may import of ours, itself aside; longest prefix wins.
ALLOWED = {
    "accel.errors": set(),
    "accel.config": {"accel.errors"},
    "accel.isa": set(),
    "accel.regmap": set(),
    "accel.numerics": set(),
    "accel.progress": set(),
    "accel.protocol": set(),
    "accel.privileged": BASE,
    "accel.riscv": {*BASE, "accel.privileged"},
    "accel.asm": {*BASE, "accel.riscv"},
    "accel.image": BASE,
    "accel.firmware": {*BASE, "accel.asm"},
    "accel.gateware": {*BASE, "accel", "accel.riscv"},
    "accel.compiler": {*BASE, "accel.asm", "accel.riscv", "accel.image", "accel.firmware"},
    "accel.host": {*BASE, "accel.image"},
    "accel.report": {*BASE, "accel.image", "accel.host"},
    "accel.api": {*BASE, "accel.image", "accel.compiler", "accel.host", "accel.report", "sim"},
    "accel": {"accel.api"},
    "accel.commands": {"accel", "sim", "boards"},
    "accel.cli": {"accel", "sim", "boards"},
    "sim": {*BASE, "accel.asm", "accel.riscv", "accel.image", "accel.host", "accel.progress"},
    "sim.devices": {*BASE, "accel", "accel.host", "accel.progress", "accel.gateware", "sim"},
    "sim.devices.model": {*BASE, "accel.image", "accel.host", "sim"},
    "sim.benches": {"accel", "sim"},
    "sim.board": {"accel", "sim", "boards"},
    "sim.devices.boardtop": {"accel", "sim", "boards"},
    "boards": {"accel"},
}
# For these `accel` means everything in it, for the others only the package itself.
OUTER = {
    "accel.cli",
    "accel.commands",
    "boards",
    "sim.benches",
    "sim.board",
    "sim.devices.boardtop",
}
# Parts that are whole by what they may not see, however general an entry above is.
FORBIDDEN = {
    "accel.gateware": {"accel.compiler", "accel.host", "sim", "accel.image"},
    "accel.compiler": {"accel.gateware", "sim", "accel.host"},
    "accel.host": {"accel.gateware", "accel.compiler", "sim"},
}


def _within(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(f"{prefix}.")


def _longest(module: str, prefixes: dict[str, set[str]]) -> str:
    return max((p for p in prefixes if _within(module, p)), key=len)


def _module_name(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(path: Path) -> set[str]:
    module = _module_name(path)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            up = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*up, node.module or ""]).strip(".") if node.level else node.module
            for alias in node.names:
                name = f"{base}.{alias.name}"
                is_module = (ROOT / Path(*name.split("."))).with_suffix(".py").exists()
                is_module |= (ROOT / Path(*name.split("."))).is_dir()
                found.add(name if is_module else str(base))
    return {name for name in found if name.split(".")[0] in ("accel", "sim", "boards", "tests")}


SOURCES = sorted(p for top in ("accel", "sim", "boards") for p in (ROOT / top).rglob("*.py"))


def violations(module: str, imports: set[str]) -> list[str]:
    part = _longest(module, ALLOWED)
    result = []
    for name in sorted(imports):
        allowed = _within(name, part) and part != "accel"
        for prefix in ALLOWED[part]:
            whole = prefix != "accel" or part in OUTER
            allowed |= _within(name, prefix) if whole else name == prefix
        forbidden = (f for p, fs in FORBIDDEN.items() if _within(module, p) for f in fs)
        if not allowed or any(_within(name, f) for f in forbidden):
            result.append(f"{module} imports {name}")
    return result


@pytest.mark.parametrize("path", SOURCES, ids=_module_name)
def test_imports_go_one_way(path):
    assert violations(_module_name(path), _imports(path)) == []


def test_golden_machine_never_sees_the_hardware():
    for path in SOURCES:
        module = _module_name(path)
        if _within(module, "sim") and not (
            _within(module, "sim.benches") or module.startswith("sim.devices.")
        ):
            assert not any(_within(n, "accel.gateware") for n in _imports(path)), module


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("accel.compiler.tile", "accel.gateware.array"),
        ("accel.gateware.top", "accel.compiler"),
        ("accel.host.driver", "sim.devices"),
        ("accel.isa", "accel.config"),
        ("sim.machine", "accel.gateware.top"),
        ("sim.machine", "tests.conftest"),
        ("accel.numerics", "accel.isa"),
    ],
)
def test_a_wrong_import_is_found(module, imported):
    assert violations(module, {imported}) == [f"{module} imports {imported}"]
