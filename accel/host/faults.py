"""What stopped the accelerator, in one line: cause, place, and what to do about it."""

from collections.abc import Callable

from accel.errors import FaultError
from accel.image import Image
from accel.isa import Engine
from accel.regmap import CONTROLLER, PARITY_WORD_SHIFT, Cause, Rule, Wait

__all__ = ["describe_waits", "read_fault"]

_PROGRAM = "the program is damaged or wrong: compile the model again, or look at that instruction"
_COMMAND = "compile the model for this configuration, or correct the command that this TPUSH starts"

ADVICE: dict[Cause, str] = {
    Cause.ILLEGAL_INSTRUCTION: _PROGRAM,
    Cause.FETCH_FAULT: _PROGRAM,
    Cause.LOAD_FAULT: _PROGRAM,
    Cause.STORE_FAULT: _PROGRAM,
    Cause.MISALIGNED: _PROGRAM,
    Cause.BREAKPOINT: "take EBREAK out of the program",
    Cause.ENVIRONMENT_CALL: "take ECALL out of the program: there is no system to call",
    Cause.READ_RESPONSE: "the memory answered with an error: check MEMORY_BASE and what is mapped "
    "there",
    Cause.WRITE_RESPONSE: "the memory answered with an error: check MEMORY_BASE and what is mapped "
    "there",
    Cause.TOKEN_OVERFLOW: "let the consumer take tokens before more than 255 are posted",
    Cause.READ_WINDOW: "READ_BASE .. READ_LIMIT does not allow it: correct the address, or widen "
    "the window",
    Cause.WRITE_WINDOW: "WRITE_BASE .. WRITE_LIMIT does not allow it: correct the address, or "
    "widen the window",
    Cause.ILLEGAL_COMMAND: _COMMAND,
    Cause.CHIP_ADDRESS: _COMMAND,
    Cause.WATCHDOG: "raise the limit of cycles, or let what is waited for happen",
    Cause.UNFINISHED: "let the program wait (TWAIT) for all its commands before TDONE",
    Cause.PARITY: "a bit of that word flipped: run again; where it comes back, the part is bad",
}

_RULED = (Cause.ILLEGAL_COMMAND, Cause.CHIP_ADDRESS)
"""Causes whose address is a mask of Rule."""


def read_fault(
    read: Callable[[str], int], what: str, image: Image | None, detail: str
) -> FaultError:
    """Return the exception for a device that stopped with an error.

    Parameters
    ----------
    read : callable
        Reads the register of a name.
    what : str
        Names the device and what it did.
    image : Image, optional
        What it ran: names the layer.
    detail : str
        What the device knows besides; may be empty.
    """
    code, number = read("CAUSE"), read("CAUSE_ENGINE")
    address, pc = read("CAUSE_ADDRESS"), read("CAUSE_PC")
    known = code in list(Cause)
    cause = Cause(code) if known else Cause.NONE
    engine = Engine(number) if number in list(Engine) else None
    name = "controller" if engine is None else engine.name.lower()
    place = f"at address {address:#x}"
    if cause in _RULED:
        place = f"({_names(Rule(address & sum(Rule)))})"
    elif cause == Cause.PARITY:
        memory = _names(Rule(address & sum(Rule)))
        place = f"({memory} word {address >> PARITY_WORD_SHIFT:#x})"
    elif cause == Cause.TOKEN_OVERFLOW:
        place = f"(towards {_engines(address)})"
    elif cause in (Cause.WATCHDOG, Cause.UNFINISHED):
        place = f"({describe_waits(read('WAITS'), read('QUEUES'))})"
    parts = [f"stopped with {cause.name if known else f'cause {code}'} in {name} {place}"]
    parts.append(f"pc {pc:#x}" if pc or number == CONTROLLER else "no pc")
    layer = None if image is None else _layer(image, read("STAMP_COUNT"))
    if layer is not None:
        parts.append(layer)
    text = f"{what}: {', '.join(parts)}"
    for more in (detail, ADVICE.get(cause, "")):
        text += f": {more}" if more else ""
    return FaultError(text, cause=cause, engine=engine, address=address, pc=pc)


def describe_waits(waits: int, queues: int) -> str:
    """Return in words what WAITS and QUEUES say.

    >>> describe_waits(0x00000041, 3)
    'load waits for load with 3 queued, matmul idle, vector idle, store idle'
    """
    return ", ".join(
        f"{engine.name.lower()} {_wait(Wait(waits >> 8 * engine & 255), queues >> 8 * engine & 255)}"
        for engine in Engine
    )


def _wait(wait: Wait, queued: int) -> str:
    states = []
    if wait & Wait.ENGINES:
        states.append(f"waits for {_engines(wait)}")
    if wait & Wait.MEMORY:
        states.append("waits for memory")
    elif wait & Wait.BUSY:
        states.append("busy")
    if wait & Wait.QUEUED and not states:
        states.append("not begun")
    if not states:
        return "idle"
    full = "its full queue" if wait & Wait.FULL else f"{queued} queued"
    return " and ".join(states) + (f" with {full}" if queued or wait & Wait.FULL else "")


def _engines(mask: int) -> str:
    return " and ".join(e.name.lower() for e in Engine if mask >> e & 1)


def _names(rules: Rule) -> str:
    return ", ".join(str(rule.name).lower() for rule in Rule if rule & rules) or "no rule"


def _layer(image: Image, stamps: int) -> str | None:
    """Name the first layer that was not complete."""
    for layer in sorted(
        (item for item in image.layers if item.stamp is not None), key=lambda item: item.stamp or 0
    ):
        if layer.stamp is not None and layer.stamp >= stamps:
            return f"before the end of layer {layer.index} {layer.op} ({layer.name})"
    return None
