"""What each operator of a graph becomes: one module per kind of operator.

Importing this package fills `accel.compiler.operators.lowerer.LOWERINGS`.
"""

from accel.compiler.operators import convolution, elementwise, layout, pooling

__all__ = ["convolution", "elementwise", "layout", "pooling"]
