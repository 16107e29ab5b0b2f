"""The SDRAM model reports every broken rule by its name, and keeps data as a part does."""

import dataclasses

import numpy as np
import pytest

from accel.gateware.sdram_parts import PARTS
from sim.devices.sdram import SdramModel, SdramParameters

# Times in cycles at 100 MHz: rcd 2, rp 2, ras 5, rc 7, rfc 7, rrd 2, wr 2, mrd 2.
PART = dataclasses.replace(PARTS["IS42S16160G-7"], row_bits=4)
MHZ = 100.0
INIT = 500  # edges of the initial wait
ALL = 1 << 10
COMMANDS = {
    "active": {"ras_n": 0},
    "read": {"cas_n": 0},
    "write": {"cas_n": 0, "we_n": 0},
    "precharge": {"ras_n": 0, "we_n": 0},
    "refresh": {"ras_n": 0, "cas_n": 0},
    "mode": {"ras_n": 0, "cas_n": 0, "we_n": 0},
    "stop": {"we_n": 0},
}


class Driver:
    """Sends commands, waits in between, and remembers what the part drove."""

    def __init__(self, clock_mhz=MHZ, **figures):
        part = dataclasses.replace(PART, **figures)
        parameters = SdramParameters.of(part, clock_mhz, init_us=INIT / clock_mhz)
        self.model = SdramModel(parameters)
        self.words = []

    def send(self, name="nop", wait=0, **pins):
        """Pass one edge with a command and `wait` edges behind it."""
        self.words.append(self.model.clock(**{**COMMANDS.get(name, {}), **pins}))
        for _ in range(wait):
            self.words.append(self.model.clock(dqm=pins.get("dqm", 0)))

    def start(self, *, wait=INIT, mode=0x22, skip=(), refreshes=8):
        """Initialise: bursts of 4, CAS latency 2."""
        self.model.idle(wait, dqm=3)
        if "precharge" not in skip:
            self.send("precharge", 1, a=ALL, dqm=3)
        for _ in range(refreshes):
            self.send("refresh", 6, dqm=3)
        if "mode" not in skip:
            self.send("mode", 1, a=mode, dqm=3)
        return self

    def write(self, column, words, *, wait=0, bank=0, masks=(0, 0, 0, 0)):
        for i, (word, mask) in enumerate(zip(words, masks, strict=True)):
            where = {"a": column, "ba": bank} if i == 0 else {}
            self.send("write" if i == 0 else "nop", 0, dq=word, dq_oe=1, dqm=mask, **where)
        self.send(wait=wait - 1) if wait else None

    def rule(self):
        return self.model.error.partition(":")[0]


def started(**options):
    return Driver().start(**options)


def test_data_pass():
    driver = started()
    driver.send("active", 1, ba=2, a=5)
    driver.write(8, [0x1122, 0x3344, 0x5566, 0x7788], bank=2)
    driver.words.clear()
    driver.send("read", 6, ba=2, a=10)  # wraps in its four words
    assert driver.rule() == ""
    assert driver.words == [None, 0x5566, 0x7788, 0x1122, 0x3344, None, None]
    place = ((5 << 2 | 2) << 9 | 8) * 2
    assert driver.model.memory[place : place + 4].tolist() == [0x22, 0x11, 0x44, 0x33]


def test_masks():
    driver = started()
    driver.send("active", 1)
    driver.write(0, [0xFFFF] * 4, wait=1)
    driver.write(0, [0, 0, 0, 0], masks=(1, 2, 3, 0))
    assert driver.model.memory[:8].tolist() == [255, 0, 0, 255, 255, 255, 0, 0]
    driver.words.clear()
    driver.send("read", 0)
    driver.send(dqm=3)  # masks the second word
    driver.send(wait=3)
    assert driver.words[1] == 0x00FF and driver.words[2] is None and driver.words[3] == 0xFFFF
    assert driver.rule() == ""


def test_cas_latency_3():
    driver = started(mode=0x32)
    driver.send("active", 1)
    driver.words.clear()
    driver.send("read", 6)
    assert [word is None for word in driver.words] == [True, True, *[False] * 4, True]
    assert driver.rule() == ""


def _init_wait(d):
    d.start(wait=INIT - 20)


def _no_precharge(d):
    d.start(skip=("precharge",))


def _few_refreshes(d):
    d.start(refreshes=7).send("active", dqm=3)


def _no_mode(d):
    d.start(skip=("mode",)).send("active", dqm=3)


def _access_in_init(d):
    d.start(skip=("mode",)).send("read", dqm=3)


def _dqm_in_init(d):
    d.model.idle(10, dqm=0)


def _mode_too_soon(d):
    d.start(skip=("mode",))
    d.send("mode", a=0x22, dqm=3)
    d.send("active")


def _bad_mode(d):
    d.start(mode=0x2A)


def _mode_with_open_row(d):
    d.start().send("active", 9)
    d.send("mode", a=0x22)


def _rcd(d):
    d.start().send("active")
    d.send("read")


def _rp(d):
    d.start().send("active", 6)
    d.send("precharge")
    d.send("active")


def _rp_refresh(d):
    d.start().send("active", 6)
    d.send("precharge")
    d.send("refresh")


def _ras(d):
    d.start().send("active", 3)
    d.send("precharge")


def _rfc(d):
    d.start().send("refresh", 5)
    d.send("active")


def _rrd(d):
    d.start().send("active")
    d.send("active", ba=1)


def _wr(d):
    d.start().send("active", 1)
    d.write(0, [0] * 4)
    d.send("precharge")


def _refresh_interval(d):
    d.start().model.idle(782 * 9)


def _closed_row(d):
    d.start().send("read")


def _closed_bank(d):
    d.start().send("active", 1)
    d.send("write", ba=3, dq_oe=1)


def _open_twice(d):
    d.start().send("active", 9)
    d.send("active", a=1)


def _refresh_with_open_row(d):
    d.start().send("active", 9)
    d.send("refresh")


def _contention(d):
    d.start().send("active", 1)
    d.send("read", 2)
    d.send(dq_oe=1)


def _turnaround(d):
    d.start().send("active", 1)
    d.send("read", 5)
    d.write(0, [0] * 4)


def _no_write_data(d):
    d.start().send("active", 1)
    d.send("write")


def _read_cut_off(d):
    d.start().send("active", 1)
    d.send("read", 2)
    d.send("read")


def _precharge_in_read(d):
    d.start().send("active", 5)
    d.send("read", 2)
    d.send("precharge")


def _precharge_in_write(d):
    d.start().send("active", 5)
    d.send("write", 0, dq_oe=1)
    d.send("precharge", dq_oe=1)


def _auto_precharge(d):
    d.start().send("active", 1)
    d.send("read", a=ALL)


def _burst_stop(d):
    d.start().send("stop")


def _clock_disabled(d):
    d.start().send(cke=0)


VIOLATIONS = [
    (_init_wait, "init_wait"),
    (_no_precharge, "init_order"),
    (_few_refreshes, "init_order"),
    (_no_mode, "init_order"),
    (_access_in_init, "init_order"),
    (_dqm_in_init, "DQM"),
    (_mode_too_soon, "tMRD"),
    (_bad_mode, "mode"),
    (_mode_with_open_row, "bank_state"),
    (_rcd, "tRCD"),
    (_rp, "tRP"),
    (_rp_refresh, "tRP"),
    (_ras, "tRAS"),
    (_rfc, "tRFC"),
    (_rrd, "tRRD"),
    (_wr, "tWR"),
    (_refresh_interval, "tREFI"),
    (_closed_row, "closed_row"),
    (_closed_bank, "closed_row"),
    (_open_twice, "bank_state"),
    (_refresh_with_open_row, "bank_state"),
    (_contention, "contention"),
    (_turnaround, "turnaround"),
    (_no_write_data, "write_data"),
    (_read_cut_off, "burst"),
    (_precharge_in_read, "burst"),
    (_precharge_in_write, "burst"),
    (_auto_precharge, "command"),
    (_burst_stop, "command"),
    (_clock_disabled, "CKE"),
]


@pytest.mark.parametrize(
    ("breach", "rule"), VIOLATIONS, ids=[breach.__name__.lstrip("_") for breach, _ in VIOLATIONS]
)
def test_violation(breach, rule):
    driver = Driver()
    breach(driver)
    assert driver.rule() == rule


def test_row_cycle():
    # With this part's numbers tRAS and tRP imply tRC.
    driver = Driver(rc_ns=80.0).start()
    driver.send("active", 4)
    driver.send("precharge", 1)
    driver.send("active")
    assert driver.rule() == "tRC"


def test_row_open_too_long():
    driver = Driver(ras_max_us=50.0).start()
    driver.send("active")
    driver.model.idle(5000)
    assert driver.rule() == ""
    driver.model.idle(1)
    assert driver.rule() == "tRAS_max"


@pytest.mark.parametrize(("cas", "rule"), [(2, "cas_latency"), (3, "")])
def test_cas_latency_for_the_clock(cas, rule):
    driver = Driver(clock_mhz=140.0)
    driver.model.idle(INIT + 1, dqm=3)
    driver.send("precharge", 3, a=ALL, dqm=3)
    for _ in range(8):
        driver.send("refresh", 11, dqm=3)
    driver.send("mode", 2, a=cas << 4 | 2, dqm=3)
    assert driver.rule() == rule


def test_the_least_distances_are_legal():
    driver = started()
    driver.send("active", 1)
    driver.send("active", 1, ba=1)
    driver.send("read", 3)
    driver.send("read", 3, ba=1)
    driver.send("precharge", 0)
    driver.send("nop")
    driver.send("active", 1, a=3)
    driver.write(0, [1, 2, 3, 4])
    driver.send("nop")
    driver.send("precharge", 1, a=ALL)
    driver.send("refresh", 6)
    driver.send("active", 1, ba=2)
    assert driver.rule() == ""
    assert driver.model.memory.view(np.uint16)[3 << 11 : (3 << 11) + 4].tolist() == [1, 2, 3, 4]
