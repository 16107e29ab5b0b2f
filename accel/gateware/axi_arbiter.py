"""Two AXI4 managers on one subordinate."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from accel.gateware.axi import AXI4Signature
from accel.gateware.fifo import Fifo
from accel.gateware.skid import SkidBuffer

__all__ = ["Axi4Arbiter"]

_CHANNEL = ("id", "addr", "len", "size", "burst", "lock", "cache", "prot", "qos")


class Axi4Arbiter(wiring.Component):
    """Joins two managers' ports: whoever went last on an address channel lets the other go first.

    The top bit of an id out there says whose burst it is; answers may come in any order that AXI4
    allows. Write data go out in the order of their addresses.

    Parameters
    ----------
    data_bits : int
    id_bits : int
        Of the managers.
    writes_in_flight : int
        Write bursts whose last data beat has not been accepted yet.

    Members
    -------
    first, second : In(AXI4Signature(data_bits=data_bits, id_bits=id_bits))
    merged : Out(AXI4Signature(data_bits=data_bits, id_bits=id_bits + 1))

    Latency
    -------
    Addresses and answers pass without a cycle; write data no sooner than a cycle after their
    address.

    Throughput
    ----------
    A beat per cycle on every channel.

    Raises
    ------
    ValueError
        When a width is not one of AXI4Signature's, or `writes_in_flight` is less than 1.
    """

    def __init__(self, *, data_bits: int, id_bits: int = 1, writes_in_flight: int = 8) -> None:
        manager = AXI4Signature(data_bits=data_bits, id_bits=id_bits)
        self._id_bits = id_bits
        if writes_in_flight < 1:
            raise ValueError(f"Writes in flight must be at least 1, not {writes_in_flight}")
        self._writes_in_flight = writes_in_flight
        super().__init__(
            {
                "first": In(manager),
                "second": In(manager),
                "merged": Out(AXI4Signature(data_bits=data_bits, id_bits=id_bits + 1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # The two last places are registers, for speed, where there are more.
        registers = 2 if self._writes_in_flight > 2 else 0
        m.submodules.owners = owners = Fifo(shape=1, depth=self._writes_in_flight - registers)
        next_owner = owners.output
        if registers:
            m.submodules.owner = buffer = SkidBuffer(shape=1)
            connect(m, owners.output, buffer.input)
            next_owner = buffer.output
        self._pass_addresses(m, "ar", Const(1))
        owner, accepted = self._pass_addresses(m, "aw", owners.input.ready)
        m.d.comb += [owners.input.valid.eq(accepted), owners.input.payload.eq(owner)]
        self._pass_data(m, next_owner)
        self._pass_answers(m, "r", ("data", "resp", "last"))
        self._pass_answers(m, "b", ("resp",))
        return m

    def _pass_addresses(self, m: Module, channel: str, room: Value) -> tuple[Value, Value]:
        """Return who has the channel, and whether an address goes out."""
        managers = (self.first, self.second)
        asks = [getattr(manager, f"{channel}valid") for manager in managers]
        valid = getattr(self.merged, f"{channel}valid")
        ready = getattr(self.merged, f"{channel}ready")
        owner = Signal(name=f"{channel}_owner")
        owner_q = Signal(name=f"{channel}_owner_q")
        held = Signal(name=f"{channel}_held")
        m.d.comb += [
            owner.eq(Mux(held, owner_q, Mux(asks[0] & asks[1], ~owner_q, asks[1]))),
            valid.eq(Mux(owner, *reversed(asks)) & room),
        ]
        # What was offered stays on offer until it is taken.
        m.d.sync += held.eq(valid & ~ready)
        with m.If(valid):
            m.d.sync += owner_q.eq(owner)
        for name in _CHANNEL:
            values = [getattr(manager, channel + name) for manager in managers]
            value = Mux(owner, *reversed(values))
            if name == "id":
                value = Cat(value, owner)
            m.d.comb += getattr(self.merged, channel + name).eq(value)
        for number, manager in enumerate(managers):
            m.d.comb += getattr(manager, f"{channel}ready").eq((owner == number) & ready & room)
        return owner, valid & ready

    def _pass_data(self, m: Module, owners: wiring.PureInterface) -> None:
        merged = self.merged
        for name in ("data", "strb", "last"):
            values = [getattr(manager, f"w{name}") for manager in (self.second, self.first)]
            m.d.comb += getattr(merged, f"w{name}").eq(Mux(owners.payload, *values))
        m.d.comb += [
            merged.wvalid.eq(
                owners.valid & Mux(owners.payload, self.second.wvalid, self.first.wvalid)
            ),
            owners.ready.eq(merged.wvalid & merged.wready & merged.wlast),
        ]
        for number, manager in enumerate((self.first, self.second)):
            chosen = owners.valid & (owners.payload == number)
            m.d.comb += manager.wready.eq(chosen & merged.wready)

    def _pass_answers(self, m: Module, channel: str, names: tuple[str, ...]) -> None:
        """Hand answers to whose id they bear."""
        ids, valid = getattr(self.merged, f"{channel}id"), getattr(self.merged, f"{channel}valid")
        owner = ids[self._id_bits]
        for number, manager in enumerate((self.first, self.second)):
            m.d.comb += [
                getattr(manager, f"{channel}valid").eq(valid & (owner == number)),
                getattr(manager, f"{channel}id").eq(ids[: self._id_bits]),
            ]
            for name in names:
                value = getattr(self.merged, channel + name)
                m.d.comb += getattr(manager, channel + name).eq(value)
        m.d.comb += getattr(self.merged, f"{channel}ready").eq(
            Mux(
                owner,
                getattr(self.second, f"{channel}ready"),
                getattr(self.first, f"{channel}ready"),
            )
        )
