"""What the golden machine refuses, one rule after another."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from accel import asm
from accel.config import PRESETS
from accel.isa import COMMANDS, WINDOW_BASE, Engine, Operation, Space
from sim.errors import ProgramError
from sim.machine import Machine

CONFIG = PRESETS["test"]
LOAD, MATMUL, VECTOR, STORE = Engine
L, M, V, S = (1 << engine for engine in Engine)
ALL = L | M | V | S
ONES = dict.fromkeys(("count_col", "count_row", "count_k0", "count_k1", "count_k2"), 1)


@dataclass
class Step:
    """One command with its tokens."""

    engine: Engine
    fields: dict[str, int]
    wait: int = 0
    post: int = 0

    def code(self) -> list[int]:
        words = []
        registers = COMMANDS[self.engine].encode(self.fields)
        for pair in range(len(registers) // 2):
            words += asm.li(1, registers[2 * pair]) + asm.li(2, registers[2 * pair + 1])
            words.append(asm.tset(self.engine, pair, 1, 2))
        return [*words, asm.tpush(self.engine, self.wait, self.post)]


def load(chip: int, words: int = 1, space: Space = Space.SCRATCHPAD, memory: int = 0) -> Step:
    fields = {"memory_address": memory, "chip_address": chip, "words": words, "space": space}
    return Step(LOAD, fields | {"rows": 1, "planes": 1})


def store(chip: int, words: int = 1, memory: int = 0) -> Step:
    return Step(STORE, load(chip, words, memory=memory).fields)


def matmul(source: int = 0, acc: int = 0, accumulate: int = 0, **fields: int) -> Step:
    values = ONES | {"input_address": source, "acc_address": acc, "accumulate": accumulate}
    return Step(MATMUL, values | {"input_height": 1, "input_width": 1} | fields)


def vector(operation: Operation, source: int, target: int, **fields: int) -> Step:
    values = {"operation": operation, "a_address": source, "dst_address": target, "slices": 2}
    values |= dict.fromkeys(("count_col", "count_row", "window_col", "window_row", "uniform"), 1)
    return Step(VECTOR, values | {"a_plane": 1, "dst_plane": 1} | fields)


def maximum(source: int, target: int, **fields: int) -> Step:
    """Return a copy of one word, as the maximum of a window of one."""
    return vector(Operation.MAX, source, target, **fields)


def after(step: Step, wait: int, post: int = 0) -> Step:
    return Step(step.engine, step.fields, wait, post)


def posting(step: Step, post: int) -> Step:
    return Step(step.engine, step.fields, step.wait, post)


WEIGHTS = load(0, 4, Space.WEIGHTS)
TABLE = load(0, 512, Space.TABLE)


def window(word: int, *instructions: int) -> list[int]:
    """Return instructions behind an LI that puts a scratchpad word's address into x4."""
    return [*asm.li(4, WINDOW_BASE + CONFIG.word_slot * word), *instructions]


def machine(*code: Sequence[int] | Step, host_bytes: int = 4096) -> Machine:
    """Return a machine with the program in it; the host has written the first bytes of memory."""
    made = Machine(CONFIG, memory_bytes=1 << 16, instruction_limit=100_000)
    made.ordering.host_write(0, host_bytes)
    words = [w for part in code for w in (part.code() if isinstance(part, Step) else part)]
    made.spaces.program[: len(words)] = words
    return made


def run(*code: Sequence[int] | Step, host_bytes: int = 4096) -> Machine:
    """Run steps and words, then TWAIT for all engines and TDONE."""
    made = machine(*code, [asm.twait(ALL), asm.tdone(0)], host_bytes=host_bytes)
    made.run()
    return made


def refused(*code: Sequence[int] | Step, match: str, host_bytes: int = 4096) -> None:
    with pytest.raises(ProgramError, match=match):
        run(*code, host_bytes=host_bytes)


def test_the_message_names_the_instruction() -> None:
    step = after(matmul(), L)
    pc = 4 * (len(step.code()) - 1)
    text = (
        f"pc {pc:#x}, tpush matmul wait=load: matmul command 0 waits for a token from load that "
        "no earlier command posts"
    )
    with pytest.raises(ProgramError) as caught:
        run(step)
    assert str(caught.value) == text


def test_a_later_token_is_no_token() -> None:
    refused(after(load(0), M), posting(matmul(), L), match="token from matmul that no earlier")


def test_read_after_write() -> None:
    refused(
        WEIGHTS,
        load(3),
        matmul(3),
        match=r"matmul command 0 reads weight word 0, which load command 0 \(pc 0x[0-9a-f]+\) "
        "writes, and no token orders them",
    )
    refused(
        posting(WEIGHTS, M),
        load(3),
        after(matmul(3), L),
        match="reads scratchpad word 3, which load command 1 .* no token orders them",
    )
    run(WEIGHTS, posting(load(3), M), after(matmul(3), L))


def test_tokens_are_matched_first_in_first_out() -> None:
    first, second = posting(load(0), V), posting(load(1), V)
    refused(
        first,
        second,
        after(maximum(1, 9), L),
        after(maximum(0, 8), L),
        match="vector command 0 reads scratchpad word 1, which load command 1",
    )
    run(first, second, after(maximum(0, 8), L), after(maximum(1, 9), L))


def test_order_is_transitive() -> None:
    steps = (WEIGHTS, posting(load(3), M), after(matmul(3), L, V))
    overwriting = after(vector(Operation.ACC, 0, 3), M)
    run(*steps, overwriting)
    refused(
        *steps[:2],
        after(matmul(3), L),
        vector(Operation.ACC, 0, 3),
        match="reads accumulator entry 0, which matmul command 0",
    )


def test_twait_orders() -> None:
    run(load(0), [asm.twait(L)], maximum(0, 8))
    refused(load(0), [asm.twait(S)], maximum(0, 8), match="reads scratchpad word 0, which load")


def test_an_idle_mask_that_was_read_orders() -> None:
    run(load(0), [asm.tread(3, 1)], maximum(0, 8))


def test_write_after_read_of_another_engine() -> None:
    steps = (posting(load(0), V), after(maximum(0, 8), L, 0))
    refused(*steps, load(0), match="load command 1 overwrites scratchpad word 0, which vector com")
    run(steps[0], after(maximum(0, 8), L, L), after(load(0), V))


def test_write_after_write_of_another_engine() -> None:
    refused(
        posting(load(0), V),
        load(8),
        after(maximum(0, 8), L),
        match="overwrites scratchpad word 8, which load command 1 .* writes",
    )


def test_own_results_need_the_self_bit() -> None:
    steps = (posting(load(0), V), after(maximum(0, 8), L))
    refused(
        *steps,
        maximum(8, 9),
        match="vector command 1 reads scratchpad word 8, which vector command 0 .* "
        "its wait mask does not name vector itself",
    )
    run(*steps, after(maximum(8, 9), V))


def test_own_operands_need_the_self_bit() -> None:
    steps = (load(0), posting(load(1), V), after(maximum(0, 8), L))
    refused(
        *steps,
        maximum(1, 0),
        match="overwrites scratchpad word 0, which vector command 0 .* reads, and its wait mask",
    )
    run(*steps, after(maximum(1, 0), V))


def test_writes_after_own_writes_are_free() -> None:
    run(load(0), load(0))


def test_accumulation_is_interlocked() -> None:
    run(WEIGHTS, posting(load(0), M), after(matmul(0), L), matmul(0, accumulate=1))


def test_accumulators_that_are_still_read() -> None:
    steps = (WEIGHTS, posting(load(0), M), after(matmul(0), L, V))
    reading = after(vector(Operation.ACC, 0, 8), M)
    refused(*steps, reading, matmul(0), match="overwrites accumulator entry 0, which vector comm")
    run(*steps, posting(reading, M), after(matmul(0), V))


def test_external_memory() -> None:
    spill = posting(store(0, 4, 8192), L)
    begin = posting(load(0, 4), S)
    refused(
        begin,
        after(store(0, 4, 8192), L),
        load(20, memory=8196),
        match="load command 1 reads memory offset 0x2004, which store command 0",
    )
    run(begin, after(spill, L, L), after(load(20, memory=8196), S))
    refused(
        begin,
        after(store(0, 4, 0), 0),
        match="store command 0 reads scratchpad word 0, which load command 0",
    )
    refused(
        begin,
        load(40, 1, memory=12),
        after(store(0, 4, 0), L),
        match="store command 0 overwrites memory offset 0xc, which load command 1 .* reads",
    )


@pytest.mark.parametrize(
    ("steps", "word"),
    [
        ([posting(load(0), M), after(matmul(0), L)], "weight word 0"),
        ([posting(WEIGHTS, M), after(matmul(5), L)], "scratchpad word 5"),
        ([WEIGHTS, posting(load(0), M), after(matmul(0, accumulate=1), L)], "accumulator entry 0"),
        ([vector(Operation.ACC, 7, 8)], "accumulator entry 7"),
        ([load(0, 511, Space.TABLE), posting(load(0), V),
          after(vector(Operation.ADD, 0, 8, b_plane=1), L)], "table entry 511"),
        ([posting(load(0), V), after(vector(Operation.TABLE, 0, 8), L)], "table entry 0"),
        ([posting(load(0), V), after(maximum(0, 8, uniform=0), L)], "weight word 0"),
        ([store(6)], "scratchpad word 6"),
        ([load(0, memory=4096)], "memory offset 0x1000"),
    ],
)  # fmt: skip
def test_words_that_were_never_written(steps: list[Step], word: str) -> None:
    refused(*steps, match=f"reads {word}, which was never written")


def test_padding_is_not_read() -> None:
    run(posting(WEIGHTS, M), after(matmul(5, input_y=-1), L))
    # Of two columns only the first is inside.
    two = matmul(5, count_col=2, step_col=1, step_col_x=1)
    run(WEIGHTS, posting(load(5), M), after(two, L))


def test_a_slice_initialises_its_word() -> None:
    narrow = after(maximum(0, 8, slices=1), L, S)
    run(posting(load(0), V), narrow, after(store(8), V))


def test_a_run_starts_with_empty_memories() -> None:
    made = run(posting(load(0), V), after(maximum(0, 8), L))
    words = [*maximum(0, 8).code(), asm.twait(ALL), asm.tdone(0)]
    made.spaces.program[: len(words)] = words
    made.core.invalidate(0, len(words))
    with pytest.raises(ProgramError, match="reads scratchpad word 0, which was never written"):
        made.run()


@pytest.mark.parametrize(
    ("step", "word"),
    [
        (load(1023, 2), "scratchpad word 1024; the last one is 1023"),
        (load(510, 3, Space.WEIGHTS), "weight word 512; the last one is 511"),
        (load(512, 1, Space.TABLE), "table entry 512; the last one is 511"),
        (load(4096, 1, Space.PROGRAM), "program word 4096; the last one is 4095"),
        (matmul(weight_address=509), "weight word 512"),
        (matmul(acc=64), "accumulator entry 64; the last one is 63"),
        (vector(Operation.ACC, 63, 0, count_col=2), "accumulator entry 64"),
        (maximum(0, 1024), "scratchpad word 1024"),
    ],
)
def test_addresses_outside_a_memory(step: Step, word: str) -> None:
    refused(step, match=f"addresses {word}")


def test_a_matmul_stays_in_one_half() -> None:
    step = matmul(acc=31, count_col=2)
    refused(step, match="matmul command 0 entries 31 .. 32 cross from one accumulator half")


def test_too_many_tokens() -> None:
    push = [asm.tpush(LOAD, post=V)]
    refused(posting(load(0), V), push * 255, match="more tokens to vector than the 255")


def test_tokens_left() -> None:
    refused(posting(load(0), V), match="tdone x0: leaves 1 tokens from load to vector; the last o")


def test_programs_wait_for_their_commands() -> None:
    made = machine(load(0), [asm.twait(V), asm.tdone(0)])
    with pytest.raises(ProgramError, match="ends the program, and nothing waited for load comm"):
        made.run()
    # To wait for the last engine of a chain is enough.
    chain = (posting(load(0), V), after(maximum(0, 8), L, S), after(store(8), V))
    machine(*chain, [asm.twait(S), asm.tdone(0)]).run()


def test_program_loads_are_waited_for() -> None:
    target = load(1000, 4, Space.PROGRAM)
    begin = target.code()
    offset = 4000 - 4 * len(begin)
    refused(
        target,
        [asm.jal(0, offset)],
        match="pc 0xfa0, .*uses program word 1000, which load command 0 .* TWAIT must come first",
    )
    waits = [asm.twait(L), asm.jal(0, offset - 4)]
    made = machine(target, waits)
    code = [asm.addi(3, 0, 55), asm.tdone(3)]
    made.spaces.memory[:8] = [b for word in code for b in word.to_bytes(4, "little")]
    made.run()
    assert made.exit_code == 55


def test_data_of_program_loads_is_waited_for() -> None:
    read = [*asm.li(4, 4000), asm.lw(3, 4, 0)]
    target = load(1000, 4, Space.PROGRAM)
    refused(target, read, match="lw x3, 0.x4.: uses program word 1000, which load command 0")
    run(target, [asm.twait(L)], read)


def test_the_controller_reads_what_it_waited_for() -> None:
    read = window(3, asm.lb(5, 4, 1))
    refused(
        load(2, 2),
        read,
        match=r"pc 0x[0-9a-f]+, lb x5, 1.x4.: reads scratchpad word 3, which load command 0 "
        r"\(pc 0x[0-9a-f]+\) writes: TWAIT must come first",
    )
    refused(load(2, 2), [asm.twait(V)], read, match="reads scratchpad word 3, which load command 0")
    run(load(2, 2), [asm.twait(L)], read)
    # Another word is no concern; nor is a command that only reads.
    run(load(3), [asm.twait(L)], load(4), read, store(3, 1, 256), read)


def test_the_controller_reads_what_it_waited_for_through_tokens() -> None:
    chain = (posting(load(0), V), after(maximum(0, 8), L))
    refused(*chain, window(8, asm.lw(5, 4, 0)), match="scratchpad word 8, which vector command 0")
    run(*chain, [asm.twait(V)], window(8, asm.lw(5, 4, 0)), window(0, asm.sw(0, 4, 0)))


def test_the_controller_writes_over_what_it_waited_for() -> None:
    write = window(0, asm.sb(5, 4, 0))
    refused(load(0), write, match="sb .*overwrites scratchpad word 0, which load command 0 .*write")
    refused(
        posting(load(0), V),
        after(maximum(0, 8), L),
        [asm.twait(L)],
        write,
        match="overwrites scratchpad word 0, which vector command 0 .* reads: TWAIT must come first",
    )
    run(posting(load(0), V), after(maximum(0, 8), L), [asm.twait(V)], write)


def test_the_controller_reads_no_word_that_was_never_written() -> None:
    read = window(7, asm.lhu(5, 4, 2))
    refused(read, match="lhu x5, 2.x4.: reads scratchpad word 7, which was never written")
    run(window(7, asm.sb(0, 4, 0)), read)


def test_commands_are_behind_the_controllers_accesses() -> None:
    made = run(*(window(n, *asm.li(5, 0x1020304 * n), asm.sw(5, 4, 0)) for n in (1, 2)),
               after(maximum(1, 8, count_col=2, a_step_col=1, dst_step_col=1, a_plane=2,
                             dst_plane=2, multiplier=1 << 30, shift=1, clamp_max=127), 0, S),
               after(store(8, 2, 256), V), [asm.twait(V)], window(1, asm.lw(6, 4, 0)), load(1))  # fmt: skip
    assert made.spaces.memory[256:264].tolist() == [4, 3, 2, 1, 8, 6, 4, 2]
    assert made.core.x[6] == 0x1020304


def test_bytes_past_a_word_are_0_in_the_window() -> None:
    config = dataclasses.replace(CONFIG, rows=12, cols=12, lanes=2, weight_bytes=4096)
    made = Machine(config, memory_bytes=1 << 16)
    made.store(16 * 5 + 12, 4, 0x11223344)
    with pytest.raises(ProgramError, match="word 5, which was never written"):
        made.load(16 * 5 + 12, 4)
    made.store(16 * 5 + 8, 4, 0x55667788)
    made.store(16 * 5 + 13, 1, 0x99)
    assert [made.load(16 * 5 + n, 4) for n in (0, 4, 8, 12)] == [0, 0, 0x55667788, 0]
    assert not made.spaces.scratchpad[6].any()


def test_registers_that_were_never_set() -> None:
    refused([asm.tpush(LOAD)], match="load command 0 uses register 0, which this program did not")
    refused([asm.tadd(LOAD, 1, 0, 0)], match="tadd .*adds to pair 1, which this program did not")


def test_registers_that_do_not_matter() -> None:
    def shortened(step: Step, last_pair: int) -> list[int]:
        code = step.code()
        sets = [i for i, word in enumerate(code) if asm.disassemble(word).startswith("tset")]
        mode = [asm.tset(LOAD, 4, 0, 0)] if step.engine == LOAD else []
        return [*mode, *code[: sets[last_pair] + 1], code[-1]]

    # Steps of loops that have one iteration, and the second operand.
    copy = after(maximum(0, 8, slices=1), L)
    run(
        shortened(WEIGHTS, 1),
        shortened(posting(load(0), M | V), 1),
        shortened(after(matmul(0), L), 3),
        shortened(copy, 5),
    )
    refused(
        shortened(posting(load(0), V), 1),
        shortened(after(maximum(0, 8, slices=2), L), 5),
        match="uses register 13, which this program did not set",
    )


def test_registers_keep_their_value() -> None:
    again = [asm.addi(1, 0, 4), asm.tadd(LOAD, 0, 1, 1), asm.tpush(LOAD)]
    made = run(load(0, memory=16), again)
    assert made.ordering.count(LOAD) == 2
    assert made._registers[LOAD][:2] == [20, 4]


def test_endless_programs() -> None:
    refused([asm.jal(0, 0)], match="pc 0x0, jal x0, 0x0: the program did not end within 100000")
