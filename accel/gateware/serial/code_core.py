"""Microcode of the serial machine: host registers, runs and the RISC-V controller."""

__all__ = ["CORE", "HOST"]

HOST = """
reset: A=%0 stop
    >STATUS
    >IRQ_ENABLE
    >EXIT_CODE
    >MEMORY_BASE
    >PROGRAM_ADDRESS
    >PROGRAM_WORDS
    >STAMP_INDEX
    >COUNTER_INDEX
    >READ_BASE
    >WRITE_BASE
    A=%-1
    >READ_LIMIT
    >WRITE_LIMIT
    A=%1<<30
    >WATCHDOG call clear_cause
    call clear_run
idle: ifn called idle
    call poll
    A=pending
    if z idle
    A&%2
    ifn z boot
    call clear_run
    A=%1
    >STATUS call show_at
    run goto fetch
clear_run: A=%0
    >pending
    >PC
    >STAMP_COUNT
    >READ_BEATS
    >WRITE_BEATS
    >INSTRUCTIONS ret

# Serve the host, and the watchdog.
poll: if hwrite written
    if hread asked
    ifn step back
    A=WATCHDOG
    if z back
    A=$c
    -WATCHDOG
    ifn ge back
    goto expired
asked: A=$h
    A&%0xfff
    A-%0x40
    if z asked_cycles
    A-%0x1c
    if z asked_stamp
    A=host
answer: hread
answered: if answer answered
back: ret
asked_cycles: A=$c goto answer
asked_stamp: A=STAMP_INDEX
    A&%0xff call times_4
    A+%STAMPS rd
    A=@w goto answer
written: A=$w
    A^host
    A&mask
    A^host >host
    A=$w >t0
    A=$h
    A&%0xfff
    A-%0x10 hwrite
await: if answer await
    ifn z show
    # CONTROL: nothing begins while busy, or before an error is cleared.
    A=STATUS
    A&%5
    ifn z control_clear
    A=t0
    A&%3
    >pending
control_clear: A=t0
    A&%4
    if z back
    A=%1
    A&STATUS >STATUS
clear_cause: A=%0
    >CAUSE
    >CAUSE_ADDRESS
    >CAUSE_PC
    >CAUSE_ENGINE
# The interrupt, and STATUS's copy of it.
show: A=STATUS
show_at: A&%6 state
    if z lower
    A=IRQ_ENABLE
    A&%1
lower: A+$a irq
    A+$a
    A+$a >t1
    A=STATUS
    A&%7
    A|t1
    >STATUS ret
times_4: A+$a
    A+$a ret

# Commands: the accumulator holds the rule that is broken.
fault_count: A=%RULE_COUNT goto illegal_command
fault_size: A=%RULE_SIZE goto illegal_command
fault_value: A=%RULE_VALUE goto illegal_command
fault_packing: A=%RULE_PACKING goto illegal_command
fault_alignment: A=%RULE_ALIGNMENT
illegal_command: >CAUSE_ADDRESS
    A=%ILLEGAL_COMMAND goto of_command
fault_scratchpad: A=%RULE_SCRATCHPAD goto chip_address
fault_weights: A=%RULE_WEIGHTS goto chip_address
fault_sums: A=%RULE_ACCUMULATORS
chip_address: >CAUSE_ADDRESS
    A=%CHIP_ADDRESS
of_command: >CAUSE
    A=engine
    >CAUSE_ENGINE
    A=command_pc
    >CAUSE_PC
stopped: A=%4 stop
ended: >STATUS call show_at
    goto idle
expired: A=%WATCHDOG
    >CAUSE
    A=%0
    >CAUSE_ADDRESS
    A=PC
    >CAUSE_PC goto trap_end
"""

CORE = """
.align 32
opcodes: A+#i >t0 goto load
wb: >rd goto fetch
    funct3 tensor
    goto fetch
    funct3 operate_immediate
    A=PC goto auipc
auipc: A+#i
    A-%4 goto wb
    A+#i >t0 goto store
slt: A=%0
    ifn lt wb
    A=%1 goto wb
    funct3 operate
    A=#i goto wb
branch: nop
    A=PC
    ifn taken fetch
    A+#i
    A-%4 goto jump
sltu: A=%0
    if ge wb
    A=%1 goto wb
load: +%0 rdx
    A=@x goto loaded
    A-rs2 goto branch
    A+#i goto jalr
tread_idle: A=%15 goto wb
    A=PC goto jal
    A=#i goto system
    goto illegal
    goto illegal
    goto illegal
operate_immediate: A+#i goto wb
    >t0 goto slli
    -#i goto slt
    -#i goto sltu
    A^#i goto wb
    >t0 goto srli
    A|#i goto wb
    A&#i goto wb
operate: goto add
    >t0 goto sll
    -rs2 goto slt
    -rs2 goto sltu
    A^rs2 goto wb
    >t0 goto srl
    A|rs2 goto wb
    A&rs2 goto wb
tensor: >even goto tset
    A+even >even goto tadd
    goto tpush
    goto fetch
    goto tread
    >EXIT_CODE stop goto tdone
tset: A=rs2
    >odd goto fetch
fetch: A=PC rdp if called served
fetched: =@w ir
    A+%4 if outside fetch_fault
    >PC
    A=rs1 opcode opcodes
# The host may want something at once again: an instruction comes first.
served: call poll
    A=PC rdp goto fetched
add: if bit30 subtract
    A+rs2 goto wb
subtract: A-rs2 goto wb
slli: A=#i goto shift_left
sll: A=rs2
shift_left: A&%31 ldc
    A=t0
    ifn cnz wb dec
left: A+$a dec if cnz left
    goto wb
srl: A=rs2 goto shift_right
srli: A=#i
shift_right: A&%31 ldc
    A=t0 if bit30 sra
    ifn cnz wb dec
right: A/ dec if cnz right
    goto wb
sra: ifn cnz wb dec
arithmetic: A>%0 dec if cnz arithmetic
    goto wb
loaded: if misaligned load_misaligned
    if bad load_fault
    >rd goto fetch
jump: >t0
    if a1 jump_misaligned
    >PC
    goto fetch
store: =rs2 ldq
    +%0 wrx
    if misaligned store_misaligned
    if bad store_fault
    goto fetch
jalr: A&%-2
    >t0
    if a1 jump_misaligned
    A=PC
    >rd
    A=t0
    >PC
    goto fetch
jal: A+#i
    A-%4 goto jalr
tadd: A=rs2
    A+odd >odd goto fetch
tread: if bit15 tread_idle
    A=$c goto wb
tdone: A=%2 goto ended
system: nop
    if z environment
    A-%1
    if z break
    A-%0x104
    if z fetch
    goto illegal
environment: A=%ENVIRONMENT_CALL goto trap_here
break: A=%BREAKPOINT goto trap_here

illegal: A=%ILLEGAL_INSTRUCTION goto trap_here
fetch_fault: A-%4
    >t0
    >CAUSE_PC
    A=%FETCH_FAULT
    >CAUSE goto trap_address
load_misaligned: A=%MISALIGNED goto trap
load_fault: A=%LOAD_FAULT goto trap
store_misaligned: A=%MISALIGNED goto trap
store_fault: A=%STORE_FAULT goto trap
jump_misaligned: A=%MISALIGNED goto trap
# The cause; the address in t0, or that of the instruction.
trap_here: >CAUSE
    A=PC
    A-%4
    >CAUSE_ADDRESS
    >CAUSE_PC goto trap_end
trap: >CAUSE
    A=PC
    A-%4
    >CAUSE_PC
trap_address: A=t0
    >CAUSE_ADDRESS
trap_end: A=%4
    >CAUSE_ENGINE goto stopped

tpush: A=PC
    A-%4
    >command_pc
    clean if bit31 push_high
    if bit30 push_matmul
    A=%0
    >engine goto dma
push_matmul: A=%1
    >engine goto matmul
push_high: A=%2 if bit30 push_store
    >engine goto vector
push_store: A=%3
    >engine goto dma
# A command is complete.
complete: ifn bit25 fetch
    A=STAMP_COUNT
    -%256
    call times_4
    A+%STAMPS if ge stamped
    >t0
    A=$c
    =t0 wr
stamped: A=%1
    A+STAMP_COUNT >STAMP_COUNT
    goto fetch
"""
