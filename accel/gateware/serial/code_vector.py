"""Microcode of the serial machine: vector commands."""

__all__ = ["VECTOR"]

VECTOR = """
vector: A=v3
    A&%0xfff
    >slices
    if z fault_count
    A=lo(v4)
    >cols
    if z fault_count
    A=hi(v4)
    if z fault_count
    A=lo(v5)
    >window_cols
    if z fault_count
    A=hi(v5)
    >window_rows
    if z fault_count
    A=v6
    A&%1<<5
    ifn z fault_value
    A=v6
    A&%15
    >operation
    -%7
    nop
    if ge fault_value
    # Bytes of a register are read where memory reads bytes.
    A=v6
    =%SCRATCH wr
    =%SCRATCH+1 rd
    A=@b >zero
    =%SCRATCH+2 rd
    A=@b >smallest
    A-zero
    >low
    =%SCRATCH+3 rd
    A=@b
    -smallest
    A+%1
    if lt fault_value
    >above
    A-smallest
    >range
    # Places in words, and addresses of bytes.
    A=v3 call shift_6
    nop call shift_6
    >slot_a call shift_6
    >slot_b call shift_6
    >slot_d
    -%4
    A=%3
    if ge fault_size
    A&slot_b >slot_b
    A=%63
    A&slot_a >slot_a
    -%4
    nop
    if ge fault_size
    A=v2 call times_4
    A+slot_d
    >base_d
    A=v13 call times_4
    A-%4
    >plane_d
    A=v20 call times_4
    >col_d
    A=v21 call times_4
    >row_d
    A=operation
    if z of_sums
    A=v0 call times_4
    A+slot_a
    >base_a
    A=v11 call times_4
    A-%4
    >plane_a
    A=v14 call times_4
    >wcol_a
    A=v15 call times_4
    >wrow_a
    A=v16 call times_4
    >col_a
    A=v17 call times_4
    >row_a
    A=v1 call times_4
    A+slot_b
    >base_b
    A=v12 call times_4
    A-%4
    >plane_b
    A=v18 call times_4
    >col_b
    A=v19 call times_4
    >row_b
    A=%0
    >slot_a goto parameters_base
# Sums: an entry takes 16 bytes, a column 4.
of_sums: A=slot_a
    A+slices
    -%5
    nop
    if ge fault_size
    A=v0 call times_4
    A+slot_a call times_4
    A+%SUMS
    >base_a
    A=%16
    >col_a
    >row_a
    # The last entry.
    A=hi(v4)
    >rows
    A=v0
    =rows ldc
    A-%1
several: A+cols dec if cnz several
    A-cols
    -%2*POSITIONS
    nop
    if ge fault_sums
parameters_base: A=v7
    A&%0xfffff call times_4
    A+%WEIGHTS
    A+slot_a
    >base_p

# A slice: its parameters.
slice: A=v6
    A&%16
    if z own
    A=v8
    A+$a >multiplier
    A=v9
    >bias
    A=v10
    =%SCRATCH wr
    =%SCRATCH rd
    A=@b goto shifts
own: A=base_p
    A-%WEIGHTS+4*WEIGHT_WORDS-32
    A=base_p
    if ge fault_weights
    >t0
    A=%SCRATCH
    >t1
    =%8 ldc
    A=t0
own_byte: +%0 rd
    A=@b
    =t1 wrb
    A=%1
    A+t1 >t1
    A=%4
    A+t0 >t0 dec if cnz own_byte
    =%SCRATCH rd
    A=@w >bias
    =%SCRATCH+4 rd
    A=@w
    A+$a >multiplier
    =%SCRATCH+8 rd
    A=@b
shifts: >left_shift
    >t0
    A=%0
    A-t0
    >right_shift
    A-%1 if n shift_left_only
    >t0
    A=%0
    >left_shift
    A=t0 ldc
    A=%0 if n no_rounding
    A=%1
    ifn cnz rounding dec
double: A+$a dec if cnz double
    goto rounding
shift_left_only: A=%0
    >right_shift
no_rounding: A=%0
rounding: >half
    A-%1
    >half_less
    A=base_a
    >at_a
    A=base_b
    >at_b
    A=base_d
    >at_d
    A=hi(v4)
    >rows
column_first: A=cols
    >left

# A result.
result: A=operation
    =left_shift ldc
    choose operations
.align 8
operations: =at_a rd goto from_sums
    =at_a rds goto from_add
    A=%0 goto from_window
    A=%-128 goto from_window
    =at_a rds goto from_table
    =at_a rds goto from_product
    A=%127 goto from_window
from_sums: A=@w
requantise: A+bias ifn cnz shifted dec
lefts: A+$a dec if cnz lefts
shifted: >x
    =multiplier ldq
    =%LAST_STEPS ldc
    A=%0
multiply: A*x dec if cnz multiply
    A!
    =right_shift ldc
    if n negative
    ifn cnz clamp dec
    A>half ifn cnz clamp dec
rights: A>%0 dec if cnz rights
clamp: A-low
    nop
    if lt too_low
    A-range
    nop
    if ge too_high
    A+above
put: =at_d wrs if called call poll
    A=%-1
    A+left >left
    A=col_a if z row_end
    A+at_a >at_a
    A=col_d
    A+at_d >at_d
    A=col_b
    A+at_b >at_b goto result
negative: nop
    ifn cnz clamp dec
    A>half_less ifn cnz clamp dec
    goto rights
too_low: A=smallest goto put
too_high: A=above
    A-%1 goto put
row_end: A=row_a if chip fault_scratchpad
    A+at_a >at_a
    A=row_d
    A+at_d >at_d
    A=row_b
    A+at_b >at_b
    A=%-1
    A+rows >rows
    ifn z column_first
    # The next slice.
    A=%-1
    A+slices >slices
    if z complete
    A=operation
    nop
    if z next_sums
    A=%1
    A+base_a >base_a
    A&%3
    A=plane_a ifn z same_a
    A+base_a >base_a
same_a: A=%1
    A+base_b >base_b
    A&%3
    A=plane_b ifn z same_b
    A+base_b >base_b
same_b: A=%1
    A+base_p >base_p
    A&%3
    A=%32 ifn z next_d
    A+base_p >base_p goto next_d
next_sums: A=%4
    A+base_a >base_a
    A=%1
    A+base_p >base_p
next_d: A=%1
    A+base_d >base_d
    A&%3
    A=plane_d ifn z slice
    A+base_d >base_d
    goto slice

from_table: A=@b call times_4
    +%TABLE+512 rd
    A=@w goto requantise
from_add: A=@b call times_4
    +%TABLE+512 rd
    A=@w >x
    =at_b rds
    A=@b call times_4
    +%TABLE+1536 rd
    A=@w
    A+x goto requantise
# The product of x and another factor that is made positive for it.
from_product: A=@b call times_4
    +%TABLE+512 rd
    A=@w >x
    =at_b rds
    A=@b call times_4
    +%TABLE+1536 rd
    A=@w
    A+%256 ldq
    =%LAST_STEPS ldc
    A=%0
times: A*x dec if cnz times
    A=x
    =%7 ldc
    nop
times_256: A+$a dec if cnz times_256
    >x
    A=$q
    =left_shift ldc
    A-x goto requantise
# Sum, largest or smallest of a window.
from_window: >x
    A=window_rows
    >window_row
window_first: A=window_cols
    >window_col
    A=at_a
window: +%0 rds
    A=@b >t0
    A=operation
    A-%3
    A=t0
    if lt window_sum
    =%0
    A=operation
    -%6
    A=t0
    if ge window_min
    -x
    nop
    if lt window_next
    >x goto window_next
window_sum: A+x
    >x goto window_next
window_min: -x
    nop
    ifn lt window_next
    >x
window_next: nop if called call poll
    A=%-1
    A+window_col >window_col
    A=wcol_a if z window_row
    A+at_a >at_a goto window
window_row: A=%-1
    A+window_row >window_row
    A=wrow_a if z window_done
    A+at_a >at_a goto window_first
window_done: A=x goto requantise
shift_6: =%5 ldc
    nop
sixth: A/ dec if cnz sixth
    ret
"""
