"""Proof that a seeded fault changes nothing: its module computes the same without it.

Registers and submodules are cut: what is left is combinational, and yosys' SAT solver says whether
outputs, next states and what goes into submodules are the same for all values. That finds faults of
redundant logic. Faults that only states that are never reached, or a module around it, hide are not
found by it, nor are those in registers.
"""

from pathlib import Path

from mutation_netlist import Mutant, MutationError, run_yosys

__all__ = ["is_redundant"]

_SCRIPT = """
read_rtlil prepared.il
blackbox * {module} %d
expose -evert {module}
expose -evert-dff {module}
design -save cut
select -assert-count 1 {module}/c:{cell} {module}/t:$*dff* %d
{change}
design -stash gate
design -load cut
design -stash gold
design -copy-from gold -as gold {module}
design -copy-from gate -as gate {module}
miter -equiv -flatten gold gate miter
opt -full miter
sat -verify -tempinduct -maxsteps 5 -prove trigger 0 -timeout {timeout} miter
"""

TIMEOUT = 60
"""Seconds for one proof."""


def is_redundant(mutant: Mutant, work: Path) -> bool:
    """Return whether the fault is proven to change nothing; False where that is not decided.

    Parameters
    ----------
    mutant : Mutant
    work : Path
        Directory of make_netlist.
    """
    script = _SCRIPT.format(
        module=mutant.module, cell=mutant.cell, change=mutant.command, timeout=TIMEOUT
    )
    try:
        return "SUCCESS!" in run_yosys(script, work)
    except MutationError:
        return False
