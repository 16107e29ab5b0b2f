"""First layers of few channels: the load engine packs a window's row of bytes into words.

A network input keeps its compact form in memory, `channels` bytes a pixel. What the layer reads
on-chip is a packed map: one pixel per output column, whose channels are the kernel's columns times
the input's channels. The convolution that is left has a kernel of one column.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.compiler.filters import choose_filter, region_pitch
from accel.compiler.layers import (
    ControllerLayer,
    ConvLayer,
    ElementwiseLayer,
    FeatureMap,
    Network,
    PoolLayer,
)
from accel.compiler.regions import Box, MemoryMap, View
from accel.compiler.schedule import Span
from accel.config import Config
from accel.isa import COMMANDS, Engine

__all__ = ["PackedMap", "PackedMemory", "can_cut", "pack_inputs"]

ROW_CYCLES = 3
"""Cycles that a packed row costs besides its words or beats."""

_AnyLayer = ConvLayer | ElementwiseLayer | PoolLayer | ControllerLayer

_LIMITS = {field.name: field.high for field in COMMANDS[Engine.LOAD].fields}


@dataclass(frozen=True, kw_only=True)
class PackedMap(FeatureMap):
    """What a layer sees of its source once it is packed; its pixels overlap in memory.

    Parameters
    ----------
    source : FeatureMap
    stride, padding : int
        Of the columns.
    pad_value : int
    """

    source: FeatureMap
    stride: int
    padding: int
    pad_value: int

    @property
    def row_bytes(self) -> int:
        """Bytes of one of the source's rows in memory."""
        return self.source.width * self.source.channels

    @property
    def step(self) -> int:
        """Bytes from one pixel's first byte to the next one's."""
        return self.stride * self.source.channels

    def row_cycles(self, bytes_per_cycle: int) -> float:
        """Return the cycles in which the load engine packs a row of one plane."""
        return max(self.width, self.row_bytes / bytes_per_cycle) + ROW_CYCLES

    def first_byte(self, x: int) -> int:
        """Return where in its row a pixel begins; outside the row there is padding."""
        return (x * self.stride - self.padding) * self.source.channels

    def fields(self, x: int, words: int, skip: int, slot: int) -> dict[str, int] | None:
        """Return the packing of `words` pixels from `x` on; None where no command can do it.

        Parameters
        ----------
        x, words : int
        skip : int
            Bytes of each pixel in planes before this one.
        slot : int
            Bytes that a word takes from memory.

        Returns
        -------
        dict
            Fields of a load; `memory_address` counts from the row's first byte.
        """
        start = self.first_byte(x) + skip
        lead, start = max(-start, 0), max(start, 0)
        wanted = (words - 1) * self.step + slot - lead
        own = min(self.row_bytes - start, wanted)
        result = {
            "memory_address": start,
            "words": words,
            "pack_bytes": own,
            "pack_lead": lead,
            "pack_step": self.step,
            "pack_tail": wanted - own,
            "pack_value": self.pad_value,
        }
        fits = own > 0 and all(v <= _LIMITS[n] for n, v in result.items() if n != "pack_value")
        return result if fits else None


@dataclass(frozen=True)
class PackedMemory(MemoryMap):
    """A packed map's source in memory: rows of bytes.

    Parameters
    ----------
    item : PackedMap
    rows, word_slot : int
        Bytes of a word, and of its slot.
    """

    item: PackedMap
    rows: int
    word_slot: int

    def spans(self, part: Box) -> list[Span]:
        """Return the rows that a command which packs `part` touches."""
        first = self.address(part.y0, 0, 0)
        return [Span("external", first, first + part.rows * self.item.row_bytes)]

    def pieces(self, part: Box) -> list[Box]:
        """Return what one command each moves: a plane, whose bytes begin elsewhere."""
        return [replace(part, g0=g, g1=g + 1) for g in range(part.g0, part.g1)]

    def transfer(self, part: Box, view: View) -> dict[str, int]:
        """Return the fields of the load that packs `part`, of one plane, into `view`."""
        fields = self.item.fields(part.x0, part.cols, part.g0 * self.rows, self.word_slot)
        if fields is None:
            raise RuntimeError(f"{self.item.name} cannot be packed from column {part.x0}")
        several = part.rows > 1
        return fields | {
            "memory_address": self.address(part.y0, 0, 0) + fields["memory_address"],
            "chip_address": view.address(part.y0, part.x0, part.g0),
            "rows": part.rows,
            "planes": 1,
            "memory_step_row": self.item.row_bytes if several else 0,
            "chip_step_row": view.pitch if several else 0,
        }


def can_cut(layer: ConvLayer, cols: int, config: Config) -> bool:
    """Return whether tiles of `cols` columns can be loaded, if the layer's source is packed."""
    source = layer.sources[0]
    if not isinstance(source, PackedMap):
        return True
    return all(
        source.fields(x, min(cols, source.width - x), skip, config.word_slot) is not None
        for x in range(0, source.width, cols)
        for skip in range(0, source.channels, config.rows)
    )


def pack_inputs(network: Network, layers: Sequence[_AnyLayer], config: Config) -> list[_AnyLayer]:
    """Return the layers, those on packed maps that are possible and estimated to be faster.

    Parameters
    ----------
    network : Network
    layers : sequence
        All its layers on the device.
    config : Config
    """
    compact = _compactable(network, layers)
    storages = [m.storage for x in network.layers for m in (*x.inputs, x.output)]
    free = 1 + max(*storages, *(p.map.storage for p in network.inputs))
    result: list[_AnyLayer] = []
    for layer in layers:
        packed = None
        if config.packs and isinstance(layer, ConvLayer) and layer.sources[0].storage in compact:
            packed = _pack(layer, free, config)
            free += 1
        result.append(packed or layer)
    return result


def _compactable(network: Network, layers: Sequence[_AnyLayer]) -> set[int]:
    """Return the network inputs that one layer alone reads, and nothing writes."""
    inputs = {port.map.storage for port in network.inputs}
    inputs -= {port.map.storage for port in network.outputs}
    users = [s for x in layers for s in {m.storage for m in (*x.inputs, x.output)}]
    return {storage for storage in inputs if users.count(storage) == 1}


def _pack(layer: ConvLayer, storage: int, config: Config) -> ConvLayer | None:
    """Return the layer on a packed map, or None where that cannot be or does not pay."""
    source = layer.sources[0]
    kh, kw = layer.kernel
    if len(layer.sources) != 1 or (kw > 1 and layer.dilation[1] != 1):
        return None
    chosen = choose_filter(layer, config, region_pitch(source.width))
    if chosen is not None and chosen.taps:
        return None
    found = [_packed(layer, storage)]
    if _may_pair(layer, config):
        found.append(_packed(_paired(layer, config), storage))
    found = [result for result in found if can_cut(result, result.results[1], config)]
    best = min(found, key=lambda result: _cycles(result, config), default=layer)
    return best if _cycles(best, config) < _cycles(layer, config) else None


def _packed(layer: ConvLayer, storage: int) -> ConvLayer:
    """Return the layer on the map that packing its source gives."""
    source = layer.sources[0]
    kh, kw = layer.kernel
    packed = PackedMap(
        storage=storage,
        name=source.name,
        height=source.height,
        width=layer.results[1],
        channels=kw * source.channels,
        scale=source.scale,
        zero_point=source.zero_point,
        source=source,
        stride=layer.stride[1],
        padding=layer.padding[1],
        pad_value=layer.pad_value,
    )
    return replace(
        layer,
        sources=(packed,),
        weights=layer.weights.reshape(len(layer.weights), kh, 1, packed.channels),
        stride=(layer.stride[0], 1),
        dilation=(layer.dilation[0], 1),
        padding=(layer.padding[0], 0),
    )


def _may_pair(layer: ConvLayer, config: Config) -> bool:
    """Return whether two results may share the columns of the array."""
    half = config.cols // 2
    # The second one's columns are whole slices, or the upper half of the only one.
    apart = half % config.lanes == 0 or (config.lanes == config.cols and config.lanes % 2 == 0)
    whole = layer.origin == (0, 0) and layer.step == (1, 1)
    return apart and whole and layer.results[1] % 2 == 0 and len(layer.weights) <= half


def _paired(layer: ConvLayer, config: Config) -> ConvLayer:
    """Return the layer with two results of a row as one: its kernel covers both windows."""
    outputs, kh, kw, channels = layer.weights.shape
    half, step = config.cols // 2, layer.stride[1]
    weights = np.zeros((2, half, kh, kw + step, channels), np.int8)
    weights[0, :outputs, :, :kw] = layer.weights
    weights[1, :outputs, :, step:] = layer.weights

    def twice(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.tile(np.pad(values, (0, half - outputs)), 2)

    return replace(
        layer,
        weights=weights.reshape(2 * half, kh, kw + step, channels),
        bias=twice(layer.bias),
        multiplier=twice(layer.multiplier),
        shift=twice(layer.shift),
        stride=(layer.stride[0], 2 * step),
        results=(layer.results[0], layer.results[1] // 2),
        pixels=2,
    )


def _cycles(layer: ConvLayer, config: Config) -> float:
    """Estimate a first layer: its input's transfer beside the array's work."""
    source = layer.sources[0]
    planes = -(-source.channels // config.rows)
    if isinstance(source, PackedMap):
        row = source.row_cycles(config.bytes_per_cycle)
    else:
        row = source.width * max(1.0, config.word_slot / config.bytes_per_cycle)
    load = source.height * planes * row
    chosen = choose_filter(layer, config, region_pitch(source.width))
    tiles = chosen.tiles if chosen else layer.kernel[0] * layer.kernel[1] * planes
    groups = -(-len(layer.weights) // config.cols)
    array = layer.results[0] * layer.results[1] * tiles * groups
    return max(load, array) + min(load, array) / 4
