"""The serial device against a model of the board, on good lines and on bad ones."""

import os
import pty

import numpy as np
import pytest

from accel.config import PRESETS
from accel.errors import DeviceError
from accel.host.serial_device import SerialDevice, is_serial, open_serial
from accel.host.serial_transport import SerialTransport
from accel.protocol import Command, LinkStatus
from accel.regmap import address
from tests.faultyline import KINDS, FaultyLine
from tests.host.boardmodel import BASE, BAUD, MEMORY_BYTES, BoardModel, ModelTransport
from tests.host.linkwork import LinkWork

CONFIG = PRESETS["test"]


def open_model(board, *, baud=BAUD, seed=1, **lines):
    transport = ModelTransport(board, **lines)
    return SerialDevice(CONFIG, transport, name="serial:model", baud=baud, seed=seed), transport


def test_memory_of_any_place_and_length():
    board = BoardModel()
    device, _ = open_model(board)
    assert (device.memory_base, device.memory_bytes) == (BASE, MEMORY_BYTES)
    expected = bytearray(MEMORY_BYTES)
    for first in range(5):
        for length in [*range(10), 1023, 1024, 1025, 3000]:
            content = bytes((first + n) % 256 for n in range(length))
            device.write_memory(BASE + 64 + first, content)
            expected[64 + first : 64 + first + length] = content
            assert board.memory == expected
            assert device.read_memory(BASE + 64 + first, length) == content
    device.write_memory(BASE, np.arange(6, dtype=np.int16).reshape(2, 3))
    assert device.read_memory(BASE, 12) == np.arange(6, dtype=np.int16).tobytes()
    assert device.link.repeats == 0


def test_packets_are_short_where_the_rate_is_low():
    for baud, words in ((3_000_000, 256), (115_200, 72), (9600, 64)):
        device, _ = open_model(BoardModel(), baud=baud)
        assert device.link.payload_words == words


def test_what_is_not_there():
    device, _ = open_model(BoardModel())
    with pytest.raises(DeviceError, match=r"4 bytes at 0x40001ffd are outside the memory"):
        device.read_memory(BASE + MEMORY_BYTES - 3, 4)
    with pytest.raises(DeviceError, match="outside the memory"):
        device.write_memory(BASE - 1, b"x")
    for access in (device.read_register, lambda offset: device.write_register(offset, 0)):
        with pytest.raises(DeviceError, match="serial:model: there is no register at 0xabc"):
            access(0xABC)


def test_registers():
    device, _ = open_model(BoardModel())
    device.write_register(address("MEMORY_BASE"), -1)
    assert device.read_register(address("MEMORY_BASE")) == 0xFFFFFFFF
    values = range(600)
    assert device.read_indexed(address("STAMP_INDEX"), values) == [3 * n + 1 for n in values]
    assert device.read_indexed(address("STAMP_INDEX"), []) == []


def test_wait():
    board = BoardModel()
    device, _ = open_model(board)
    board.irq_after = 3
    device.wait(10 * 100_000)
    board.irq_after = 100
    with pytest.raises(DeviceError, match="serial:model: no interrupt within 250000 cycles"):
        device.wait(250_000)
    assert board.irq_after == 97


@pytest.mark.parametrize("kind", [*KINDS, "mixed"])
def test_faults_change_nothing(kind):
    faults = 500
    board = BoardModel()
    lines = [FaultyLine(kind, seed=seed, chance=0.15) for seed in (1, 2)]
    device, transport = open_model(board, to_board=lines[0], from_board=lines[1])
    work = LinkWork(device, transport.now, seed=3)
    while min(line.faults for line in lines) < faults:
        work.step()
    for line in lines:
        line.chance = 0.0
    work.check()
    assert work.errors < 10
    # Each was worth something: with the board's word for it that it had been done, or without.
    assert device.link.repeats > 0 or kind in ("duplicated", "delayed", "inserted")


@pytest.mark.parametrize("kind", ["lost", "flipped", "cut off"])
def test_a_dead_line_is_an_error_in_five_seconds(kind):
    lines = [FaultyLine(kind, seed=seed, chance=0.0) for seed in (1, 2)]
    device, transport = open_model(BoardModel(), to_board=lines[0], from_board=lines[1])
    lines[1].chance = 1.0
    start = transport.now()
    with pytest.raises(DeviceError, match=r"stopped answering \(WRITE_MEMORY, 6 attempts\): look"):
        device.write_memory(BASE, bytes(1024))
    assert 0.5 < transport.now() - start < 5
    start = transport.now()
    with pytest.raises(DeviceError, match="no answer at 1000000 baud: is this the board's port"):
        open_model(BoardModel(), to_board=lines[1])
    assert transport.now() - start < 5


def test_writes_are_done_once():
    board = BoardModel()
    # Every answer comes after the host has asked again.
    line = [0.0]
    device, _ = open_model(board, from_board=lambda content: [(line[0], content)])
    line[0] = 0.2
    for _ in range(20):
        device.write_register(address("CONTROL"), 1)
    assert board.controls == 20
    assert device.link.repeats >= 20
    assert len(board.done) == 20


def test_a_new_session_repeats_nothing():
    board = BoardModel()
    for seed in range(40):
        device, _ = open_model(board, seed=seed % 4)
        device.write_register(address("CONTROL"), 1)
    assert board.controls == 40


def test_256_reads_do_not_make_a_write_old():
    board = BoardModel()
    device, _ = open_model(board)
    device.write_register(address("CONTROL"), 1)
    for _ in range(255):
        device.read_register(address("STATUS"))
    device.write_register(address("CONTROL"), 1)
    assert board.controls == 2


def test_a_board_that_was_reset():
    device, transport = open_model(BoardModel())
    transport.board = BoardModel()
    with pytest.raises(DeviceError, match="READ_REGISTERS at 0x14: the board was reset meanwhile"):
        device.read_register(address("STATUS"))


def test_another_version():
    board = BoardModel()
    board.version = 7
    with pytest.raises(DeviceError, match="version 7 of the link's protocol, this software 2: bui"):
        open_model(board)


def test_an_unknown_error():
    board = BoardModel()
    device, _ = open_model(board)
    board._access = lambda *_: b""
    board._say, say = (lambda *a: say(*a[:3], 99, a[4])), board._say
    with pytest.raises(DeviceError, match="WRITE_MEMORY at 0x40000000: error 99"):
        device.write_memory(BASE, b"1234")
    assert LinkStatus.NO_SESSION in list(LinkStatus) and Command.WAIT == 8


def test_names():
    assert is_serial("serial:COM3") and not is_serial("verilator")
    with pytest.raises(DeviceError, match="serial: names no port: use serial:PORT, as in"):
        open_serial("serial:", CONFIG)
    with pytest.raises(DeviceError, match="serial:/dev/x:0: the baud rate must be at least 1"):
        open_serial("serial:/dev/x:0", CONFIG)


def test_no_such_port(tmp_path):
    with pytest.raises(DeviceError, match=f"there is no serial port {tmp_path}/tty; found here: "):
        open_serial(f"serial:{tmp_path}/tty", CONFIG)


def test_no_permission(monkeypatch):
    def refuse(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("serial.Serial", refuse)
    with pytest.raises(DeviceError, match=r"no permission to open /dev/ttyS9: add your user to"):
        open_serial("serial:/dev/ttyS9:115200", CONFIG)


def test_what_is_no_port(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DeviceError, match="cannot open serial port .*file: "):
        open_serial(f"serial:{tmp_path}/file", CONFIG)


@pytest.fixture
def terminal():
    """Return a pseudo-terminal's far end, and the path of the other."""
    master, slave = pty.openpty()
    yield master, os.ttyname(slave)
    os.close(slave)


def test_a_port_in_use(terminal):
    master, path = terminal
    first = SerialTransport(path, 1_000_000)
    with pytest.raises(DeviceError, match=f"serial port {path} is in use by another program"):
        SerialTransport(path, 1_000_000)
    first.close()
    os.close(master)


def test_a_port_where_nobody_answers(terminal):
    master, path = terminal
    with pytest.raises(DeviceError, match=f"serial:{path}: no answer at 3000000 baud"):
        open_serial(f"serial:{path}:3000000", CONFIG)
    os.close(master)


def test_a_port_that_goes_away(terminal):
    master, path = terminal
    transport = SerialTransport(path, 1_000_000)
    os.write(master, b"hello")
    assert transport.read(1.0) == b"hello"
    assert transport.read(0.01) == b""
    os.close(master)
    with pytest.raises(DeviceError, match="does not work any more .*: is the board still plugged"):
        transport.read(1.0)
    transport.close()
