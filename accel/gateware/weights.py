"""The weight memory: tiles for the array and parameters for the vector engine."""

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from accel.gateware.blockram import BlockRam
from accel.gateware.delay import delayed
from accel.gateware.parity import ParityReport, mismatch
from accel.gateware.ports import WEIGHT_LATENCY, ReadPort, WritePort
from accel.gateware.splitram import SplitRam

__all__ = ["WeightMemory"]


class WeightMemory(wiring.Component):
    """Weight words of `cols` bytes, one writer, two readers on one port.

    Parameters
    ----------
    words : int
        Even.
    cols : int
        Bytes of a word.
    target : str
        See BlockRam.
    parity : bool
        Keep a parity bit with each word.

    Members
    -------
    load : In(WritePort)
        Always ready; a write can be read by a request accepted two cycles later.
    matmul : In(ReadPort)
        Keeps the port from a burst's first word to its last.
    burst : In(1)
        High from the cycle after a burst's first word is accepted until its last is.
    params : In(ReadPort)
        Goes first between bursts.
    parity : Out(ParityReport(2, clog2(words)))
        With `parity`: a cycle after a response of `matmul` or `params`, whether it was wrong.

    Latency
    -------
    WEIGHT_LATENCY (3) cycles from an accepted request to its response; one word per cycle.
    """

    def __init__(
        self, *, words: int, cols: int, target: str = "generic", parity: bool = False
    ) -> None:
        self._target = target
        self._parity = parity
        self._words = words
        self._cols = cols
        width = ceil_log2(words)
        shape = unsigned(8 * cols)
        super().__init__(
            {
                "load": In(WritePort(width, shape)),
                "matmul": In(ReadPort(width, shape)),
                "burst": In(1),
                "params": In(ReadPort(width, shape)),
                **({"parity": Out(ParityReport(2, width))} if parity else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        kind = SplitRam if self._words & (self._words - 1) else BlockRam
        m.submodules.memory = memory = kind(
            width=8 * self._cols, depth=self._words, target=self._target, parity=self._parity
        )
        load = self.load.request
        m.d.comb += load.ready.eq(1)
        enable_q = Signal()
        m.d.sync += enable_q.eq(load.valid)
        m.d.comb += memory.write_enable.eq(enable_q)
        for port_signal, value in (
            (memory.write_address, load.payload.address),
            (memory.write_data, load.payload.data),
        ):
            held = Signal.like(port_signal, name="write_q", reset_less=True)
            m.d.sync += held.eq(value)
            m.d.comb += port_signal.eq(held)

        matmul, params = self.matmul.request, self.params.request
        use_params = Signal()
        m.d.comb += [
            use_params.eq(params.valid & ~self.burst),
            params.ready.eq(~self.burst),
            matmul.ready.eq(~use_params),
        ]
        # Through a register: on a full part its wires go to a hundred blocks.
        address = Signal.like(memory.read_address, name="read_address_q", reset_less=True)
        m.d.sync += address.eq(Mux(use_params, params.payload, matmul.payload))
        m.d.comb += memory.read_address.eq(address)
        for name, client, accepted in (
            ("matmul", self.matmul, matmul.valid & ~use_params),
            ("params", self.params, use_params),
        ):
            for stage in range(WEIGHT_LATENCY):
                accepted_q = Signal(name=f"{name}_valid{stage}")
                m.d.sync += accepted_q.eq(accepted)
                accepted = accepted_q
            m.d.comb += [
                client.response.valid.eq(accepted),
                client.response.data.eq(memory.read_data),
            ]
        if self._parity:
            wrong = mismatch(memory.read_data, memory.read_parity)
            used = Signal(2)
            m.d.comb += used.eq(Cat(self.matmul.response.valid, self.params.response.valid))
            m.d.sync += self.parity.wrong.eq(used & wrong.replicate(2))
            cycles = WEIGHT_LATENCY + 1
            m.d.comb += self.parity.address.eq(
                delayed(m, address, cycles - 1, name="checked", reset_less=True)
            )
        return m
