"""The host link's hardware in Verilator against the host's real code, on good and bad lines."""

import struct

import pytest

from accel.config import PRESETS
from accel.errors import DeviceError
from accel.gateware.export import emit_verilog
from accel.host.serial_device import SerialDevice, open_serial
from accel.host.serial_packets import Answer, PacketReader, Request, frame
from accel.protocol import MAX_WORDS, PROTOCOL_VERSION, Command, LinkStatus
from accel.regmap import address
from sim.serial_port import PseudoTerminal, SerialSimulation, SimulatedTransport, build_simulation
from tests.faultyline import KINDS, FaultyLine
from tests.gateware.linkbench import BASE, HOLE, MEMORY_BYTES, LinkBench
from tests.host.linkwork import LinkWork

CONFIG = PRESETS["test"]
BIT_CYCLES = 8
CLOCK_HZ = 1_000_000
BAUD = CLOCK_HZ // BIT_CYCLES
PATIENCE_BITS = 12


@pytest.fixture(scope="module")
def library():
    bench = LinkBench(clock_hz=CLOCK_HZ, baud=BAUD, patience_bits=PATIENCE_BITS)
    verilog = emit_verilog(bench, name="linkbench")
    return build_simulation(verilog, top="linkbench", name="the link's bench")


@pytest.fixture
def simulation(library):
    simulation = SerialSimulation(library, bit_cycles=BIT_CYCLES)
    yield simulation
    simulation.close()


def open_device(simulation, **lines):
    transport = SimulatedTransport(simulation, clock_hz=CLOCK_HZ, **lines)
    device = SerialDevice(CONFIG, transport, name="serial:rtl", baud=BAUD, seed=1)
    return device, transport


class Wire:
    """Raw bytes to the board, and the packets that come back."""

    def __init__(self, simulation):
        self._simulation = simulation
        self._reader = PacketReader()

    def __call__(self, content, cycles=20_000):
        self._simulation.push(content)
        packets = []
        end = self._simulation.cycles + cycles
        while self._simulation.cycles < end:
            packets += self._reader.feed(self._simulation.step(end - self._simulation.cycles))
        return [Answer.from_packet(packet) for packet in packets]

    def ask(self, sequence, command, address=0, **fields):
        request = Request(sequence=sequence, command=command, address=address, **fields)
        bits = 10 * (len(request.payload) + 4 * request.words)
        (answer,) = self(request.to_bytes(), cycles=20_000 + 2 * BIT_CYCLES * bits)
        assert (answer.sequence, answer.command) == (sequence, command)
        return answer


@pytest.fixture
def wire(simulation):
    """Return a line to a board that has been greeted with sequence number 0."""
    wire = Wire(simulation)
    early = wire.ask(0, Command.READ_MEMORY, BASE)
    assert (early.status, early.payload) == (LinkStatus.NO_SESSION, b"")
    assert wire.ask(0, Command.HELLO).status == LinkStatus.OK
    return wire


def test_everything_without_faults(simulation):
    device, _ = open_device(simulation)
    assert device.link.greeting.version == PROTOCOL_VERSION
    assert (device.link.greeting.clock_hz, device.link.greeting.bit_cycles) == (
        CLOCK_HZ,
        BIT_CYCLES,
    )
    assert (device.memory_base, device.memory_bytes) == (BASE, MEMORY_BYTES)
    for first in range(4):
        for length in (1, 2, 3, 4, 5, 8):
            content = bytes(0x7D + n % 3 + first for n in range(length))
            device.write_memory(BASE + 96, bytes(12))
            device.write_memory(BASE + 96 + first, content)
            expected = bytes(first) + content + bytes(12 - first - length)
            assert device.read_memory(BASE + 96, 12) == expected
    content = bytes(range(256)) * 5
    device.write_memory(BASE + 4001, content)
    assert device.read_memory(BASE + 4000, 1283) == b"\0" + content + b"\0\0"
    values = range(300)
    assert device.read_indexed(address("STAMP_INDEX"), values) == [3 * n + 1 for n in values]
    assert device.link.repeats == 0
    assert simulation.framing_errors == 0


def test_the_longest_payload(wire):
    content = bytes(range(256)) * 4
    fields = {"address": BASE + 4, "words": MAX_WORDS}
    answer = wire.ask(1, Command.WRITE_MEMORY, payload=content, **fields)
    assert (answer.status, answer.address) == (LinkStatus.OK, BASE + 4 + 1024)
    assert wire.ask(2, Command.READ_MEMORY, **fields).payload == content


def test_wait_ends_with_the_interrupt(simulation):
    device, _ = open_device(simulation)
    device.write_register(address("CONTROL"), 30_000)
    start = simulation.cycles
    device.wait(100_000)
    # Ten slices of patience, and a few hundred cycles of line between two of them.
    assert 25_000 < simulation.cycles - start < 33_000
    device.wait(1)
    device.write_register(address("CONTROL"), 0)
    with pytest.raises(DeviceError, match="serial:rtl: no interrupt within 20000 cycles"):
        device.wait(20_000)


def test_wait_ends_when_the_host_speaks(wire):
    waiting = Request(sequence=1, command=Command.WAIT).to_bytes()
    (answer,) = wire(waiting + b"\x7e", cycles=3500)
    assert answer.status == LinkStatus.PENDING
    assert wire.ask(2, Command.READ_REGISTERS, address("STATUS")).status == LinkStatus.OK


def test_bus_errors(simulation):
    device, _ = open_device(simulation)
    cause = address("CAUSE")
    with pytest.raises(DeviceError, match=f"READ_REGISTERS at {cause:#x}: the bus answers with an"):
        device.read_register(cause)
    with pytest.raises(DeviceError, match=f"WRITE_REGISTERS at {cause:#x}: the bus answers with"):
        device.write_register(cause, 1)
    with pytest.raises(DeviceError, match=rf"READ_MEMORY at {HOLE:#x}: .*\(SLVERR\)"):
        device.read_memory(HOLE - 16, 64)
    with pytest.raises(DeviceError, match=rf"WRITE_MEMORY at {HOLE:#x}: .*\(SLVERR\)"):
        device.write_memory(HOLE - 16, b"x" * 64)
    assert device.read_memory(HOLE - 16, 16) == b"x" * 16
    assert device.read_memory(HOLE + 8, 8) == bytes(8)
    device.memory_bytes *= 2
    with pytest.raises(DeviceError, match=r"READ_MEMORY at .*: there is nothing .*\(DECERR\)"):
        device.read_memory(BASE + MEMORY_BYTES, 4)


def test_a_memory_that_falls_silent(simulation):
    device, _ = open_device(simulation)
    device.write_register(address("MEMORY_BASE"), 0)
    for _ in range(2):
        with pytest.raises(DeviceError, match="WRITE_MEMORY at .*: the board's bus does not answ"):
            device.write_memory(BASE, b"1234")
    # The registers are still there.
    device.write_register(address("CONTROL"), 1)
    assert device.read_register(address("EXIT_CODE")) == 1
    with pytest.raises(DeviceError, match="READ_MEMORY at .*: the board's bus does not answer"):
        device.read_memory(BASE, 4)
    assert device.link.repeats == 0


def test_requests_that_make_no_sense(wire):
    for number in {*range(16), 0x45, 0x80, 0xFF} - set(Command):
        header = struct.pack("<BBBBI", 1, number, 0, 0xFF, BASE)
        (answer,) = wire(frame(header))
        assert (answer.command, answer.status) == (number & 0x7F, LinkStatus.MALFORMED)
    payload = bytes(8)
    for command, words, length in (
        (Command.READ_MEMORY, 1, 4),
        (Command.WRITE_MEMORY, 1, 0),
        (Command.WRITE_MEMORY, 1, 8),
        (Command.WRITE_MEMORY, 3, 8),
        (Command.HELLO, 1, 4),
        (Command.WAIT, 1, 4),
    ):
        answer = wire.ask(1, command, BASE, words=words, payload=payload[:length])
        assert answer.status == LinkStatus.MALFORMED, (command, words, length)
    # Longer than any: the end of it goes nowhere.
    longest = bytes(range(256)) * 4
    for extra in (4, 1016, 2048):
        request = Request(
            sequence=1,
            command=Command.WRITE_MEMORY,
            words=MAX_WORDS,
            payload=longest + bytes(extra),
        )
        (answer,) = wire(request.to_bytes(), cycles=300_000)
        assert answer.status == LinkStatus.MALFORMED
    assert wire.ask(1, Command.READ_MEMORY, BASE).payload == bytes(4)


def test_damaged_packets_are_not_answered(wire):
    good = Request(sequence=1, command=Command.WRITE_MEMORY, address=BASE, payload=b"abcd")
    line = good.to_bytes()
    for at in range(1, len(line) - 1):
        damaged = bytearray(line)
        damaged[at] ^= 1 << at % 8
        assert wire(bytes(damaged), cycles=4000) == []
    assert wire(b"\x7e\x7d\x7e\x7e\x7d\x7d\x7e\x7e" + bytes(11) + b"\x7e", cycles=4000) == []
    # Nothing was written, and the next one is heard at once: flags may be shared.
    assert wire.ask(2, Command.READ_MEMORY, BASE).payload == bytes(4)
    answers = wire(line[:9] + good.to_bytes()[:-1] + b"\x7e\x7e")
    assert [answer.status for answer in answers] == [LinkStatus.OK]
    assert wire.ask(2, Command.READ_MEMORY, BASE).payload == b"abcd"


def test_repeated_writes_are_done_once(wire):
    word = struct.pack("<I", 5)
    for sequence in (7, 8):
        for repeated in (False, True, True):
            answer = wire.ask(sequence, Command.WRITE_REGISTERS, address("CONTROL"), payload=word)
            assert (answer.status, answer.repeated) == (LinkStatus.OK, repeated)
    assert wire.ask(9, Command.READ_REGISTERS, address("EXIT_CODE")).payload == b"\2\0\0\0"
    # The error is remembered, too.
    for repeated in (False, True):
        answer = wire.ask(10, Command.WRITE_REGISTERS, address("CAUSE"), payload=word)
        assert (answer.status, answer.repeated) == (LinkStatus.SUBORDINATE_ERROR, repeated)
    # Another request, or another session, makes it a new one.
    wire.ask(11, Command.READ_REGISTERS, address("STATUS"))
    assert not wire.ask(10, Command.WRITE_REGISTERS, address("CONTROL"), payload=word).repeated
    wire.ask(12, Command.HELLO)
    assert not wire.ask(10, Command.WRITE_REGISTERS, address("CONTROL"), payload=word).repeated


def spoil(simulation, kind, faults):
    # The board says a byte at a time, the host a packet.
    lines = [FaultyLine(kind, seed=seed, chance=chance) for seed, chance in ((1, 0.2), (2, 0.003))]
    device, transport = open_device(simulation, to_board=lines[0], from_board=lines[1])
    work = LinkWork(device, transport.now, seed=3, largest=100)
    while min(line.faults for line in lines) < faults:
        work.step()
    for line in lines:
        line.chance = 0.0
    work.check()
    assert work.errors <= 1 + faults // 20


@pytest.mark.parametrize("kind", KINDS)
def test_faults_change_nothing(simulation, kind):
    spoil(simulation, kind, 8)


@pytest.mark.full
@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_faults_change_nothing(simulation, kind):
    spoil(simulation, kind, 500)


def test_through_a_pseudo_terminal(library):
    lines = [
        FaultyLine("mixed", seed=seed, chance=chance) for seed, chance in ((1, 0.2), (2, 0.01))
    ]
    simulation = SerialSimulation(library, bit_cycles=BIT_CYCLES)
    with PseudoTerminal(simulation, to_board=lines[0], from_board=lines[1]) as terminal:
        with open_serial(f"serial:{terminal.path}:{BAUD}", CONFIG) as device:
            work = LinkWork(device, lambda: 0.0, seed=3, largest=100)
            while sum(line.faults for line in lines) < 12:
                work.step()
            for line in lines:
                line.chance = 0.0
            work.check()
