"""Real tools, from Verilog to bitstream, for a design that is all pads and hardly anything else."""

import json

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from accel.config import PRESETS
from boards import base
from boards.build import TimingError, build
from boards.catalog import BOARDS, find_board

pytestmark = pytest.mark.full


class Echo(wiring.Component):
    """In place of System: the serial line back, and a counter on all outputs of the memory."""

    def __init__(self, config, *, clock_hz, baud, memory):
        members = {"rx": In(1), "tx": Out(1)}
        members |= {name: Out(1) for name in ("running", "error", "ready", "heartbeat")}
        if memory.pins is not None:
            members["pins"] = Out(memory.pins)
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        count = Signal(24)
        m.d.sync += [count.eq(count + 1), self.tx.eq(self.rx)]
        m.d.comb += [self.heartbeat.eq(count[-1]), self.running.eq(count[-2])]
        if hasattr(self, "pins"):
            for name, member in self.pins.signature.members.items():
                if member.flow is Out:
                    m.d.sync += getattr(self.pins, name).eq(count)
            m.d.sync += self.error.eq(self.pins.dq_i.xor())
        return m


@pytest.fixture
def echo(monkeypatch):
    monkeypatch.setattr(base, "System", Echo)


BEGINNINGS = {
    "ulx3s": b"\xff\x00",
    "icebreaker": b"\xff\x00\x00\xff",
    "tangnano20k": b"1111111111111111",
}


@pytest.mark.parametrize("name", BOARDS)
def test_bitstream(echo, tmp_path, name):
    board = find_board(name)
    summary = build(board, PRESETS["test"], tmp_path)
    assert summary.timing_met
    bitstream = tmp_path / summary.bitstream
    assert bitstream.suffix == board.device.packer.suffix
    assert bitstream.read_bytes().startswith(BEGINNINGS[name])
    assert summary.used["flip_flops"] >= 24
    # The clock that was asked for is what timing was met for.
    report = json.loads((tmp_path / "work" / "report.json").read_text())
    constraints = [clock["constraint"] for clock in report["fmax"].values()]
    assert max(constraints) == pytest.approx(board.system_hz / 1e6, rel=1e-3)


def test_too_fast(echo, tmp_path):
    with pytest.raises(TimingError, match="icebreaker misses timing: .* MHz, not 240 MHz"):
        build(find_board("icebreaker"), PRESETS["test"], tmp_path, system_hz=240_000_000)
    assert not list(tmp_path.glob("*.bin"))
