"""Prints what the host link can carry, and how long it takes to load networks (docs/link.md).

Computed from the protocol: nothing is measured but the networks' sizes. Arguments: .tflite files.
"""

import argparse
from pathlib import Path

import accel
from accel.host.serial_link import payload_words
from accel.host.serial_packets import Request
from accel.protocol import Command

BAUDS = (115_200, 921_600, 1_000_000, 2_000_000, 3_000_000)

TURN_SECONDS = 1e-3
"""From the last byte of a packet to the first of the next: a frame of full-speed USB."""

ESCAPED = 1 + 2 / 256
"""Bytes on the line for each of random data."""


def packet_seconds(baud: int, payload: int) -> float:
    """Return the time of a packet with so many bytes of random payload, and of one without."""
    empty = len(Request(sequence=0, command=Command.WRITE_MEMORY).to_bytes())
    return 10 * (2 * empty + payload * ESCAPED) / baud + 2 * TURN_SECONDS


def rate(baud: int) -> float:
    """Return the bytes of memory per second, read or written."""
    payload = 4 * payload_words(baud)
    return payload / packet_seconds(baud, payload)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--config", default="base")
    args = parser.parse_args()
    print("| baud | payload | bytes/s | of the line | a register |")
    print("|---:|---:|---:|---:|---:|")
    for baud in BAUDS:
        share = rate(baud) / (baud / 10)
        register = 1e3 * packet_seconds(baud, 4)
        print(
            f"| {baud:,} | {4 * payload_words(baud)} | {rate(baud):,.0f} | {share:.0%} "
            f"| {register:.1f} ms |"
        )
    if not args.models:
        return
    print(f"\n| network | bytes ({args.config}) | {' | '.join(f'{b:,}' for b in BAUDS)} |")
    print("|---|---:" + "|---:" * len(BAUDS) + "|")
    for model in args.models:
        image = accel.compile_model(model, args.config)
        size = sum(len(segment.data) for segment in image.segments)
        times = " | ".join(f"{size / rate(baud):.2f} s" for baud in BAUDS)
        print(f"| {model.stem} | {size:,} | {times} |")


if __name__ == "__main__":
    main()
