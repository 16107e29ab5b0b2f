"""AVERAGE_POOL_2D, MAX_POOL_2D, MEAN and SOFTMAX."""

import numpy as np

from accel.compiler import graph as g
from accel.compiler.layers import ControllerLayer, PoolLayer, Rescale
from accel.compiler.operators.lowerer import Lowerer, lowering
from accel.compiler.quantize import IDENTITY, activation_range, average_rescale, mean_rescale
from accel.errors import ModelError
from accel.numerics import preprocess_softmax, softmax_table

__all__: list[str] = []


def _window_counts(node: g.AveragePool2D | g.MaxPool2D) -> list[int]:
    """Return every number of input elements that some window covers."""
    axes = []
    for axis, before in enumerate((node.padding.top, node.padding.left)):
        first = np.arange(node.output.shape[1 + axis]) * node.stride[axis] - before
        last = np.minimum(first + node.window[axis], node.input.shape[1 + axis])
        axes.append(set((last - np.maximum(first, 0)).tolist()))
    return sorted({rows * columns for rows in axes[0] for columns in axes[1]})


def _pool(
    lowerer: Lowerer, node: g.AveragePool2D | g.MaxPool2D, rescale: dict[int, Rescale]
) -> None:
    low, high = activation_range(node.activation, node.output)
    source = lowerer.image(node.input, node)
    lowerer.emit(
        PoolLayer(
            **lowerer.base(node),
            input=source,
            operation="max" if isinstance(node, g.MaxPool2D) else "sum",
            window=node.window,
            stride=node.stride,
            padding=(node.padding.top, node.padding.left),
            rescale=rescale,
            clamp_min=low,
            clamp_max=high,
        )
    )


@lowering(g.AveragePool2D)
def _average_pool_2d(lowerer: Lowerer, node: g.AveragePool2D) -> None:
    _pool(lowerer, node, {n: average_rescale(n) for n in _window_counts(node)})


@lowering(g.MaxPool2D)
def _max_pool_2d(lowerer: Lowerer, node: g.MaxPool2D) -> None:
    _pool(lowerer, node, dict.fromkeys(_window_counts(node), IDENTITY))


@lowering(g.Mean)
def _mean(lowerer: Lowerer, node: g.Mean) -> None:
    source = lowerer.image(node.input, node)
    lowerer.emit(
        PoolLayer(
            **lowerer.base(node),
            input=source,
            operation="sum",
            window=(source.height, source.width),
            stride=(1, 1),
            rescale={source.height * source.width: mean_rescale(node)},
            output_zero=node.output.zero_point,
        )
    )


@lowering(g.Softmax)
def _softmax(lowerer: Lowerer, node: g.Softmax) -> None:
    try:
        constants = preprocess_softmax(node.beta, node.input.scale)
    except ValueError as error:
        raise ModelError(str(error)) from None
    # The kernel walks runs of elements, whatever pixels they lie in.
    source = lowerer.stored(node.input)
    base = lowerer.base(node)
    base["output"] = lowerer.arranged_as(node.output, source)
    lowerer.emit(
        ControllerLayer(
            **base,
            kernel="softmax",
            sources=(source,),
            arguments=(node.input.shape[-1],),
            tables=(softmax_table(*constants),),
            pixelwise=source.channels == node.input.shape[-1],
        )
    )
