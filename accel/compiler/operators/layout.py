"""Operators that move bytes or only rename them: RESHAPE, PAD, CONCATENATION, TRANSPOSE, ..."""

import numpy as np

from accel.compiler import graph as g
from accel.compiler.layers import ConvLayer
from accel.compiler.operators.lowerer import Lowerer, Margin, dimensions, lowering
from accel.compiler.quantize import IDENTITY
from accel.errors import ModelError

__all__: list[str] = []


@lowering(g.Reshape)
def _reshape(lowerer: Lowerer, node: g.Reshape) -> None:
    # Readers that need the new arrangement move the elements; the others never look.
    lowerer.alias(node, lowerer.stored(node.input))


@lowering(g.Convert)
def _convert(lowerer: Lowerer, node: g.Convert) -> None:
    inward = node.output.dtype == np.int8
    at_edge = (
        any(t is node.input for t in lowerer.graph.inputs)
        if inward
        else lowerer.readers(node.output) == [None]
    )
    if not at_edge:
        kind = node.input.dtype if inward else node.output.dtype
        raise ModelError(
            f"it converts {'from' if inward else 'to'} {kind} inside the network; only inputs and "
            "outputs of the network can be converted"
        )
    lowerer.alias(node, lowerer.stored(node.input))


@lowering(g.Rearrange)
def _rearrange(lowerer: Lowerer, node: g.Rearrange) -> None:
    if len(node.sources) == 1 and node.sources[0].elements == node.elements.size:
        if (node.elements.reshape(-1) == np.arange(node.elements.size)).all():
            lowerer.alias(node, lowerer.stored(node.sources[0]))
            return
    sources = tuple(lowerer.image(t, node) for t in node.sources)
    output = lowerer.base(node)["output"]
    lowerer.rearranged(node, sources, node.elements, node.output, output)


@lowering(g.Pad)
def _pad(lowerer: Lowerer, node: g.Pad) -> None:
    if not any(node.before) and not any(node.after):
        lowerer.alias(node, lowerer.stored(node.input))
        return
    source = lowerer.image(node.input, node)
    inner = len(node.before) == 4 and not any((node.before[0], node.before[3]))
    inner = inner and not any((node.after[0], node.after[3]))
    readers = lowerer.readers(node.output)
    # A convolution pads with its input's zero point by itself.
    if (
        inner
        and len(readers) == 1
        and isinstance(readers[0], g.Conv2D | g.DepthwiseConv2D)
        and node.value == node.output.zero_point
    ):
        lowerer.margins[node.output.index] = Margin(source, node.before[1], node.before[2])
        lowerer.alias(node, source)
        return
    _emit_pad(lowerer, node)


def _emit_pad(lowerer: Lowerer, node: g.Pad) -> None:
    """Emit an identity convolution with padding; channels added have no weights but a bias."""
    source = lowerer.image(node.input, node)
    if any(node.before[:-3]) or any(node.after[:-3]):
        raise ModelError("it pads other axes than the last three")
    rank = len(node.before)
    before = ((0,) * 3 + node.before)[rank : rank + 3]
    base = lowerer.base(node)
    output = base["output"]
    weights = np.zeros((output.channels, 1, 1, source.channels), np.int8)
    kept = np.arange(source.channels)
    weights[kept + before[2], 0, 0, kept] = 1
    bias = np.full(output.channels, node.value, np.int32)
    bias[kept + before[2]] = 0
    lowerer.emit(
        ConvLayer(
            **base,
            sources=(source,),
            weights=weights,
            bias=bias,
            multiplier=np.full(output.channels, IDENTITY.multiplier, np.int32),
            shift=np.full(output.channels, IDENTITY.shift, np.int8),
            padding=(before[0], before[1]),
            pad_value=node.value,
            output_zero=0,
            clamp_min=-128,
            clamp_max=127,
            results=dimensions(node.output.shape)[:2],
        )
    )
