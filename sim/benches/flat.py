"""Gives every field of a component's ports a Verilog port of its own."""

from typing import Any

from amaranth.hdl import Module
from amaranth.lib import data, wiring

from accel.gateware.export import emit_verilog

__all__ = ["Flat", "emit_flat"]


def _leaves(value: Any) -> list[tuple[tuple[str, ...], Any]]:
    """Return the paths and values of a port's fields, in the order of its layout."""
    layout = data.Layout.cast(value.shape()) if isinstance(value, data.View) else None
    if layout is None or isinstance(layout, data.ArrayLayout):
        return [((), value)]
    return [
        ((str(key), *path), leaf) for key, _field in layout for path, leaf in _leaves(value[key])
    ]


class Flat(wiring.Component):  # type: ignore[misc]
    """A component with flat ports: member path and field path joined by one underscore.

    `payload` is left out of the names, so that a stream `command` with a field `post` has the
    ports `command_valid`, `command_ready` and `command_post`. Fields that are views become plain
    integers; arrays stay whole, first element lowest. Bits of a payload that no field covers are 0.

    Parameters
    ----------
    component : wiring.Component
        Its ports must not clash under these names.
    """

    def __init__(self, component: wiring.Component) -> None:
        self._component = component
        self._links: list[tuple[wiring.Member, str, Any]] = []
        members: dict[str, wiring.Member] = {}
        for path, member, value in component.signature.flatten(component):
            for field_path, leaf in _leaves(value):
                parts = [str(p) for p in (*path, *field_path) if p != "payload"]
                name = "_".join(parts) if parts else "payload"
                if name in members:
                    raise ValueError(f"two ports would be called {name}")
                raw = leaf.as_value() if isinstance(leaf, data.View) else leaf
                members[name] = wiring.Member(member.flow, len(raw))
                self._links.append((member, name, raw))
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        """Wire the flat ports to the component's."""
        m = Module()
        m.submodules.dut = self._component
        for member, name, raw in self._links:
            port = getattr(self, name)
            m.d.comb += raw.eq(port) if member.flow is wiring.In else port.eq(raw)
        return m


def emit_flat(component: wiring.Component, *, name: str) -> str:
    """Return the Verilog of `Flat(component)` with a top module called `name`."""
    return emit_verilog(Flat(component), name=name)
