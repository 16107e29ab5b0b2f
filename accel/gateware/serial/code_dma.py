"""Microcode of the serial machine: load and store commands, and loading of programs."""

__all__ = ["DMA"]

DMA = """
# LOAD of the host is a load command: that instruction, and its registers.
boot: A=PROGRAM_ADDRESS
    >l0
    A=PROGRAM_WORDS
    A|%3<<16
    >l2
    A=%1<<16|1
    >l3
    A=%0
    >pending
    >engine
    >command_pc
    >l1
    >l8
    >l9
    =%TPUSH_LOAD ir
    clean
    A=%1 run
    >booting goto dma_begin
dma: A=%0
    >booting
dma_begin: A=hi(e2)
    A&%15
    >space
    -%4
    nop if bit31 dma_store
    if ge fault_value
    A=l9
    A&%0x3f3f
    ifn z fault_packing
    A=l8
    A&%0x3f0000
    ifn z fault_packing
    goto dma_counts
dma_store: nop
    ifn z fault_value
dma_counts: A=lo(e2)
    >words
    if z fault_count
    A=hi(e3)
    >planes
    if z fault_count
    A=lo(e3)
    >rows
    if z fault_count
    A=e0
    >d0
    A=e1
    >d1
    A=space
    choose spaces
.align 8
spaces: A=%SCRATCHPAD_WORDS goto space_scratchpad
    A=%WEIGHT_WORDS goto space_weights
    A=%512 goto space_table
    A=%PROGRAM_WORDS
    >size
    A=%PROGRAM goto space_chosen
space_scratchpad: >size
    A=%0 goto space_chosen
space_weights: >size
    A=%WEIGHTS goto space_chosen
space_table: >size
    A=%TABLE
space_chosen: >base
row: A=d1
row_at: A&%0xfffff
    >chip
    A+words
    >t0
    A=size
    -t0
    A=d0
    ifn ge dma_outside
    A+MEMORY_BASE
    >from
    A=chip call times_4
    A+base
    >to
    A=words
    >left
    A=from
    A&%3
    ifn z fault_alignment
    call bursts
    nop if called call poll
    A=%-1
    A+rows >rows
    if z plane_done
    A=e4
    A+d0 >d0
    A=e5
    A+d1 >d1 goto row_at
plane_done: A=lo(e3)
    >rows
    A=%-1
    A+planes >planes
    if z dma_done
    A=e6
    A+d0 >d0
    A=e7
    A+d1 >d1 goto row_at
dma_done: A=booting
    if z complete
    A=%2 stop goto ended
dma_outside: A=space
    =space ldc
    A=%RULE_SCRATCHPAD
    ifn cnz chip_address dec
next_space: A+$a dec if cnz next_space
    goto chip_address

# Move `left` words between `from` and `to`: bursts that end where 256 beats do.
bursts: A=from
    A/
    A/
    A&%255
    >t0
    A=%256
    A-t0
    >beats
    A=left
    -beats
    A=from
    >burst
    if ge whole
    A=left
    >beats
whole: A=beats call times_4
    A+from >from
    A-%1
    >last
    A=left
    A-beats
    >left
    A=burst if bit31 burst_write
    -READ_BASE
    A=READ_LIMIT
    ifn ge read_window
    -last
    A=beats
    ifn ge read_window
    A+READ_BEATS >READ_BEATS
    A=beats
    A-%1 ldc
    A=burst
    ar
offering_read: if offered offering_read
read_beat: ifn rvalid read_beat
    A=$r pop
    =to wr
    A=%4
    A+to >to dec if cnz read_beat
    if error read_error
burst_done: A=left
    ifn z bursts
    ret
burst_write: -WRITE_BASE
    A=WRITE_LIMIT
    ifn ge write_window
    -last
    A=beats
    ifn ge write_window
    A+WRITE_BEATS >WRITE_BEATS
    A=beats
    A-%1 ldc
    A=burst
    aw
offering_write: if offered offering_write
    A=to
write_beat: +%0 rd
    A=@w w
offering_beat: if offered offering_beat
    A=%4
    A+to >to dec if cnz write_beat
responding: ifn bvalid responding
    pop
    ifn error burst_done
    A=%WRITE_RESPONSE goto burst_fault
read_error: A=%READ_RESPONSE goto burst_fault
read_window: A=%READ_WINDOW goto burst_fault
write_window: A=%WRITE_WINDOW
burst_fault: >t0
    A=burst
    >CAUSE_ADDRESS
    A=t0 goto of_command
"""
