"""The AXI4 and AXI4-Lite interfaces, with the signal names that people wire by hand."""

from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["AXI4LiteSignature", "AXI4Signature", "Burst", "Response"]


class Burst(enum.Enum, shape=2):
    """Values of awburst and arburst (AXI4 specification, A3.4.1)."""

    FIXED = 0
    INCR = 1
    WRAP = 2


class Response(enum.Enum, shape=2):
    """Values of bresp and rresp (AXI4 specification, A3.4.4)."""

    OKAY = 0
    EXOKAY = 1
    SLVERR = 2
    DECERR = 3


def _check_data_bits(name: str, data_bits: int, allowed: tuple[int, ...]) -> None:
    if data_bits not in allowed:
        choices = ", ".join(map(str, allowed))
        raise ValueError(f"{name} data bits must be one of {choices}, not {data_bits!r}")


def _check_positive(name: str, value: int) -> None:
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a positive integer, not {value!r}")


class AXI4Signature(wiring.Signature):
    """AXI4 (Arm IHI 0022), seen from the manager; the standard names in lower case.

    The members are flat and plain integers: a top-level member `m_axi` exports as `m_axi_awaddr`
    and so on. There are no user, region or wid signals.

    Parameters
    ----------
    address_bits : int
    data_bits : int
        32, 64 or 128.
    id_bits : int

    Members
    -------
    aw*, ar* : Out, with awready, arready : In
        Addresses: id, addr, len (beats - 1), size (log2 of bytes), burst, lock, cache, prot, qos.
    wdata, wstrb, wlast, wvalid : Out, wready : In
    bid, bresp, bvalid : In, bready : Out
    rid, rdata, rresp, rlast, rvalid : In, rready : Out

    Raises
    ------
    ValueError
        When a width is not one of those above.
    """

    def __init__(self, *, address_bits: int = 32, data_bits: int, id_bits: int = 1) -> None:
        _check_data_bits("AXI4", data_bits, (32, 64, 128))
        _check_positive("AXI4 address bits", address_bits)
        _check_positive("AXI4 id bits", id_bits)
        self._address_bits = address_bits
        self._data_bits = data_bits
        self._id_bits = id_bits
        members = {}
        for channel in ("aw", "ar"):
            members |= {
                f"{channel}id": Out(id_bits),
                f"{channel}addr": Out(address_bits),
                f"{channel}len": Out(8),
                f"{channel}size": Out(3),
                f"{channel}burst": Out(2),
                f"{channel}lock": Out(1),
                f"{channel}cache": Out(4),
                f"{channel}prot": Out(3),
                f"{channel}qos": Out(4),
                f"{channel}valid": Out(1),
                f"{channel}ready": In(1),
            }
        members |= {
            "wdata": Out(data_bits),
            "wstrb": Out(data_bits // 8),
            "wlast": Out(1),
            "wvalid": Out(1),
            "wready": In(1),
            "bid": In(id_bits),
            "bresp": In(2),
            "bvalid": In(1),
            "bready": Out(1),
            "rid": In(id_bits),
            "rdata": In(data_bits),
            "rresp": In(2),
            "rlast": In(1),
            "rvalid": In(1),
            "rready": Out(1),
        }
        super().__init__(members)

    @property
    def address_bits(self) -> int:
        """Width of awaddr and araddr."""
        return self._address_bits

    @property
    def data_bits(self) -> int:
        """Width of wdata and rdata."""
        return self._data_bits

    @property
    def id_bits(self) -> int:
        """Width of awid, bid, arid and rid."""
        return self._id_bits

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, AXI4Signature)
            and self._address_bits == other._address_bits
            and self._data_bits == other._data_bits
            and self._id_bits == other._id_bits
        )

    def __repr__(self) -> str:
        return (
            f"AXI4Signature(address_bits={self._address_bits}, data_bits={self._data_bits}, "
            f"id_bits={self._id_bits})"
        )


class AXI4LiteSignature(wiring.Signature):
    """AXI4-Lite (Arm IHI 0022, part B), seen from the manager.

    Parameters
    ----------
    address_bits : int
        Bits of the byte address.
    data_bits : int
        32 or 64.

    Members
    -------
    awaddr, awprot, awvalid : Out, awready : In
    wdata, wstrb, wvalid : Out, wready : In
    bresp, bvalid : In, bready : Out
    araddr, arprot, arvalid : Out, arready : In
    rdata, rresp, rvalid : In, rready : Out

    Raises
    ------
    ValueError
        When a width is not one of those above.
    """

    def __init__(self, address_bits: int, data_bits: int = 32) -> None:
        _check_data_bits("AXI4-Lite", data_bits, (32, 64))
        _check_positive("AXI4-Lite address bits", address_bits)
        self._address_bits = address_bits
        self._data_bits = data_bits
        members = {}
        for channel in ("aw", "ar"):
            members |= {
                f"{channel}addr": Out(address_bits),
                f"{channel}prot": Out(3),
                f"{channel}valid": Out(1),
                f"{channel}ready": In(1),
            }
        members |= {
            "wdata": Out(data_bits),
            "wstrb": Out(data_bits // 8),
            "wvalid": Out(1),
            "wready": In(1),
            "bresp": In(2),
            "bvalid": In(1),
            "bready": Out(1),
            "rdata": In(data_bits),
            "rresp": In(2),
            "rvalid": In(1),
            "rready": Out(1),
        }
        super().__init__(members)

    @property
    def address_bits(self) -> int:
        """Width of awaddr and araddr."""
        return self._address_bits

    @property
    def data_bits(self) -> int:
        """Width of wdata and rdata."""
        return self._data_bits

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, AXI4LiteSignature)
            and self._address_bits == other._address_bits
            and self._data_bits == other._data_bits
        )

    def __repr__(self) -> str:
        return f"AXI4LiteSignature({self._address_bits}, data_bits={self._data_bits})"
