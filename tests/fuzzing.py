"""Mutated model files, and a process that reads them under limits of time and memory."""

import copy
import multiprocessing
import random
import resource
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

import flatbuffers
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

from accel.compiler.backend import build_image
from accel.compiler.importers.tflite import read_tflite
from accel.compiler.network import lower_graph
from accel.config import PRESETS
from accel.errors import ModelError

__all__ = ["MEMORY_BYTES", "SECONDS", "Outcome", "compile_small", "mutate", "run_limited"]

SECONDS = 5.0
MEMORY_BYTES = 1 << 30
MAX_MACS = 2_000_000
MAX_ELEMENTS = 200_000
"""Larger networks are lowered and not tiled: that may take longer, as it would for a sound file."""

_WORDS = (0, 1, 2, 127, 255, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**32 - 4)
_NUMBERS = (-1, 0, 1, 2, 3, 127, 128, 255, 32767, 65535, 65536, 2**31 - 1, -(2**31))
_FLOATS = (0.0, -1.0, 1e-40, 1e-30, 1e30, 3e38, float("inf"), float("nan"), 1.0, 0.003)


def mutate(content: bytes, seed: int) -> bytes:
    """Return a damaged or changed copy of a `.tflite` file: a function of content and seed."""
    rng = random.Random(seed)
    kind = rng.choice(("bits", "words", "cut", "join", "fields", "fields", "fields", "grow"))
    if kind in ("fields", "grow"):
        return _change_fields(content, rng, grow=kind == "grow")
    data = bytearray(content)
    if kind == "bits":
        # Headers and tables lie at the start and the end, weights mostly between.
        reach = rng.choice((len(data), 64, 512, 4096))
        for _ in range(rng.choice((1, 1, 2, 5, 40))):
            place = rng.randrange(min(reach, len(data)))
            place = len(data) - 1 - place if rng.random() < 0.4 else place
            data[place] ^= 1 << rng.randrange(8)
    elif kind == "words":
        for _ in range(rng.randint(1, 6)):
            place = rng.randrange(len(data) // 4) * 4
            value = rng.choice((*_WORDS, len(data), len(data) - place, rng.getrandbits(32)))
            data[place : place + 4] = (value & 0xFFFFFFFF).to_bytes(4, "little")
    elif kind == "cut":
        del data[rng.randrange(len(data)) :]
    else:
        start, length = rng.randrange(len(data)), rng.randint(1, 256)
        data[start:start] = data[rng.randrange(len(data)) :][:length]
    return bytes(data)


def _change_fields(content: bytes, rng: random.Random, *, grow: bool) -> bytes:
    """Return a well-formed file with some fields changed."""
    model = schema.ModelT.InitFromPackedBuf(content)
    graph = model.subgraphs[0]
    if grow:
        # The same dimension everywhere: the file stays consistent, and becomes large.
        sizes = [int(n) for t in graph.tensors for n in (t.shape if t.shape is not None else ())]
        old, new = rng.choice(sizes or [1]), rng.choice((0, 2, 300, 4096, 65535, 2**20, 2**31 - 1))
        for tensor in graph.tensors:
            if tensor.shape is not None and (tensor.buffer == 0 or rng.random() < 0.1):
                tensor.shape = [new if n == old else int(n) for n in tensor.shape]
    else:
        # Collected once: a change may empty the lists that lead to the others.
        places = _places(model)
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            _change(rng.choice(places), rng)
    builder = flatbuffers.Builder(1 << 16)
    try:
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    except (
        TypeError,
        ValueError,
        OverflowError,
        AttributeError,
        flatbuffers.number_types.struct.error,
    ):
        # Not every value fits its field: such a change is no file.
        return content
    return bytes(builder.Output())


@dataclass(frozen=True)
class _Place:
    """A field of a table, or an element of one of its vectors."""

    owner: Any
    name: str


def _places(model: Any) -> list[_Place]:
    """Return the fields that a mutation may change; the buffers' bytes are not among them."""
    graph = model.subgraphs[0]
    tables = [model, graph, *model.operatorCodes, *graph.tensors * 2, *graph.operators * 2]
    tables += [t.quantization for t in graph.tensors if t.quantization is not None] * 2
    tables += [o.builtinOptions for o in graph.operators if o.builtinOptions is not None] * 4
    return [_Place(t, name) for t in tables for name in vars(t)]


def _change(place: _Place, rng: random.Random) -> None:
    value = getattr(place.owner, place.name)
    if isinstance(value, bool):
        new: Any = not value
    elif isinstance(value, int):
        new = rng.choice((*_NUMBERS, value + 1, value - 1, rng.randint(0, 150)))
    elif isinstance(value, float):
        new = rng.choice(_FLOATS)
    elif isinstance(value, bytes | str):
        new = rng.choice((b"", b"\n\x1b[2J", b"\xff\xfe", b"n" * 5000, b"a\nb"))
    elif value is not None and hasattr(value, "__len__"):
        new = _change_vector(list(value), rng)
    else:
        new = None
    setattr(place.owner, place.name, new)


def _change_vector(items: list[Any], rng: random.Random) -> list[Any]:
    choice = rng.choice(("element", "element", "drop", "repeat", "empty", "many", "swap"))
    place = rng.randrange(len(items)) if items else 0
    if choice == "empty" or not items:
        return []
    if choice == "drop":
        del items[place]
    elif choice == "repeat":
        items.append(copy.copy(items[place]))
    elif choice == "many":
        items = items * rng.choice((2, 50, 1000 // len(items) + 1))
    elif choice == "swap":
        other = rng.randrange(len(items))
        items[place], items[other] = items[other], items[place]
    elif isinstance(items[place], float):
        items[place] = rng.choice(_FLOATS)
    elif hasattr(items[place], "__index__"):
        items[place] = rng.choice((*_NUMBERS, int(items[place]) + 1))
    return items


@dataclass(frozen=True)
class Outcome:
    """What became of a run over files.

    Parameters
    ----------
    compiled, lowered, refused : int
        Files that became images, that were too large for that here, and with a ModelError.
    slowest : float
        Processor seconds of the slowest.
    grown_bytes : int
        By how much the process's largest resident size grew.
    messages : tuple of str
        Some of the refusals.
    problems : tuple of str
        One line per file that crashed, was slow, or was refused with more than one line.
    """

    compiled: int
    lowered: int
    refused: int
    slowest: float
    grown_bytes: int
    messages: tuple[str, ...]
    problems: tuple[str, ...]


def compile_small(name: str, content: bytes) -> bool:
    """Read and lower a file and, if it is small, make its image; return whether it was."""
    network = lower_graph(read_tflite(content, name))
    maps = [*(x.output for x in network.layers), *(p.map for p in network.inputs)]
    elements = sum(m.height * m.width * m.channels for m in maps)
    if sum(x.macs for x in network.layers) > MAX_MACS or elements > MAX_ELEMENTS:
        return False
    build_image(network, PRESETS["test"])
    return True


def run_limited(
    content_of: Callable[[int], tuple[str, bytes]],
    numbers: Sequence[int],
    *,
    task: Callable[[str, bytes], bool] = compile_small,
    seconds: float = SECONDS,
    memory_bytes: int = MEMORY_BYTES,
) -> Outcome:
    """Work on files in a process of their own, under limits of time and memory.

    Parameters
    ----------
    content_of : callable
        Returns a name and a file's content for a number; a function of a module. For -1 a file
        that the task accepts: what Python loads and keeps for it is not counted.
    numbers : sequence of int
    task : callable
        What to do with a file; a function of a module. Returns whether it made an image.
    seconds : float
        Of the processor for each file, whatever else the machine does; by the clock eight times
        as many, for what waits.
    memory_bytes : int
        For each file; twice of it is all that there is.

    Raises
    ------
    RuntimeError
        When the process dies; the message names the number it worked on.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    current = context.Value("q", -1)
    process = context.Process(
        target=_work,
        args=(content_of, list(numbers), task, seconds, memory_bytes, sender, current),
    )
    process.start()
    sender.close()
    try:
        outcome: Outcome = receiver.recv()
    except EOFError:
        process.join()
        raise RuntimeError(
            f"the process ended with {process.exitcode} at file {current.value}"
        ) from None
    process.join()
    return outcome


class _TooSlow(BaseException):
    """Not an Exception: nothing that handles errors on the way shall handle it."""


def _out_of_time(number: int, frame: FrameType | None) -> None:
    # A second alarm, for code that never returns to the interpreter, ends the process.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(int(SECONDS))
    raise _TooSlow


def _work(
    content_of: Callable[[int], tuple[str, bytes]],
    numbers: list[int],
    task: Callable[[str, bytes], bool],
    seconds: float,
    memory_bytes: int,
    sender: Any,
    current: Any,
) -> None:
    task(*content_of(-1))
    start_bytes = _peak_bytes()
    with open("/proc/self/statm", encoding="ascii") as file:
        virtual = int(file.read().split()[0]) * resource.getpagesize()
    # Beyond this, allocations fail at once instead of taking the machine's memory.
    resource.setrlimit(resource.RLIMIT_AS, (virtual + 2 * memory_bytes,) * 2)
    counts = {"compiled": 0, "lowered": 0, "refused": 0}
    messages: list[str] = []
    problems: list[str] = []
    slowest = 0.0
    for number in numbers:
        current.value = number
        name, content = content_of(number)
        before = _peak_bytes()
        signal.signal(signal.SIGALRM, _out_of_time)
        signal.signal(signal.SIGPROF, _out_of_time)
        signal.setitimer(signal.ITIMER_REAL, 8 * seconds)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        started = time.process_time()
        problem = ""
        try:
            counts["compiled" if task("fuzz.tflite", content) else "lowered"] += 1
        except ModelError as error:
            counts["refused"] += 1
            messages.append(str(error))
            if not str(error).isprintable() or len(str(error)) > 1000:
                problem = f"message {str(error)[:300]!r}"
        except _TooSlow:
            problem = f"more than {seconds} s"
        except Exception as error:
            at = traceback.extract_tb(error.__traceback__)[-1]
            problem = (
                f"{type(error).__name__} {str(error)[:200]!r} "
                f"in {at.name}, line {at.lineno} of {at.filename}"
            )
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
        slowest = max(slowest, time.process_time() - started)
        if _peak_bytes() - before > memory_bytes:
            problem = problem or f"took {_peak_bytes() - before} bytes"
        if problem:
            problems.append(f"file {number} ({name}): {problem}")
    sender.send(
        Outcome(
            **counts,
            slowest=slowest,
            grown_bytes=_peak_bytes() - start_bytes,
            messages=tuple(messages[:: max(1, len(messages) // 200)]),
            problems=tuple(problems),
        )
    )


def _peak_bytes() -> int:
    # Not ru_maxrss: a process begins with that of the one which started it.
    with open("/proc/self/status", encoding="ascii") as file:
        (line,) = (x for x in file if x.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
