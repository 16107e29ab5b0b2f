"""The back end: a lowered network becomes the image for one configuration."""

from accel.compiler.emit import ALIGNMENT, ConstantPool, Emitter
from accel.compiler.layers import (
    AddLayer,
    ConvLayer,
    FeatureMap,
    HostLayer,
    Layer,
    Network,
    PoolLayer,
    Port,
    ReshapeLayer,
)
from accel.compiler.lower import lower
from accel.compiler.placement import DeviceLayer, Placement, place
from accel.compiler.regions import MemoryMap
from accel.compiler.schedule import order
from accel.compiler.tile import groups_of
from accel.config import Config
from accel.errors import ModelError
from accel.image import HostOperation, Image, Segment, Tensor
from accel.image import Layer as ImageLayer

__all__ = ["build_image"]


def build_image(network: Network, config: Config) -> Image:
    """Place, tile, schedule and lower a network.

    Raises
    ------
    ModelError
        When a layer does not fit the configuration.
    """
    device = [x for x in network.layers if isinstance(x, ConvLayer | AddLayer | PoolLayer)]
    host = [x for x in network.layers if isinstance(x, HostLayer)]
    if not device:
        raise ModelError(f"{network.name}: no operator of the model runs on the accelerator")
    placement = place(device, config)
    outputs = _device_outputs(network, host)
    maps = _memory_maps(network, device, outputs, placement, config)
    end = max(item.offset + _aligned(item.size) for item in maps.values())
    constants = ConstantPool(end)
    emitter = Emitter(config, placement, maps, constants)
    emitter.emit(device)
    order(emitter.steps)
    program_address = constants.end
    program = lower(emitter.steps, config.program_words, program_address)
    constants.add(program.data)
    return Image(
        config=config,
        model=network.name,
        program_address=program_address,
        program_words=len(program.segments[0]),
        memory_bytes=constants.end,
        segments=(Segment(address=constants.base, data=constants.data()),),
        inputs=tuple(_tensor(p, maps[p.map.storage], config) for p in network.inputs),
        outputs=tuple(
            _tensor(port, maps[item.storage], config, item)
            for port, item in zip(network.outputs, outputs, strict=True)
        ),
        layers=tuple(_report_layers(network.layers)),
        host_operations=tuple(
            HostOperation(op=x.op, output=_output_index(network, x), parameters=dict(x.parameters))
            for x in host
        ),
    )


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _device_outputs(network: Network, host: list[HostLayer]) -> list[FeatureMap]:
    """Return for each network output the map that the device leaves for the host."""
    made_by = {layer.output.storage: layer for layer in host}
    maps = []
    for port in network.outputs:
        item = port.map
        while item.storage in made_by:
            item = made_by[item.storage].input
        maps.append(item)
    return maps


def _output_index(network: Network, layer: HostLayer) -> int:
    """Return the network output that a host layer computes."""
    after = {x.input.storage: x.output.storage for x in network.layers if isinstance(x, HostLayer)}
    storage = layer.output.storage
    while storage in after:
        storage = after[storage]
    return [port.map.storage for port in network.outputs].index(storage)


def _memory_maps(
    network: Network,
    device: list[DeviceLayer],
    outputs: list[FeatureMap],
    placement: Placement,
    config: Config,
) -> dict[int, MemoryMap]:
    """Give network inputs and outputs, and maps that are not resident, their place in memory."""
    wanted = [port.map for port in network.inputs] + outputs
    for layer in device:
        wanted += [m for m in (*layer.inputs, layer.output) if m.storage not in placement.resident]
    maps: dict[int, MemoryMap] = {}
    offset = 0
    for item in wanted:
        if item.storage in maps:
            continue
        groups = groups_of(item.channels, config)
        maps[item.storage] = MemoryMap(offset, item.height, item.width, groups, config.word_slot)
        offset += _aligned(maps[item.storage].size)
    return maps


def _tensor(
    port: Port, place_: MemoryMap, config: Config, item: FeatureMap | None = None
) -> Tensor:
    item = item or port.map
    return Tensor(
        name=port.name,
        shape=port.shape,
        dtype="int8",
        address=place_.offset,
        height=item.height,
        width=item.width,
        channels=item.channels,
        rows=config.rows,
        slot=config.word_slot,
        scale=port.map.scale,
        zero_point=port.map.zero_point,
    )


def _report_layers(layers: tuple[Layer, ...]) -> list[ImageLayer]:
    result = []
    stamp = 0
    for layer in layers:
        engine, own = "none", None
        if isinstance(layer, HostLayer):
            engine = "host"
        elif not isinstance(layer, ReshapeLayer):
            engine = "matmul" if isinstance(layer, ConvLayer) else "vector"
            own, stamp = stamp, stamp + 1
        result.append(
            ImageLayer(
                index=layer.index,
                name=layer.name,
                op=layer.op,
                engine=engine,
                macs=layer.macs,
                stamp=own,
            )
        )
    return result
