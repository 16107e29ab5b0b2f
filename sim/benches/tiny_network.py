"""A network small enough for the slowest simulator that still keeps every engine busy."""

import numpy as np

from accel.compiler.layers import (
    ConvLayer,
    ElementwiseLayer,
    FeatureMap,
    Network,
    PoolLayer,
    Port,
    Rescale,
)
from accel.compiler.quantize import average_rescale

__all__ = ["tiny_network"]


def tiny_network(seed: int) -> Network:
    """Return convolution, ADD and average pooling, on device layers with random constants.

    The ADD's result is an output too, so that more than one row and plane are stored.

    Parameters
    ----------
    seed : int
        Of the constants.
    """
    rng = np.random.default_rng(seed)
    shapes = [(6, 5, 5), (6, 5, 7), (6, 5, 7), (3, 2, 7)]
    source, convolved, added, pooled = (
        FeatureMap(i, name, *shape)
        for i, (name, shape) in enumerate(
            zip(("input", "convolved", "added", "pooled"), shapes, strict=True)
        )
    )
    weights = rng.integers(-127, 128, (7, 3, 3, 5), np.int8)
    tables = rng.integers(-(1 << 27), 1 << 27, (2, 256)).astype(np.int32)
    layers = (
        ConvLayer(
            index=0,
            name=convolved.name,
            op="CONV_2D",
            macs=convolved.height * convolved.width * weights.size,
            sources=(source,),
            output=convolved,
            weights=weights,
            bias=rng.integers(-5000, 5000, 7).astype(np.int32),
            # Typical sums reach both ends of a byte.
            multiplier=rng.integers(1 << 30, (1 << 31) - 1, 7).astype(np.int32),
            shift=rng.integers(-10, -7, 7).astype(np.int8),
            padding=(1, 1),
            pad_value=-3,
            output_zero=5,
            clamp_min=-128,
            clamp_max=127,
            results=(6, 5),
        ),
        ElementwiseLayer(
            index=1,
            name=added.name,
            op="ADD",
            operation="add",
            a=convolved,
            b=convolved,
            output=added,
            table_a=tables[0],
            table_b=tables[1],
            rescale=Rescale(0, (1 << 30) + 12345, -19),
            output_zero=-7,
            clamp_min=-128,
            clamp_max=127,
        ),
        PoolLayer(
            index=2,
            name=pooled.name,
            op="AVERAGE_POOL_2D",
            input=added,
            output=pooled,
            operation="sum",
            window=(2, 2),
            stride=(2, 2),
            rescale={4: average_rescale(4)},
        ),
    )
    return Network(
        "tiny",
        layers,
        inputs=(_port(source),),
        outputs=(_port(added), _port(pooled)),
    )


def _port(item: FeatureMap) -> Port:
    return Port(item.name, (1, *item.shape), item)
