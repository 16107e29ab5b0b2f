"""How much of an SDRAM's bandwidth passes; the figures that docs/memory.md quotes.

    .venv/bin/python scripts/memory.py [--part P] [--clock MHZ] [--config C [--networks] [MODEL ...]]

First bursts made up for the purpose, on the controller alone: the share of all cycles in which a
word passes on the data pins. With --config also whole networks, the accelerator's RTL behind the
controller's, the first inference and a later one, which finds weights on the chip: the share of
the cycles in which a burst is outstanding. With --networks only these. The networks are MODEL, or
those in the directory that ACCEL_MODELS names. All in Verilator, with the strict model of the part.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import accel
from accel.errors import AccelError
from accel.gateware.sdram_parts import PARTS, SdramPart
from accel.host.driver import Driver
from accel.host.inputs import random_inputs
from sim.devices.sdramdevice import SdramDevice
from sim.devices.sdramport import SdramPort, Transfer

TOTAL = 1 << 18  # bytes read or written by a pattern
NETWORKS = ("resnet8_cifar10", "kws_dscnn", "vww_mobilenetv1_96", "ad_toycar_fc")


def patterns(bus_bytes: int, part: SdramPart) -> Iterator[tuple[str, list[Transfer]]]:
    """Return named lists of bursts."""
    rng = np.random.default_rng(0)

    def burst(address: int, size: int, write: bool) -> Transfer:
        data = rng.integers(0, 256, size, np.uint8) if write else None
        return Transfer(address, size // bus_bytes, data)

    sizes = [size for size in (64, 256, 1024, 2048, 4096) if size <= 256 * bus_bytes]
    for write in (False, True):
        for size in sizes:
            bursts = [burst(at, size, write) for at in range(0, TOTAL, size)]
            yield f"sequential {'writes' if write else 'reads'} of {size} B", bursts
    for reads, writes in ((256, 256), (1024, 256), (1024, 1024)):
        count = TOTAL // (reads + writes)
        mixed = []
        for i in range(count):
            mixed += [burst(i * reads, reads, False), burst(TOTAL + i * writes, writes, True)]
        yield f"reads of {reads} B beside writes of {writes} B", mixed
    for size in (64, 256):
        places = rng.integers(0, part.bytes // 4096, TOTAL // size) * 4096
        yield f"reads of {size} B from anywhere", [burst(int(p), size, False) for p in places]


def measure_patterns(part: SdramPart, clock: float, data_bits: int) -> None:
    """Print a line per pattern."""
    port = SdramPort(part, clock, data_bits=data_bits)
    for name, bursts in patterns(data_bits // 8, part):
        print(f"{name:40} {port.run(bursts).efficiency:7.1%}", flush=True)


def measure_networks(
    part: SdramPart, clock: float, config: accel.Config, models: list[Path]
) -> None:
    """Print a line per network; its outputs must be the golden machine's."""
    with SdramDevice(config, part=part, clock_mhz=clock) as device:
        for path in models:
            image = accel.compile_model(path, config)
            samples = random_inputs(image.inputs, 0, 2)
            stacked = [np.stack(values) for values in zip(*samples, strict=True)]
            golden = accel.run(image, stacked, device="model")
            driver = Driver(device)
            driver.load_image(image)
            for number, inputs in enumerate(samples):
                before = device.use
                outputs, stats = driver.run(inputs)
                after = device.use
                words = int(after.counts.data_words) - int(before.counts.data_words)
                busy = after.busy_cycles - before.busy_cycles
                for ours, theirs in zip(outputs, golden.outputs, strict=True):
                    if not np.array_equal(ours.reshape(-1), theirs[number].reshape(-1)):
                        raise AccelError(f"{path.stem}: the outputs are not the golden machine's")
                print(
                    f"{path.stem:20} {'later' if stats.resident else 'first'} "
                    f"{stats.cycles:>9,} cycles {1e-3 * stats.cycles / clock:7.3f} ms "
                    f"{words:>9,} words in {busy:>9,} cycles {words / busy:6.1%}",
                    flush=True,
                )
                if image.resident is None:
                    break


def main() -> int:
    """Measure; 2 when something cannot be built."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", default="IS42S16160G-7", choices=PARTS)
    parser.add_argument("--clock", type=float, default=100.0, metavar="MHZ")
    parser.add_argument("--data-bits", type=int, default=64, choices=(32, 64, 128))
    parser.add_argument("--config", help="preset or TOML file for whole networks")
    parser.add_argument("--networks", action="store_true", help="no made up bursts")
    parser.add_argument("models", nargs="*", type=Path)
    options = parser.parse_args()
    part = PARTS[options.part]
    try:
        if not options.networks:
            measure_patterns(part, options.clock, options.data_bits)
        if options.config:
            models = options.models
            if not models:
                directory = Path(os.environ.get("ACCEL_MODELS", "")) / "models"
                models = [directory / f"{name}.tflite" for name in NETWORKS]
            config = accel.Config.load(options.config)
            measure_networks(part, options.clock, config, models)
    except AccelError as error:
        print(f"memory: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
