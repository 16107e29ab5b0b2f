"""The serial machine's whole microcode, for one size of its memories."""

from accel.gateware.serial.assembler import assemble
from accel.gateware.serial.code_core import CORE, HOST
from accel.gateware.serial.code_dma import DMA
from accel.gateware.serial.code_matmul import MATMUL
from accel.gateware.serial.code_vector import VECTOR
from accel.gateware.serial.machine import PROGRAM_BASE, SUMS_BASE
from accel.gateware.serial.microword import MUL_STEPS
from accel.isa import COMMANDS, CUSTOM_0, ISA_VERSION, Engine, Funct3
from accel.regmap import ID_VALUE, REGISTERS, Cause, Rule

__all__ = ["POSITIONS", "microcode"]

POSITIONS = 64
"""Output pixels of a matmul command, and sums in each half."""

WEIGHTS, TABLE, STAMPS, SCRATCH = 0xC000, 0xE000, 0xE800, 0xEFF0

_HOST, _MASK, _OWN = 64, 320, 256
_ENGINES = {Engine.LOAD: "l", Engine.MATMUL: "m", Engine.VECTOR: "v", Engine.STORE: "s"}
_NAMES = """
pending t0 t1 PC engine command_pc d0 d1 booting 
words planes rows space size base chip from to left beats burst last 
cols k0 k1 k2 walk walk_yx input input_yx weight slices window_cols
window_rows operation zero smallest low above range slot_a slot_b slot_d base_a base_b base_d base_p
plane_a plane_b plane_d wcol_a wrow_a col_a row_a col_b row_b col_d row_d multiplier bias
left_shift right_shift half half_less at_a at_b at_d x window_row window_col
"""


def _registers() -> dict[str, int]:
    """Return every register's number by its name."""
    numbers = {r.name: _HOST + r.offset // 4 for r in REGISTERS}
    for engine, letter in _ENGINES.items():
        for i in range(COMMANDS[engine].registers):
            numbers[f"{letter}{i}"] = 128 + 32 * engine + i
    # What is left beside x0 to x31, the host's registers and masks, and the engines'.
    free = [*range(_OWN, _MASK), *range(100, 128), *range(32, 64)]
    numbers |= dict(zip(_NAMES.split(), free, strict=False))
    return numbers


def microcode(
    *,
    fingerprint: int,
    shape: tuple[int, int, int, int],
    scratchpad_words: int,
    weight_words: int,
    program_words: int,
) -> tuple[list[int], dict[int, int]]:
    """Return the microinstructions and what registers hold from the start.

    Parameters
    ----------
    fingerprint : int
    shape : tuple of int
        Rows, cols, lanes, bus bytes.
    scratchpad_words, weight_words, program_words : int
    """
    symbols = {
        "WEIGHTS": WEIGHTS,
        "TABLE": TABLE,
        "STAMPS": STAMPS,
        "SCRATCH": SCRATCH,
        # Of a multiplication by 32 bits.
        "LAST_STEPS": 32 // MUL_STEPS - 1,
        "PROGRAM": PROGRAM_BASE,
        "TPUSH_LOAD": Funct3.TPUSH << 12 | CUSTOM_0,
        "SUMS": SUMS_BASE,
        "POSITIONS": POSITIONS,
        "SCRATCHPAD_WORDS": scratchpad_words,
        "WEIGHT_WORDS": weight_words,
        "PROGRAM_WORDS": program_words,
        **{cause.name: int(cause) for cause in Cause},
        **{f"RULE_{rule.name}": int(rule) for rule in Rule},
    }
    text = "\n".join((HOST, CORE, DMA, MATMUL, VECTOR))
    numbers = _registers()
    words, constants = assemble(text, numbers, symbols)
    fixed = {
        "ID": ID_VALUE,
        "VERSION": ISA_VERSION,
        "FINGERPRINT": fingerprint,
        "SHAPE": int.from_bytes(bytes(shape), "little"),
    }
    masks = {_MASK + r.offset // 4: 0xFFFFFFFF & ~r.fixed for r in REGISTERS if r.access == "rw"}
    return words, constants | masks | {numbers[name]: value for name, value in fixed.items()}
