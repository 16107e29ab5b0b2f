"""From planned layers to commands in program order, and the constants they read."""

from collections.abc import Sequence

from accel.compiler.constants import ConstantPool
from accel.compiler.emission import (
    Commands,
    ConvEmitter,
    emit_elementwise,
    emit_kernel,
    emit_pool,
)
from accel.compiler.layers import ControllerLayer, ConvLayer, ElementwiseLayer, PoolLayer
from accel.compiler.placement import Placement
from accel.compiler.plans import ConvPlan, DeviceLayer, MapPlan
from accel.compiler.regions import MemoryMap
from accel.compiler.residency import Residency
from accel.compiler.schedule import Call, Step
from accel.config import Config

__all__ = ["emit"]


def emit(
    layers: Sequence[DeviceLayer],
    config: Config,
    placement: Placement,
    maps: dict[int, MemoryMap],
    constants: ConstantPool,
    residency: Residency,
) -> list[Step | Call]:
    """Return all layers' commands; the last vector command of each operator carries the stamp.

    Parameters
    ----------
    layers : sequence
    config : Config
    placement : Placement
    maps : dict of storage to MemoryMap
        Maps that live in memory: network inputs and outputs, and those not resident.
    constants : ConstantPool
        Receives weights, parameters and tables.
    residency : Residency
        Weights that later inferences find in their place: their loads are marked.
    """
    commands = Commands(config, placement, maps, constants)
    convolutions = ConvEmitter(commands, residency.words)
    for time, layer in enumerate(layers):
        commands.layer = layer.index
        plan, area = placement.plans[time], placement.areas[time]
        if isinstance(layer, ConvLayer) and isinstance(plan, ConvPlan):
            convolutions.emit(layer, plan, area, residency.places.get(time, {}))
        for item in layer.inputs:  # all of it, or what no chunk has asked for
            commands.fetch_resident(item)
        if isinstance(plan, MapPlan):
            if isinstance(layer, ElementwiseLayer):
                emit_elementwise(commands, layer, plan, area)
            elif isinstance(layer, PoolLayer):
                emit_pool(commands, layer, plan, area)
            elif isinstance(layer, ControllerLayer):
                emit_kernel(commands, layer, plan, area)
        commands.finish(layer.output)
        if time + 1 == len(layers) or layers[time + 1].index != layer.index:
            commands.stamp()
    return commands.steps
