"""Microcode of the serial machine: matmul commands."""

__all__ = ["MATMUL"]

MATMUL = """
matmul: A=lo(m4)
    >cols
    if z fault_count
    A=hi(m4)
    >rows
    if z fault_count
    A=lo(m5)
    >k0
    if z fault_count
    A=hi(m5)
    >k1
    if z fault_count
    A=lo(m6)
    >k2
    if z fault_count
    # No second group, no depthwise mode; neither skipped positions nor gaps.
    A=m3
    A&%0x7e0000
    ifn z fault_value
    A=m6
    A|m18
    A&%0xff<<24
    ifn z fault_value
    # The table of positions.
    =%POSITIONS ldc
    A=%0
    >walk
    >walk_yx
    A=cols
    >left
position: A=walk
placed: pta
    A=walk_yx
    ptyx ifn cnz fault_sums dec
    A=%-1
    A+left >left
    A=m9 if z next_row
    A~walk_yx >walk_yx
    A=m8
    A+walk >walk goto placed
next_row: A=%-1
    A+rows >rows
    A=cols if z positions_done
    >left
    A=m11
    A~walk_yx >walk_yx
    A=m10
    A+walk >walk goto placed
# All sums must be in one half.
positions_done: A=$h
    A&%0xff0000
    >t0
    A=lo(m3)
    >t1
    -%2*POSITIONS
    A=hi(t0)
    if ge fault_sums
    A-%1
    A+t1
    A^t1
    A&%POSITIONS
    >t0
    ifn z fault_sums
    A=m3
    sums
    A=m7
    size
    =hi(m6) pad
    A=m0
    >input
    A=m1
    >input_yx
    A=m2 call times_4
    A+%WEIGHTS
    >weight
tile: nop if called call poll
    A=weight
    A-%WEIGHTS+4*WEIGHT_WORDS-15
    A=weight
    if ge fault_weights
    =weight rd
    =@w ldq
    +%4 rd
    low
    +%8 rd
    =@w ldq
    +%12 rd
    high
    A+%16
    >weight
    A=input
    tile
    A=input_yx
    go
    # Meanwhile: where is the next one?
    A=walk
    A+input >input
    A=walk_yx
    A~input_yx >input_yx
    A=%-1
    A+k0 >k0
    A=m12 if z next_k1
    A+input >input
    A=m13
    A~input_yx >input_yx
waiting: if busy waiting
    goto tile
next_k1: A=lo(m5)
    >k0
    A=%-1
    A+k1 >k1
    A=m14 if z next_k2
    A+input >input
    A=m15
    A~input_yx >input_yx goto waiting
next_k2: A=hi(m5)
    >k1
    A=%-1
    A+k2 >k2
    A=m16 if z last_tile
    A+input >input
    A=m17
    A~input_yx >input_yx goto waiting
last_tile: if busy last_tile
    if chip fault_scratchpad
    goto complete
"""
