"""The wrapper of a generated LiteDRAM core names the core's ports."""

import re

from accel.gateware.export import emit_verilog
from accel.gateware.litedram import LiteDramCore

# The ports of a core that litedram_gen 2024.12 wrote (docs/memory.md), but for ddram_*.
AXI = {
    f"{channel}{name}"
    for channel in ("aw", "ar")
    for name in ("id", "addr", "len", "size", "burst", "valid", "ready")
} | set(
    "wdata wstrb wlast wvalid wready bid bresp bvalid bready rid rdata rresp rlast rvalid "
    "rready".split()
)
OTHERS = set(
    "clk rst user_clk user_rst init_done init_error pll_locked wb_ctrl_adr wb_ctrl_dat_w "
    "wb_ctrl_dat_r wb_ctrl_sel wb_ctrl_cyc wb_ctrl_stb wb_ctrl_ack wb_ctrl_we wb_ctrl_cti "
    "wb_ctrl_bte wb_ctrl_err".split()
)


def test_ports():
    text = emit_verilog(LiteDramCore(data_bits=64, address_bits=27), name="memory")
    instance = re.search(r"litedram_core \\?core *\((.*?)\);", text, re.DOTALL)[1]
    ports = set(re.findall(r"\.(\w+)\(", instance))
    assert ports == {f"user_port_accel_{name}" for name in AXI} | OTHERS
