"""Makes ELF files of assembled programs."""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path


def write_elf(
    path: Path,
    words: Sequence[int],
    symbols: Mapping[str, int],
    *,
    base: int = 0x80000000,
    entry: int | None = None,
    machine: int = 243,
    kind: int = 2,
    extra_bytes: int = 0,
) -> Path:
    """Write a file with one loadable segment; `extra_bytes` of zeros follow in memory."""
    code = struct.pack(f"<{len(words)}I", *words)
    names = b"\0"
    entries = bytes(16)
    for name, value in symbols.items():
        entries += struct.pack("<IIIBBH", len(names), value, 0, 0x10, 0, 0xFFF1)
        names += name.encode() + b"\0"
    section_names = b"\0.symtab\0.strtab\0.shstrtab\0"
    offset = 52 + 32
    parts, places = [code, entries, names, section_names], []
    for part in parts:
        places.append(offset)
        offset += len(part)
    ident = b"\x7fELF" + bytes([1, 1, 1]) + bytes(9)
    start = base if entry is None else entry
    header = ident + struct.pack(
        "<HHIIIIIHHHHHH", kind, machine, 1, start, 52, offset, 0, 52, 32, 1, 40, 4, 3
    )
    segment = struct.pack("<8I", 1, places[0], base, base, len(code), len(code) + extra_bytes, 7, 4)
    sections = bytes(40)
    for name, number, section_kind, link, size in (
        (1, 1, 2, 2, 16),
        (9, 2, 3, 0, 0),
        (17, 3, 3, 0, 0),
    ):
        sections += struct.pack(
            "<10I", name, section_kind, 0, 0, places[number], len(parts[number]), link, 1, 1, size
        )
    path.write_bytes(header + segment + b"".join(parts) + sections)
    return path
