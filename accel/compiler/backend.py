"""The back end: a lowered network becomes the image for one configuration."""

from collections.abc import Sequence
from dataclasses import replace

from accel.compiler.constants import ALIGNMENT, ConstantPool
from accel.compiler.emit import emit
from accel.compiler.fitting import fitted
from accel.compiler.hoist import branches_first, hoist
from accel.compiler.layers import (
    ControllerLayer,
    ConvLayer,
    FeatureMap,
    Layer,
    Network,
    Port,
    ReshapeLayer,
)
from accel.compiler.lower import lower
from accel.compiler.packing import PackedMap, PackedMemory, pack_inputs
from accel.compiler.placement import Placement, place
from accel.compiler.plans import DeviceLayer, groups_of
from accel.compiler.regions import MemoryMap
from accel.compiler.residency import choose_residency
from accel.compiler.schedule import Call, Step, order
from accel.config import Config
from accel.errors import ModelError
from accel.image import Image, Resident, Segment, Tensor, WeightBlock
from accel.image import Layer as ImageLayer

__all__ = ["build_image"]

MAX_COORDINATE = 32767
"""A matmul command's rows and columns are 16 bits with a sign."""


def build_image(network: Network, config: Config) -> Image:
    """Place, tile, schedule and lower a network.

    Raises
    ------
    ModelError
        When a layer does not fit the configuration.
    """
    network = fitted(network, config)
    device = branches_first([x for x in network.layers if not isinstance(x, ReshapeLayer)])
    for layer in device:
        if isinstance(layer, ConvLayer):
            _check_reach(layer)
    packed = pack_inputs(network, device, config)
    try:
        placement = place(packed, config)
        device = packed
    except ModelError:
        placement = place(device, config)
    maps = _memory_maps(network, device, placement, config)
    end = max((item.offset + _aligned(item.size) for item in maps.values()), default=0)
    constants = ConstantPool(end)
    for storage, values in network.constants.items():
        item = _map_of(network, device, storage)
        port = Port(item.name, item.shape, item)
        blob = _tensor(port, _memory_map(item, 0, config), config).pack(values)
        maps[storage] = _memory_map(item, constants.add(blob), config)
    residency = choose_residency(device, placement.plans, config)
    emitted = emit(device, config, placement, maps, constants, residency)
    kept = [step for step in emitted if isinstance(step, Step) and step.resident]
    later = [
        step if isinstance(step, Call) else replace(step)
        for step in emitted
        if isinstance(step, Call) or not step.resident
    ]
    steps = hoist(emitted)
    program_address, program_words = _add_program(steps, config, constants)
    resident = None
    if kept:
        address, words = _add_program(hoist(later), config, constants)
        blocks = tuple(map(_weight_block, kept))
        resident = Resident(program_address=address, program_words=words, blocks=blocks)
    return Image(
        config=config,
        model=network.name,
        program_address=program_address,
        program_words=program_words,
        memory_bytes=constants.end,
        segments=(Segment(address=constants.base, data=constants.data()),),
        inputs=tuple(_tensor(p, maps[p.map.storage], config) for p in network.inputs),
        outputs=tuple(_tensor(p, maps[p.map.storage], config) for p in network.outputs),
        layers=tuple(
            _report_layers(
                network.layers, [s.layer for s in steps if isinstance(s, Step) and s.stamp]
            )
        ),
        resident=resident,
    )


def _add_program(
    steps: list[Step | Call], config: Config, constants: ConstantPool
) -> tuple[int, int]:
    """Order steps, lower them and add the program; return its offset and its first words."""
    order(steps)
    address = constants.end
    program = lower(steps, config.program_words, address)
    constants.add(program.data)
    return address, len(program.segments[0])


def _weight_block(step: Step) -> WeightBlock:
    """Return what a load of resident weights brings."""
    f = step.values
    return WeightBlock(
        address=f["memory_address"],
        word=f["chip_address"],
        words=f["words"],
        rows=f["rows"],
        pitch=f.get("memory_step_row", 0),
    )


def _check_reach(layer: ConvLayer) -> None:
    """Refuse a convolution whose windows reach pixels that a command cannot number."""
    for axis in range(2):
        first = -layer.padding[axis]
        extent = (layer.results[axis] - 1) * layer.stride[axis]
        extent += (layer.kernel[axis] - 1) * layer.dilation[axis]
        if extent > MAX_COORDINATE or not -MAX_COORDINATE <= first <= MAX_COORDINATE - extent:
            raise ModelError(
                f"operator {layer.index} {layer.op} ({layer.name}) reads "
                f"{('rows', 'columns')[axis]} {first} to {first + extent}; numbers beyond "
                f"{MAX_COORDINATE} are not supported"
            )


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _map_of(network: Network, device: Sequence[DeviceLayer], storage: int) -> FeatureMap:
    maps = [m for layer in device for m in layer.inputs] + [p.map for p in network.outputs]
    return next(item for item in maps if item.storage == storage)


def _memory_map(item: FeatureMap, offset: int, config: Config) -> MemoryMap:
    return MemoryMap(
        offset, item.height, item.width, groups_of(item.channels, config), config.word_slot
    )


def _memory_maps(
    network: Network, device: Sequence[DeviceLayer], placement: Placement, config: Config
) -> dict[int, MemoryMap]:
    """Give network inputs and outputs, and maps that are not resident, their place in memory."""
    wanted = [port.map for port in (*network.inputs, *network.outputs)]
    packed = [m for layer in device for m in layer.inputs if isinstance(m, PackedMap)]
    compact = {m.source.storage for m in packed}
    for layer in device:
        wanted += [
            m
            for m in (*layer.inputs, layer.output)
            if m.storage not in placement.resident and not isinstance(m, PackedMap)
        ]
    maps: dict[int, MemoryMap] = {}
    offset = 0
    for item in wanted:
        if item.storage in maps or item.storage in network.constants:
            continue
        made = _memory_map(item, offset, config)
        if item.storage in compact:
            made = MemoryMap(offset, item.height, item.width, 1, item.channels)
        maps[item.storage] = made
        offset += _aligned(made.size)
    for view in packed:
        maps[view.storage] = PackedMemory(
            maps[view.source.storage].offset,
            view.source.height,
            view.source.width,
            1,
            view.source.channels,
            item=view,
            rows=config.rows,
            word_slot=config.word_slot,
        )
    return maps


def _tensor(port: Port, place_: MemoryMap, config: Config) -> Tensor:
    item = port.map
    compact = (place_.groups, place_.slot) == (1, item.channels)
    return Tensor(
        name=port.name,
        shape=port.shape,
        dtype=port.dtype,
        address=place_.offset,
        height=item.height,
        width=item.width,
        channels=item.channels,
        rows=item.channels if compact else config.rows,
        slot=place_.slot,
        scale=item.scale,
        zero_point=item.zero_point,
        table=None if port.table is None else tuple(port.table.tolist()),
    )


def _report_layers(layers: tuple[Layer, ...], stamped: list[int]) -> list[ImageLayer]:
    """Return a row per operator: several layers of one operator are one, with one stamp.

    Parameters
    ----------
    layers : tuple of Layer
    stamped : list of int
        Indices of operators in the order of their stamps.
    """
    rows: list[ImageLayer] = []
    for number, layer in enumerate(layers):
        if number + 1 < len(layers) and layers[number + 1].index == layer.index:
            continue
        same = [other for other in layers if other.index == layer.index]
        working = [other for other in same if not isinstance(other, ReshapeLayer)]
        engine = "none"
        if working:
            kinds = [type(other) for other in working]
            engine = "vector"
            if ConvLayer in kinds:
                engine = "matmul"
            elif ControllerLayer in kinds:
                engine = "controller"
        rows.append(
            ImageLayer(
                index=layer.index,
                name=layer.name,
                op=layer.op,
                engine=engine,
                macs=sum(other.macs for other in same),
                stamp=stamped.index(layer.index) if working else None,
            )
        )
    return rows
