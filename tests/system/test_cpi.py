"""Cycles per instruction of the controller's RTL on the program of a network."""

from pathlib import Path

import numpy as np
import pytest

import accel
from accel.config import PRESETS
from accel.image import Image
from accel.riscv import decode
from sim.devices.core import CoreSimulator

LIMIT = 1.3
"""Cycles per instruction that the issue loops may take."""


def program_of(image: Image) -> np.ndarray:
    """Return the words of the image's program."""
    first, count = image.program_address, 4 * image.program_words
    for segment in image.segments:
        if segment.address <= first < segment.address + len(segment.data):
            start = first - segment.address
            return np.frombuffer(segment.data[start : start + count], np.uint32)
    raise AssertionError("no segment holds the program")


@pytest.mark.parametrize("name", ["small", "base"])
def test_cycles_per_instruction_of_resnet8(name: str, models: Path) -> None:
    """Up to the first TWAIT, where code for the softmax follows the loops that issue commands.

    The engines take every command at once: what is counted is the controller's own time.
    """
    config = PRESETS[name]
    words = program_of(accel.compile_model(models / "models" / "resnet8_cifar10.tflite", config))
    core = CoreSimulator(
        multiply=config.multiply,
        program_bytes=config.program_bytes,
        window_bytes=config.scratchpad_bytes,
    )
    core.memory[: len(words)] = words
    core.load()
    records = core.run(cycles=1_000_000, records=100_000).records
    found = [decode(int(word)) for word in records["insn"]]
    names = [instruction[0].name for instruction in found if instruction is not None]
    end = names.index("twait")
    assert names[:end].count("tpush") > 100
    assert end > 1000
    cycles = int(records["cycle"][end - 1]) - int(records["cycle"][0]) + 1
    print(f"{name}: {cycles} cycles, {end} instructions, {cycles / end:.3f}")
    assert cycles <= LIMIT * end
