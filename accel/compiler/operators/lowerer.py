"""The state that operators are lowered with: feature maps of tensors, layers so far."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from accel.compiler import graph as g
from accel.compiler.layers import (
    FeatureMap,
    Int8Array,
    Layer,
    Network,
    Port,
    ReshapeLayer,
)
from accel.compiler.moves import moved
from accel.compiler.operators.ports import input_port, output_port
from accel.errors import ModelError

__all__ = ["LOWERINGS", "Lowerer", "dimensions", "lowering"]

N = TypeVar("N", bound=g.Node)
Lowering = Callable[["Lowerer", Any], None]

LOWERINGS: dict[type[g.Node], Lowering] = {}
"""How each kind of node is lowered."""


def lowering(kind: type[N]) -> Callable[[Callable[["Lowerer", N], None]], Lowering]:
    """Register a function that lowers nodes of a kind."""

    def register(function: Callable[["Lowerer", N], None]) -> Lowering:
        LOWERINGS[kind] = function
        return function

    return register


def dimensions(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return (height, width, channels) of a shape: its last axes; all others are rows."""
    padded = (1, 1, *shape) if shape else (1, 1, 1)
    return math.prod(padded[:-2]), padded[-2], padded[-1]


@dataclass(frozen=True)
class Margin:
    """A map that stands for itself with rows above and columns left of it: a PAD not yet done."""

    map: FeatureMap
    top: int
    left: int


class Lowerer:
    """Turns a graph's nodes into layers, one after another.

    Lowering functions take tensors' maps from `image` or `stored`, make layers with the fields of
    `base`, and hand them to `emit`.
    """

    def __init__(self, graph: g.Graph) -> None:
        self.graph = graph
        self.layers: list[Layer] = []
        self.constants: dict[int, Int8Array] = {}
        self.margins: dict[int, Margin] = {}
        self._maps: dict[int, FeatureMap] = {}
        tensors = [t for node in graph.nodes for t in (node.output, *node.inputs)]
        self._free = 1 + max(t.index for t in (*tensors, *graph.inputs))
        self._readers: dict[int, list[g.Node]] = {}
        for node in graph.nodes:
            for tensor in node.inputs:
                self._readers.setdefault(tensor.index, []).append(node)
        self._outputs = {t.index for t in graph.outputs}
        for tensor in graph.inputs:
            self._maps[tensor.index] = self._input_map(tensor)

    def network(self) -> Network:
        """Lower every node in order.

        Raises
        ------
        ModelError
            One line that names the operator and what cannot be done.
        """
        for node in self.graph.nodes:
            try:
                LOWERINGS[type(node)](self, node)
            except ModelError as error:
                raise ModelError(f"{self.graph.name}: {node.label}: {error}") from None
        return Network(
            self.graph.name,
            tuple(self.layers),
            tuple(input_port(self.graph, t, self._maps[t.index]) for t in self.graph.inputs),
            tuple(self._output_port(t) for t in self.graph.outputs),
            self.constants,
        )

    def _output_port(self, tensor: g.Tensor) -> Port:
        return output_port(self.graph, tensor, self._maps[tensor.index])

    def _input_map(self, tensor: g.Tensor) -> FeatureMap:
        """Return an input's map, arranged as after the reshapes that alone read it.

        The host writes inputs element by element, so these reshapes cost nothing.
        """
        last = tensor
        while len(readers := self.readers(last)) == 1:
            if not isinstance(readers[0], g.Reshape | g.Convert):
                break
            last = readers[0].output
        return self._new(tensor, dimensions(last.shape))

    def _new(self, tensor: g.Tensor, shape: tuple[int, int, int]) -> FeatureMap:
        return FeatureMap(tensor.index, tensor.name, *shape, tensor.scale, tensor.zero_point)

    def readers(self, tensor: g.Tensor) -> list[g.Node | None]:
        """Return the nodes that read a tensor; None stands for the user."""
        nodes: list[g.Node | None] = list(self._readers.get(tensor.index, ()))
        return nodes + [None] * (tensor.index in self._outputs)

    def emit(self, layer: Layer) -> None:
        """Append a layer."""
        self.layers.append(layer)

    def base(self, node: g.Node, macs: int = 0) -> dict[str, Any]:
        """Return the fields that every layer has, with a map of its own for the output."""
        output = self._new(node.output, dimensions(node.output.shape))
        self._maps[node.output.index] = output
        return {
            "index": node.index, "name": node.output.name, "op": node.op, "macs": macs,
            "output": output,
        }  # fmt: skip

    def alias(self, node: g.Node, source: FeatureMap) -> None:
        """Let a node's output be the bytes of a map, arranged as its shape says if they can be."""
        shape = dimensions(node.output.shape)
        if shape[2] != source.channels:
            shape = source.shape
        output = replace(self._new(node.output, shape), storage=source.storage)
        self._maps[node.output.index] = output
        self.emit(
            ReshapeLayer(
                index=node.index, name=node.output.name, op=node.op, output=output, input=source
            )
        )

    def arranged_as(self, tensor: g.Tensor, source: FeatureMap) -> FeatureMap:
        """Let a tensor's map have the arrangement of another map, and return it."""
        self._maps[tensor.index] = self._new(tensor, source.shape)
        return self._maps[tensor.index]

    def stored(self, tensor: g.Tensor) -> FeatureMap:
        """Return the map that holds a tensor's elements, whatever their arrangement."""
        if tensor.index not in self._maps:
            if tensor.data is None:
                raise ModelError(f"its input '{g.shorten(tensor.name)}' is not on the device")
            self._maps[tensor.index] = self.constant(tensor, tensor.data)
        return self._maps[tensor.index]

    def constant(self, tensor: g.Tensor, data: Int8Array) -> FeatureMap:
        """Return a map with constant contents, quantised as a tensor is."""
        found = replace(self._new(tensor, dimensions(data.shape)), storage=self.new_storage())
        self.constants[found.storage] = np.ascontiguousarray(data.reshape(found.shape))
        return found

    def new_storage(self) -> int:
        """Return a storage number that is not in use."""
        self._free += 1
        return self._free - 1

    def image(self, tensor: g.Tensor, node: g.Node) -> FeatureMap:
        """Return a tensor's map as its shape says, moved for `node` where it lies otherwise."""
        found = self.stored(tensor)
        if found.shape == dimensions(tensor.shape):
            return found
        index = np.arange(tensor.elements, dtype=np.int32).reshape(tensor.shape)
        return self.rearranged(node, (found,), index, tensor)

    def rearranged(
        self,
        node: g.Node,
        sources: tuple[FeatureMap, ...],
        index: Any,
        like: g.Tensor,
        output: FeatureMap | None = None,
    ) -> FeatureMap:
        """Emit the layers that move elements of maps into one map, and return it.

        Parameters
        ----------
        node : Node
            What the layers are reported as.
        sources : tuple of FeatureMap
        index : int32 array of the shape of the result
            Which element of all of the sources' elements each one is.
        like : Tensor
            Whose name, scale and zero point the result has.
        output : FeatureMap or None
            Where to; by default a new map.
        """
        if output is None:
            output = self._new(like, dimensions(index.shape))
            output = replace(output, storage=self.new_storage())
        for layer in moved(node.index, node.output.name, node.op, sources, index, output):
            self.emit(layer)
        return output
