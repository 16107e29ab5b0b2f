"""The scratchpad: interleaved banks, three readers and two writers with fixed priorities."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from accel.gateware.blockram import BlockRam
from accel.gateware.delay import delayed
from accel.gateware.parity import ParityReport, mismatch
from accel.gateware.ports import SCRATCHPAD_LATENCY, BankUses, ReadPort, WritePort, meets

__all__ = ["Scratchpad"]


class Scratchpad(wiring.Component):
    """Activation memory; the bank of a word is its address modulo the number of banks.

    Streams that walk the memory meet in a bank at most once and then run side by side in
    different banks. A read must not meet a write of the same word in one cycle: tokens see to it.

    Parameters
    ----------
    words : int
        A power of two.
    banks : int
        A power of two.
    rows : int
        Bytes of a word.
    lanes : int
        Bytes that one mask bit of `result` enables.
    groups : int
        Ports of the matmul engine.
    target : str
        See BlockRam.
    parity : bool
        Keep a parity bit for each bit of a write's mask.

    Members
    -------
    matmul : In(ReadPort), one per group
        The first readers; `request.ready` is always high: they must not meet in a bank.
    vector, store : In(ReadPort)
        The other readers, in order of priority. The response comes SCRATCHPAD_LATENCY (3) cycles
        after the request is accepted, on every port; it leaves the memories' output registers and
        goes through the selection of the bank.
    result, load : In(WritePort)
        Writers, in order of priority; `result.request.ready` is always high. `load` writes whole
        words. A write can be read by a request accepted two cycles later.
    reading, writing : Out(BankUses)
        Which banks readers before `store`, and writers before `load`, use in this cycle: what
        the ready of these two hangs on, for who knows an address before it is at the port.
    unread : In(groups), parity : Out(ParityReport(groups + 2, clog2(words)))
        With `parity`: the response of that port of `matmul` is of no use; and a cycle after a
        response, whether its word was wrong, readers as above.

    Throughput
    ----------
    Each port one word per cycle, as long as no port of higher priority uses the same bank.
    """

    def __init__(
        self,
        *,
        words: int,
        banks: int,
        rows: int,
        lanes: int,
        groups: int = 1,
        target: str = "generic",
        parity: bool = False,
    ) -> None:
        self._target = target
        self._parity = parity
        self._groups = groups
        self._words = words
        self._banks = banks
        self._rows = rows
        self._lanes = lanes
        width = ceil_log2(words)
        shape = unsigned(8 * rows)
        super().__init__(
            {
                "matmul": In(ReadPort(width, shape)).array(groups),
                "vector": In(ReadPort(width, shape)),
                "store": In(ReadPort(width, shape)),
                "result": In(WritePort(width, shape, granules=rows // lanes)),
                "load": In(WritePort(width, shape)),
                "reading": Out(BankUses(groups + 1, banks)),
                "writing": Out(BankUses(1, banks)),
                **(
                    {"unread": In(groups), "parity": Out(ParityReport(groups + 2, width))}
                    if parity
                    else {}
                ),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bank_bits = ceil_log2(self._banks)

        def split(address):
            return address[:bank_bits] if bank_bits else Const(0, 1), address[bank_bits:]

        readers = [*self.matmul, self.vector, self.store]
        writers = (self.result, self.load)
        for clients, uses in ((readers, self.reading), (writers, self.writing)):
            before = []
            for i, client in enumerate(clients):
                payload = client.request.payload
                bank, _ = split(payload if clients is readers else payload.address)
                first = clients is readers and i < self._groups
                ready = Const(1) if first else ~meets(before, bank)
                m.d.comb += client.request.ready.eq(ready)
                if i < len(clients) - 1:
                    use = uses[i]
                    m.d.comb += [use.valid.eq(client.request.valid), use.bank.eq(bank)]
                    before.append(use)

        # One register for the data of each writer; every bank takes its own choice from them.
        written = []
        for name, client in zip(("result", "load"), writers, strict=True):
            word = Signal(8 * self._rows, name=f"{name}_write_data", reset_less=True)
            m.d.sync += word.eq(client.request.payload.data)
            written.append(word)

        memories = []
        for b in range(self._banks):
            memory = BlockRam(
                width=8 * self._rows,
                depth=self._words // self._banks,
                granularity=8 * self._lanes,
                target=self._target,
                parity=self._parity,
            )
            m.submodules[f"bank{b}"] = memory
            self._bank_read(m, memory, b, split)
            self._bank_write(m, memory, b, split, written)
            memories.append(memory)

        answered = []
        names = [*(f"matmul{g}" for g in range(self._groups)), "vector", "store"]
        for name, client in zip(names, readers, strict=True):
            bank, _ = split(client.request.payload)
            accepted = client.request.valid & client.request.ready
            # One stage for the address, one for the memory, one for its output register.
            for stage in range(SCRATCHPAD_LATENCY):
                accepted_q = Signal(name=f"{name}_valid{stage}")
                bank_q = Signal(max(bank_bits, 1), name=f"{name}_bank{stage}", reset_less=True)
                m.d.sync += [accepted_q.eq(accepted), bank_q.eq(bank)]
                accepted, bank = accepted_q, bank_q
            word = Signal(8 * self._rows, name=f"{name}_word")
            with m.Switch(bank):
                for b in range(self._banks):
                    with m.Case(b):
                        m.d.comb += word.eq(memories[b].read_data)
            m.d.comb += [
                client.response.valid.eq(accepted),
                client.response.data.eq(word),
            ]
            answered.append((accepted, bank))
        if self._parity:
            self._check(m, memories, answered)
        return m

    def _check(self, m, memories, answered):
        """Look at what the banks return: each for itself, before a reader takes its choice."""
        wrong = Cat(mismatch(memory.read_data, memory.read_parity) for memory in memories)
        uses = []
        for i, (valid, bank) in enumerate(answered):
            use = valid & ~self.unread[i] if i < self._groups else valid
            uses.append(use)
            m.d.sync += self.parity.wrong[i].eq(use & wrong.bit_select(bank, 1))
        bank_bits = ceil_log2(self._banks)
        for b, memory in enumerate(memories):
            row = delayed(m, memory.read_address, 3, name=f"bank{b}_checked", reset_less=True)
            used = Signal(name=f"bank{b}_used")
            hit = Signal(name=f"bank{b}_wrong", reset_less=True)
            here = (use & (bank == b) for use, (_, bank) in zip(uses, answered, strict=True))
            m.d.comb += used.eq(Cat(here).any())
            m.d.sync += hit.eq(used & wrong[b])
            with m.If(hit):
                m.d.comb += self.parity.address.eq(Cat(Const(b, bank_bits), row))

    def _bank_read(self, m, memory, b, split):
        # From lowest to highest priority: the last assignment wins. What is read for nobody does no
        # harm.
        row = Signal.like(memory.read_address, name=f"bank{b}_read_row", reset_less=True)
        m.d.sync += row.eq(split(self.store.request.payload)[1])
        for client in (self.vector, *self.matmul):
            bank, address = split(client.request.payload)
            with m.If(client.request.valid & (bank == b)):
                m.d.sync += row.eq(address)
        m.d.comb += memory.read_address.eq(row)

    def _bank_write(self, m, memory, b, split, written):
        granules = self._rows // self._lanes
        result, load = self.result.request, self.load.request
        result_bank, result_row = split(result.payload.address)
        load_bank, load_row = split(load.payload.address)
        own = Signal(name=f"bank{b}_result")
        m.d.comb += own.eq(result.valid & (result_bank == b))
        enable = Mux(
            own,
            result.payload.mask,
            (load.valid & (load_bank == b)).replicate(granules),
        )
        enable_q = Signal(granules, name=f"bank{b}_enable")
        row_q = Signal(len(memory.write_address), name=f"bank{b}_write_row", reset_less=True)
        own_q = Signal(name=f"bank{b}_result_q", reset_less=True)
        m.d.sync += [
            enable_q.eq(enable),
            row_q.eq(Mux(own, result_row, load_row)),
            own_q.eq(own),
        ]
        m.d.comb += [
            memory.write_enable.eq(enable_q),
            memory.write_address.eq(row_q),
            memory.write_data.eq(Mux(own_q, *written)),
        ]
