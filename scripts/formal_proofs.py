"""The formal proofs: which unit, which properties, how far, and the bugs that they must find."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from amaranth.lib import wiring

from accel.gateware.axilite import AXI4LiteTarget
from accel.gateware.burst import AddressChannel
from accel.gateware.bytebuffer import ByteBuffer
from accel.gateware.controller import Controller
from accel.gateware.dispatch import Dispatcher, TokenCounters
from accel.gateware.fifo import Fifo
from accel.gateware.loopnest import LoopNest
from accel.gateware.queue import CommandQueue
from accel.gateware.ramfifo import RamFifo
from accel.gateware.scratchpad import Scratchpad
from accel.gateware.skew import DelayRing, Skew
from accel.gateware.skid import ReadySlice, SkidBuffer
from accel.gateware.traps import TrapUnit
from accel.isa import COMMANDS, TOKEN_LIMIT, WINDOW_BASE, Engine, Funct3
from accel.regmap import WINDOW_BYTES

__all__ = ["PROOFS", "Proof", "Seed"]


@dataclass(frozen=True)
class Seed:
    """A bug: in `file` of accel/gateware, `new` stands where `old` does, which is there once."""

    what: str
    file: str
    old: str
    new: str
    deep: bool = False
    """It shows later than any bounded check gets: found when the induction fails."""


@dataclass(frozen=True)
class Proof:
    """Properties of one unit.

    Attributes
    ----------
    name, what : str
    build : callable
        Returns the unit as it is emitted.
    files : str
        Of tests/formal, separated by blanks: they go into the unit's module, so they see its
        signals and memories. Inputs are free, reset too, but for what the files assume.
    depth : int
        Steps of the induction, or cycles of the bounded check.
    reach : int
        Cycles in which seeded bugs and covers show; `depth` if 0.
    proven : bool
        By induction.
    seeds : tuple of Seed
    within : mapping of str to str
        Modules inside the unit, and the file with properties of their own.
    cut : tuple of str
        Modules whose outputs are left free.
    contracts : mapping of str to str
        Modules of which nothing is left but a contract, a file that another proof is of.
    defines : mapping of str to int or str
        Macros for the file.
    timeout : int
        Seconds.
    """

    name: str
    what: str
    build: Callable[[], wiring.Component]
    files: str
    depth: int
    seeds: tuple[Seed, ...]
    proven: bool = True
    reach: int = 0
    within: Mapping[str, str] = field(default_factory=dict)
    cut: tuple[str, ...] = ()
    contracts: Mapping[str, str] = field(default_factory=dict)
    defines: Mapping[str, int | str] = field(default_factory=dict)
    engine: str = "boolector"
    timeout: int = 600


def _core() -> Controller:
    """Return the controller of RV32I, as the retirement port shows it."""
    return Controller(program_bytes=1024, window_bytes=2048, multiply=False, rvfi=True)


PROOFS = (
    Proof(
        "fifo",
        "Fifo: flags and level agree, no entry lost, doubled or out of order",
        lambda: Fifo(shape=8, depth=4),
        "fifo.sv",
        8,
        (
            Seed(
                "one entry too many", "fifo.py", "level != self._depth - 1", "level != self._depth"
            ),
            Seed(
                "empty too late",
                "fifo.py",
                "has_entry.eq(pushes | (level != 1))",
                "has_entry.eq(pushes | (level != 0))",
            ),
            Seed(
                "a write when full",
                "fifo.py",
                "write.en.eq(pushes)",
                "write.en.eq(self.input.valid)",
            ),
        ),
        defines={"DEPTH": 4},
    ),
    Proof(
        "fifo5",
        "Fifo of a depth that is no power of two",
        lambda: Fifo(shape=8, depth=5),
        "fifo.sv",
        8,
        (
            Seed(
                "one entry too many", "fifo.py", "level != self._depth - 1", "level != self._depth"
            ),
        ),
        defines={"DEPTH": 5},
    ),
    Proof(
        "skid",
        "SkidBuffer: order, nothing lost or doubled, held while not ready",
        lambda: SkidBuffer(shape=8),
        "skid.sv",
        6,
        (
            Seed(
                "the spare word is lost",
                "skid.py",
                "valid.eq(~empty | self.input.valid)",
                "valid.eq(self.input.valid)",
            ),
            Seed(
                "payload moves while it waits",
                "skid.py",
                "~self.output.valid | self.output.ready",
                "~self.output.valid | self.output.ready | empty",
            ),
        ),
    ),
    Proof(
        "slice",
        "ReadySlice: order, nothing lost or doubled, held while not ready",
        lambda: ReadySlice(shape=8),
        "slice.sv",
        6,
        (
            Seed(
                "the spare word is lost",
                "skid.py",
                "valid.eq(self.input.valid | ~empty)",
                "valid.eq(self.input.valid)",
            ),
            Seed(
                "a word that went through is kept too",
                "skid.py",
                "empty.eq(self.output.ready | ~self.output.valid)",
                "empty.eq(~self.output.valid)",
            ),
        ),
    ),
    Proof(
        "ramfifo",
        "RamFifo: order and level, when used as promised",
        lambda: RamFifo(shape=8, depth=4),
        "ramfifo.sv",
        8,
        (
            Seed(
                "room for one too many",
                "ramfifo.py",
                "self.room.eq(~self.level[bits])",
                "self.room.eq(1)",
            ),
            Seed(
                "a head is shown twice",
                "ramfifo.py",
                "read.addr.eq(read.addr + 1)",
                "read.addr.eq(read.addr + ~self.pop)",
            ),
        ),
    ),
    Proof(
        "tokens",
        "TokenCounters: no token lost or made up, overflow told, for any pair of engines",
        TokenCounters,
        "tokens.sv",
        6,
        (
            Seed(
                "a token taken and given counts",
                "dispatch.py",
                "m.If(give & ~take & ~full)",
                "m.If(give & ~full)",
            ),
            Seed("the last token stays", "dispatch.py", "some.eq(count != 1)", "some.eq(1)"),
            Seed(
                "full one too soon",
                "dispatch.py",
                "full = count == TOKEN_LIMIT",
                "full = count == TOKEN_LIMIT - 1",
                deep=True,
            ),
        ),
        defines={"LIMIT": TOKEN_LIMIT},
    ),
    Proof(
        "dispatch",
        "Dispatcher: every operation once, to the queue of its engine, as it was, none overwritten",
        Dispatcher,
        "dispatch.sv",
        5,
        (
            Seed(
                "one behind the other without room",
                "dispatch.py",
                "self.operation.ready.eq(roomy)",
                "self.operation.ready.eq(1)",
            ),
            Seed(
                "room of another engine",
                "dispatch.py",
                "coming = self.operation.payload.funct7[5:7]",
                "coming = held.funct7[5:7]",
            ),
            Seed(
                "taken while the queue is full",
                "dispatch.py",
                "m.Elif(leaves | ~valid)",
                "m.Else()",
            ),
            Seed(
                "masks in the wrong order",
                "dispatch.py",
                "Cat(held.rs1_field[:4], held.rs2_field[:4]",
                "Cat(held.rs2_field[:4], held.rs1_field[:4]",
            ),
        ),
        defines={"TPUSH": Funct3.TPUSH, "TADD": Funct3.TADD},
    ),
    Proof(
        "axilite",
        "AXI4LiteTarget: one response to each request, stable, of the access that was asked for",
        lambda: AXI4LiteTarget(address_bits=12),
        "axilite.sv",
        9,
        (
            Seed(
                "answers before the data",
                "axilite.py",
                "write.valid.eq(has_address & has_data)",
                "write.valid.eq(has_address)",
            ),
            Seed(
                "takes an address while it answers",
                "axilite.py",
                "bus.awready.eq(~has_address & ~bus.bvalid)",
                "bus.awready.eq(~has_address)",
            ),
            Seed(
                "drops a response",
                "axilite.py",
                "m.If(bus.rvalid & bus.rready)",
                "m.If(bus.rvalid)",
            ),
            Seed(
                "does not wait", "axilite.py", "answered.eq(looked & ~waits)", "answered.eq(looked)"
            ),
        ),
    ),
    Proof(
        "loopnest",
        "LoopNest: addresses inside the programmed bounds, steps counted, done exactly once",
        lambda: LoopNest(counts=[2, 2, 2], values={"a": 8}),
        "loopnest.sv",
        2,
        (
            Seed("one iteration too many", "loopnest.py", "one.eq(left == 2)", "one.eq(left == 1)"),
            Seed(
                "a level advances too soon",
                "loopnest.py",
                "self.load | (self.step & inner_last[i])",
                "self.load | self.step",
            ),
            Seed(
                "the increment of the level below",
                "loopnest.py",
                "advance.eq(_advancing(goes_on))",
                "advance.eq(_advancing(self.last))",
            ),
        ),
        reach=6,
    ),
    Proof(
        "skew",
        "Skew: byte c exactly c cycles late",
        lambda: Skew(width=4),
        "skew.sv",
        8,
        (Seed("a cycle too late", "skew.py", "init=-(c - 1) % depth", "init=-c % depth"),),
    ),
    Proof(
        "delayring",
        "DelayRing: the word as many cycles late as was chosen",
        lambda: DelayRing(width=1, cycles=[3, 5]),
        "delayring.sv",
        10,
        (Seed("a cycle too late", "skew.py", "back = [c - 2 for", "back = [c - 1 for"),),
    ),
    Proof(
        "bytebuffer",
        "ByteBuffer of 4-byte beats and words: every byte in its place",
        lambda: ByteBuffer(beat_bytes=4, word_bytes=4),
        "bytebuffer.sv",
        6,
        (
            Seed(
                "the neighbour's line", "bytebuffer.py", "flag.eq(turn > b)", "flag.eq(turn >= b)"
            ),
            Seed(
                "turned by what is asked now",
                "bytebuffer.py",
                "self._rotated(m, copy, found, turn, fine)",
                "self._rotated(m, copy, found, turn, turn[: len(fine)])",
            ),
        ),
        defines={"BANKS": 1},
    ),
    Proof(
        "bytebuffer8",
        "ByteBuffer of 8-byte beats and 16-byte words: every byte in its place",
        lambda: ByteBuffer(beat_bytes=8, word_bytes=16),
        "bytebuffer.sv",
        6,
        (
            Seed(
                "a copy reads the first one's line",
                "bytebuffer.py",
                "Mux(flag, lines[copy + 1], lines[copy])",
                "Mux(flag, lines[1], lines[0])",
            ),
        ),
        proven=False,
    ),
    Proof(
        "burst",
        "AddressChannel: bursts make up the rows, inside 4 KiB and the window, few at a time",
        lambda: AddressChannel(bus_bytes=8, in_flight=2, tag=2),
        "burst.sv",
        3,
        (
            Seed(
                "the window's end is not looked at",
                "burst.py",
                "| Mux(final, past(end_beat), past(Const(full, _BLOCK_BITS)))",
                "",
            ),
            Seed(
                "bursts across the limit",
                "burst.py",
                "final.eq(blocks_left == 0)",
                "final.eq(blocks_left <= 1)",
            ),
            Seed(
                "another row comes after a burst was refused",
                "burst.py",
                "row_valid.eq(~final | outside)",
                "row_valid.eq(~final)",
            ),
            Seed("a burst too many", "burst.py", "                & outstanding.input.ready\n", ""),
            Seed(
                "a burst changes while it waits",
                "burst.py",
                "(~held | self.bursts.ready)",
                "(~held | self.bursts.ready | final)",
            ),
        ),
        reach=8,
        within={"dut_outstanding": "fifo_flags.sv"},
        defines={"BUS_BYTES": 8, "IN_FLIGHT": 2, "GRANULE": (WINDOW_BYTES - 1).bit_length()},
    ),
    Proof(
        "queue",
        "CommandQueue: every push once, in order, with its registers, for the tokens it waits for",
        lambda: CommandQueue(
            command=COMMANDS[Engine.STORE], depth=2, address_bits={"chip_address": 4}
        ),
        "queue.sv",
        9,
        (
            Seed(
                "a push goes without its tokens",
                "queue.py",
                "head.push & has_all &",
                "head.push &",
            ),
            Seed(
                "the engine's last command is not waited for",
                "queue.py",
                " & ~waits_for_own",
                "",
            ),
            Seed(
                "a command that a halt hides is not waited for",
                "queue.py",
                "[int(self._command.engine)] & offered",
                "[int(self._command.engine)] & self.command.valid",
            ),
            Seed("a push goes twice", "queue.py", "ready & ~pushes & ~pushed", "ready"),
            Seed(
                "a command changes while it waits",
                "queue.py",
                "            with m.If(output_free):\n",
                "            with m.If(~self.illegal):\n",
            ),
            Seed(
                "room is told for one entry",
                "queue.py",
                "fifo.level < self._depth - 1",
                "fifo.level < self._depth",
            ),
            Seed(
                "a push goes while halted",
                "queue.py",
                "frozen.eq(broken | misfit | self.halt)",
                "frozen.eq(broken | misfit)",
            ),
            Seed("what does not fit is not seen", "queue.py", "(sign != target[-1]) | ", ""),
        ),
        proven=False,
        defines={"DEPTH": 2, "BITS": 4, "NUMBER": 1},
    ),
    Proof(
        "scratchpad",
        "Scratchpad: priorities, one answer to each read in its cycle, of what was written",
        lambda: Scratchpad(words=4, banks=2, rows=4, lanes=2),
        "scratchpad.sv",
        8,
        (
            Seed(
                "the vector engine is not held back",
                "scratchpad.py",
                "ready = Const(1) if first else",
                "ready = Const(1) if first or client is self.vector else",
            ),
            Seed(
                "banks in use are told without the vector engine's",
                "scratchpad.py",
                "use.valid.eq(client.request.valid)",
                "use.valid.eq(client.request.valid & (i == 0))",
            ),
            Seed(
                "an answer from the wrong bank", "scratchpad.py", "bank_q.eq(bank)", "bank_q.eq(0)"
            ),
            Seed(
                "a late writer goes first",
                "scratchpad.py",
                "Mux(own, result_row, load_row)",
                "Mux(load.valid, load_row, result_row)",
            ),
        ),
        proven=False,
    ),
    Proof(
        "traps",
        "TrapUnit: the contract that the proofs of the core assume",
        lambda: TrapUnit(address_width=8, base=0, multiply=False),
        "trap_unit.sv trap_requests.sv",
        38,
        (
            Seed(
                "mtvec keeps its low bits",
                "csrfile.py",
                "row.matches(ROWS[Csr.MTVEC], ROWS[Csr.MEPC])",
                "row.matches(ROWS[Csr.MEPC])",
            ),
            Seed("data at any time", "traps.py", "self.data.eq(0)", "self.data.eq(file.data)"),
            Seed("served at any time", "traps.py", "with m.If(mret)", "with m.If(~trap)"),
        ),
        proven=False,
        defines={"CONTRACT": "assert"},
        timeout=1800,
    ),
    Proof(
        "core-reg",
        "core: a register reads as what was last written to it, x0 as zero",
        _core,
        "core.sv core_registers.sv",
        12,
        (
            Seed(
                "no forwarding",
                "registers.py",
                "is_result.eq(result.forward &",
                "is_result.eq(0 &",
            ),
            Seed(
                "no forwarding past the memory",
                "registers.py",
                "is_last.eq(last.valid &",
                "is_last.eq(0 &",
            ),
            Seed(
                "a register is read while nothing is taken",
                "registers.py",
                "read.en.eq(self.take)",
                "read.en.eq(1)",
            ),
            Seed(
                "one operand is another register",
                "controller.py",
                "registers.coming[port].eq(fetch.data[field])",
                "registers.coming[port].eq(fetch.data[16:21])",
            ),
        ),
        proven=False,
        cut=("dut_memory",),
        contracts={"dut_execute_traps": "trap_unit.sv"},
        defines={"CONTRACT": "assume"},
        timeout=1800,
    ),
    Proof(
        "core-pc",
        "core: every instruction stands where the one before it said, in order",
        _core,
        "core.sv core_order.sv",
        16,
        (
            Seed(
                "a wrong prediction is followed",
                "execute.py",
                "(c.branch & (taken ^ x.predicted))",
                "(c.branch & taken & ~x.predicted)",
            ),
            Seed(
                "what is behind a jump stays",
                "fetch.py",
                "self.redirect.valid | (follows & self.instruction.ready))",
                "self.redirect.valid)",
            ),
            Seed(
                "a word that the decoder has not taken is lost",
                "fetch.py",
                "~(arriving | follows))",
                "~follows)",
            ),
            Seed(
                "a word in whose place a load read is not read again",
                "fetch.py",
                "again.eq(again | (arriving & ~self.take))",
                "again.eq(again)",
            ),
            Seed(
                "a misaligned target is taken",
                "controller.py",
                "fetched.target[1] | fetched.target",
                "fetched.target",
            ),
        ),
        proven=False,
        cut=("dut_memory",),
        contracts={"dut_execute_traps": "trap_unit.sv"},
        defines={"CONTRACT": "assume"},
    ),
    Proof(
        "core-jump",
        "core: targets, conditions, links and traps of branches and jumps",
        _core,
        "core.sv core_jumps.sv",
        18,
        (
            Seed(
                "conditions are not inverted",
                "execute.py",
                "alu.equal) ^ funct3[0])",
                "alu.equal))",
            ),
            Seed(
                "BLTU compares signed numbers",
                "execute.py",
                "Mux(c.branch, funct3[1], funct3[0])",
                "funct3[0]",
            ),
            Seed(
                "JALR links to itself",
                "execute.py",
                "x.next[: self._width + 1]",
                "x.pc[: self._width + 1]",
            ),
        ),
        proven=False,
        cut=("dut_memory",),
        contracts={"dut_execute_traps": "trap_unit.sv"},
        defines={"CONTRACT": "assume"},
    ),
    Proof(
        "core-result",
        "core: results of all computing instructions",
        _core,
        "core.sv core_results.sv",
        14,
        (
            Seed(
                "SRA is SRL",
                "execute.py",
                "shifter.arithmetic.eq(x.word[23])",
                "shifter.arithmetic.eq(0)",
            ),
            Seed("every result holds the sum", "execute.py", "only(c.sum, alu.sum) |", "alu.sum |"),
        ),
        proven=False,
        cut=("dut_memory",),
        contracts={"dut_execute_traps": "trap_unit.sv"},
        defines={"CONTRACT": "assume"},
    ),
    Proof(
        "core-trap",
        "core: what must trap does, and leaves nothing behind",
        _core,
        "core.sv core_traps.sv",
        18,
        (
            Seed(
                "ECALL does nothing",
                "controller.py",
                "control.ecall | control.ebreak",
                "control.ebreak",
            ),
            Seed(
                "misaligned accesses are done",
                "loadstore.py",
                "(c.load | c.store) & (no_data | self.misaligned)",
                "(c.load | c.store) & no_data",
            ),
            Seed(
                "an access outside the memories is done",
                "loadstore.py",
                "(c.load | c.store) & (no_data | self.misaligned)",
                "(c.load | c.store) & self.misaligned",
            ),
        ),
        proven=False,
        cut=("dut_memory",),
        contracts={"dut_execute_traps": "trap_unit.sv"},
        defines={
            "CONTRACT": "assume",
            "PROGRAM_BYTES": 1024,
            "WINDOW_BYTES": 2048,
            "WINDOW_BASE": WINDOW_BASE,
        },
    ),
)
