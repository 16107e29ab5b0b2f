"""How long the controller's instructions take: accel/gateware/controller.py has the list."""

__all__ = [
    "EXTRA_CYCLES",
    "MISPREDICTED_CYCLES",
    "TRAP_CYCLES",
    "WINDOW_LOAD_CYCLES",
    "WINDOW_STORE_CYCLES",
]

EXTRA_CYCLES = {
    **dict.fromkeys(("tread", "twait", "wfi"), 1),
    **dict.fromkeys(("mul", "mulh", "mulhsu", "mulhu"), 7),
    **dict.fromkeys(("div", "divu", "rem", "remu"), 36),
    **dict.fromkeys(("lb", "lh", "lw", "lbu", "lhu"), 2),
    **dict.fromkeys(("sb", "sh", "sw"), 1),
    **dict.fromkeys(("sll", "srl", "sra", "slli", "srli", "srai"), 2),
    "jal": 1,
    "jalr": 4,
    "fence.i": 3,
    **dict.fromkeys(("csrrw", "csrrs", "csrrc", "csrrwi", "csrrsi", "csrrci", "mret"), 13),
}
"""Cycles past the first, by mnemonic; those of branches depend on more."""

TRAP_CYCLES = 18
MISPREDICTED_CYCLES = 3
WINDOW_LOAD_CYCLES, WINDOW_STORE_CYCLES = 5, 7
"""Cycles that loads and stores take longer in the window, as in accel/gateware/window.py."""
