"""The link's numbers are those of its document."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from accel.protocol import Command, Greeting, LinkStatus
from accel.regmap import address
from boards.programmer import PROGRAMMERS

PAGE = (Path(__file__).parents[1] / "docs" / "link.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", [Command, LinkStatus])
def test_the_document_has_every_value(kind):
    rows = dict(re.findall(r"^\| ([A-Z_]+) \| (\d+) \|", PAGE, re.M))
    for member in kind:
        assert rows[member.name] == str(int(member))


def test_bits_of_commands():
    # The hardware takes them apart.
    for command in Command:
        name = command.name
        assert bool(command & 1) == name.startswith("READ")
        assert bool(command & 2) == (name.startswith("WRITE") or name == "READ_INDEXED")
        assert bool(command & 4) == (name.endswith("REGISTERS") or name == "READ_INDEXED")


def test_index_registers_are_right_before_theirs():
    for name in ("STAMP", "COUNTER"):
        assert address(f"{name}_INDEX") % 8 == 0
        assert address(f"{name}_INDEX") + 4 == address(name)


def test_greeting_is_six_words():
    assert len(fields(Greeting)) == 6


def test_the_document_has_every_board():
    for board, programmer in PROGRAMMERS.items():
        tool, arguments = programmer.tools[0]
        assert f"| {board} | `{' '.join([tool.command, *arguments])}`" in PAGE
