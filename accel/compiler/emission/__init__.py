"""Commands of planned layers: a module per kind of layer, and what they share."""

from accel.compiler.emission.commands import Commands
from accel.compiler.emission.convolution import ConvEmitter
from accel.compiler.emission.kernels import emit_kernel
from accel.compiler.emission.maps import emit_elementwise
from accel.compiler.emission.pooling import emit_pool

__all__ = ["Commands", "ConvEmitter", "emit_elementwise", "emit_kernel", "emit_pool"]
