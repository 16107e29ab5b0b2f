"""The burst monitor sees every burst that breaks a rule."""

import pytest

from sim.benches.bursts import BurstError, BurstMonitor

INCR = 1


def monitor(in_flight=None):
    return BurstMonitor("read", 8, in_flight)


@pytest.mark.parametrize(
    ("address", "beats"), [(0x1000, 256), (0x1800, 256), (0x1FF8, 1), (0xFFFF_F800, 256)]
)
def test_accepts_good_bursts(address, beats):
    watch = monitor()
    watch.address(address, beats - 1, 3, INCR)
    for i in range(beats):
        watch.beat(i == beats - 1)
    watch.done()
    assert watch.idle()
    assert (watch.bursts, watch.beats) == (1, beats)


@pytest.mark.parametrize(
    ("address", "beats", "size", "burst", "message"),
    [
        (0x1000, 257, 3, INCR, "burst of 257 beats at 0x1000: more than 256 beats"),
        (0x1FF8, 2, 3, INCR, "burst of 2 beats at 0x1ff8: crosses 4 KiB"),
        (0x1808, 256, 3, INCR, "burst of 256 beats at 0x1808: crosses 4 KiB"),
        (0x1004, 1, 3, INCR, "not aligned to the bus"),
        (0x1000, 1, 2, INCR, "size 2 is not the bus width"),
        (0x1000, 1, 3, 0, "not INCR"),
        (0x1000, 1, 3, 2, "not INCR"),
    ],
)
def test_refuses_bad_addresses(address, beats, size, burst, message):
    with pytest.raises(BurstError, match=message):
        monitor().address(address, beats - 1, size, burst)


def test_refuses_a_data_burst_that_never_ends():
    watch = monitor()
    for _ in range(256):
        watch.beat(False)
    with pytest.raises(BurstError, match="data burst of more than 256 beats"):
        watch.beat(False)


@pytest.mark.parametrize("address_first", [False, True])
def test_refuses_last_on_another_beat(address_first):
    watch = monitor()
    steps = [
        lambda: watch.address(0x1000, 3, 3, INCR),
        lambda: [watch.beat(False), watch.beat(True)],
    ]
    steps = steps if address_first else steps[::-1]
    steps[0]()
    with pytest.raises(BurstError, match="burst of 4 beats had 2"):
        steps[1]()


def test_refuses_a_missing_last():
    watch = monitor()
    watch.address(0x1000, 1, 3, INCR)
    watch.beat(False)
    with pytest.raises(BurstError, match="burst of 2 beats: no last on the last one"):
        watch.beat(False)


def test_refuses_too_many_in_flight():
    watch = monitor(in_flight=2)
    watch.address(0x1000, 0, 3, INCR)
    watch.address(0x2000, 0, 3, INCR)
    with pytest.raises(BurstError, match="more than 2 bursts in flight"):
        watch.address(0x3000, 0, 3, INCR)


def test_unfinished_bursts_are_not_idle():
    watch = monitor()
    watch.address(0x1000, 0, 3, INCR)
    watch.beat(True)
    assert not watch.idle()
