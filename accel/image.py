"""The compiled image: what the compiler writes and the driver runs, in memory and as a file.

File: 8 bytes magic, uint32 format version, uint32 metadata length, uint64 data length, SHA-256 of
metadata and data, then the metadata (JSON, UTF-8) and the data (the segments, one after another).
Integers are little-endian. The same image gives the same bytes.
"""

import dataclasses
import hashlib
import json
import os
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.config import Config
from accel.errors import ConfigError, ImageError
from accel.isa import ISA_VERSION
from accel.numerics import dequantize, quantize

__all__ = [
    "MAGIC",
    "Image",
    "Layer",
    "Resident",
    "Segment",
    "Tensor",
    "WeightBlock",
    "write_atomically",
]

MAGIC = b"SYSTOIMG"
FORMAT_VERSION = 3

_HEADER = struct.Struct("<8sIIQ32s")


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """A tensor in the accelerator's external memory: planes of channel groups, slots of words.

    Byte `(y * width + x) * slot + c % rows` of plane `c // rows` is element (y, x, c); a plane
    takes `plane_words * slot` bytes.

    Parameters
    ----------
    name : str
    shape : tuple of int
        The model's shape, with its leading 1; `height * width * channels` elements.
    dtype : str
        numpy's name of the model's type: "int8", "uint8" or "float32". The device has int8.
    address : int
        Byte offset from MEMORY_BASE.
    height, width, channels : int
    rows : int
        Channels of a word.
    slot : int
        Bytes of a word in memory.
    plane_words : int
        Words from one plane's start to the next one's; 0 means `height * width`.
    scale : float
    zero_point : int
        Of the int8 values: float32 is converted with them.
    table : tuple of 256 int, or None
        For "uint8": an input's int8 value by its byte; an output's byte by its int8 value + 128.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    address: int
    height: int
    width: int
    channels: int
    rows: int
    slot: int
    plane_words: int = 0
    scale: float = 1.0
    zero_point: int = 0
    table: tuple[int, ...] | None = None

    @property
    def planes(self) -> int:
        """Channel groups."""
        return -(-self.channels // self.rows)

    @property
    def plane_bytes(self) -> int:
        """Bytes from one plane's start to the next one's."""
        return (self.plane_words or self.height * self.width) * self.slot

    @property
    def memory_bytes(self) -> int:
        """Bytes from the first to past the last word."""
        return (self.planes - 1) * self.plane_bytes + self.height * self.width * self.slot

    def pack(self, values: npt.NDArray[Any]) -> bytes:
        """Return one tensor (any shape of the right size, channels last) as it lies in memory."""
        pixels = self.height * self.width
        padded = np.zeros((pixels, self.planes * self.rows), np.int8)
        padded[:, : self.channels] = self._quantized(values).reshape(pixels, self.channels)
        words = np.zeros((self.planes, self.plane_bytes // self.slot, self.slot), padded.dtype)
        words[:, :pixels, : self.rows] = padded.reshape(pixels, self.planes, self.rows).swapaxes(
            0, 1
        )
        return words.tobytes()[: self.memory_bytes]

    def unpack(self, memory: bytes) -> npt.NDArray[Any]:
        """Return the tensor that lies in `memory_bytes` bytes of memory, in its model's shape."""
        pixels = self.height * self.width
        whole = memory.ljust(self.planes * self.plane_bytes, b"\0")
        words = np.frombuffer(whole, np.int8).reshape(self.planes, -1, self.slot)
        values = words[:, :pixels, : self.rows].swapaxes(0, 1).reshape(pixels, -1)
        return self._dequantized(np.ascontiguousarray(values[:, : self.channels])).reshape(
            self.shape
        )

    def _quantized(self, values: npt.NDArray[Any]) -> npt.NDArray[np.int8]:
        """Return the model's values as the device's int8."""
        if self.dtype == "float32":
            return quantize(values, self.scale, self.zero_point)
        if self.table is not None:
            return np.asarray(np.array(self.table, np.int8)[values], np.int8)
        return np.asarray(values, np.int8)

    def _dequantized(self, values: npt.NDArray[np.int8]) -> npt.NDArray[Any]:
        """Return the device's int8 as the model's values."""
        if self.dtype == "float32":
            return dequantize(values, self.scale, self.zero_point)
        if self.table is not None:
            return np.array(self.table, np.uint8)[values.astype(np.int16) + 128]
        return values


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Constants at a byte offset from MEMORY_BASE: the program, weights, tables."""

    address: int
    data: bytes


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One operator of the model in the order of execution, for the report.

    Parameters
    ----------
    index : int
        Operator's place in the model.
    name : str
        Its output tensor's name.
    op : str
        TFLite's name: "CONV_2D".
    engine : str
        What does the work: matmul, vector, controller or none.
    macs : int
        Multiply-accumulates of the model, without padding to the array.
    stamp : int or None
        Stamp (counted from 0 in the order of completion) that ends the layer; None where the
        layer takes no time of its own on the accelerator.
    """

    index: int
    name: str
    op: str
    engine: str
    macs: int = 0
    stamp: int | None = None


@dataclass(frozen=True, kw_only=True)
class WeightBlock:
    """Weight words that stay on-chip: `rows` x `words`, one behind the other from `word` on.

    Parameters
    ----------
    address : int
        Where the first one lies in memory, as byte offset from MEMORY_BASE.
    word, words, rows : int
    pitch : int
        Bytes in memory from one row to the next.
    """

    address: int
    word: int
    words: int
    rows: int = 1
    pitch: int = 0


@dataclass(frozen=True, kw_only=True)
class Resident:
    """How inferences go once the weight memory holds what an inference of this image left there.

    Parameters
    ----------
    program_address, program_words : int
        The program that does not load those weights, as `Image` has them of the one that does.
    blocks : tuple of WeightBlock
        What it expects.
    """

    program_address: int
    program_words: int
    blocks: tuple[WeightBlock, ...]

    @property
    def words(self) -> int:
        """Weight words that stay."""
        return sum(block.rows * block.words for block in self.blocks)


@dataclass(frozen=True, kw_only=True)
class Image:
    """A model compiled for one configuration.

    Parameters
    ----------
    config : Config
        What it was compiled for; the driver compares the fingerprint with the device's.
    model : str
        The model's name, for reports.
    program_address, program_words : int
        Where the program lies in memory, for PROGRAM_ADDRESS and PROGRAM_WORDS.
    memory_bytes : int
        Memory from MEMORY_BASE that a run touches: constants, inputs, outputs, scratch.
    segments : tuple of Segment
    inputs, outputs : tuple of Tensor
        In the model's order.
    layers : tuple of Layer
    resident : Resident or None
        How later inferences can be shorter; None where no weights stay.
    isa_version : int
    """

    config: Config
    model: str
    program_address: int
    program_words: int
    memory_bytes: int
    segments: tuple[Segment, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    layers: tuple[Layer, ...] = ()
    resident: Resident | None = None
    isa_version: int = ISA_VERSION

    @property
    def writable(self) -> tuple[int, int]:
        """Byte offsets from MEMORY_BASE that a run may write: the first, and past the last.

        All before the constants, where outputs lie there as the compiler places them; else all.
        """
        end = min((segment.address for segment in self.segments), default=self.memory_bytes)
        if all(tensor.address + tensor.memory_bytes <= end for tensor in self.outputs):
            return 0, end
        return 0, self.memory_bytes

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return sum(layer.macs for layer in self.layers)

    def to_bytes(self) -> bytes:
        """Return the file's content."""
        meta = dataclasses.asdict(dataclasses.replace(self, segments=()))
        meta["segments"] = [[s.address, len(s.data)] for s in self.segments]
        meta["fingerprint"] = self.config.fingerprint
        text = json.dumps(meta, sort_keys=True, separators=(",", ":")).encode()
        data = b"".join(s.data for s in self.segments)
        digest = hashlib.sha256(text + data).digest()
        return _HEADER.pack(MAGIC, FORMAT_VERSION, len(text), len(data), digest) + text + data

    @classmethod
    def from_bytes(cls, content: bytes, name: str = "image") -> "Image":
        """Return the image in a file's content; `name` is what errors call it.

        Raises
        ------
        ImageError
            When the content is no image, is truncated or damaged, or of another version.
        """
        if content[: len(MAGIC)] != MAGIC:
            raise ImageError(f"{name} is not a compiled image")
        if len(content) < _HEADER.size:
            raise ImageError(f"{name} is truncated")
        _, version, text_bytes, data_bytes, digest = _HEADER.unpack_from(content)
        if version != FORMAT_VERSION:
            raise ImageError(
                f"{name} has image format {version}, this version reads {FORMAT_VERSION}: "
                "compile the model again"
            )
        body = content[_HEADER.size :]
        if len(body) < text_bytes + data_bytes:
            raise ImageError(f"{name} is truncated")
        if len(body) > text_bytes + data_bytes or hashlib.sha256(body).digest() != digest:
            raise ImageError(f"{name} is damaged: its checksum does not match")
        try:
            return cls._from_meta(json.loads(body[:text_bytes]), body[text_bytes:])
        except (KeyError, TypeError, ValueError, ConfigError) as error:
            raise ImageError(f"{name} does not fit this version: {error}") from None

    @classmethod
    def _from_meta(cls, meta: dict[str, Any], data: bytes) -> "Image":
        config = Config(**meta.pop("config"))
        if meta.pop("fingerprint") != config.fingerprint:
            raise ValueError("the configuration's fingerprint is computed differently")
        segments = []
        position = 0
        for address, length in meta.pop("segments"):
            segments.append(Segment(address=address, data=data[position : position + length]))
            position += length

        def tensors(key: str) -> tuple[Tensor, ...]:
            found = []
            for fields in meta.pop(key):
                table = fields["table"] and tuple(fields["table"])
                found.append(Tensor(**fields | {"shape": tuple(fields["shape"]), "table": table}))
            return tuple(found)

        resident = meta.pop("resident")
        if resident is not None:
            blocks = tuple(WeightBlock(**block) for block in resident.pop("blocks"))
            resident = Resident(blocks=blocks, **resident)
        return cls(
            config=config,
            resident=resident,
            segments=tuple(segments),
            layers=tuple(Layer(**layer) for layer in meta.pop("layers")),
            inputs=tensors("inputs"),
            outputs=tensors("outputs"),
            **meta,
        )

    def save(self, path: str | Path) -> None:
        """Write the image to a file: whole or not at all.

        Raises
        ------
        ImageError
            When the file cannot be written.
        """
        try:
            write_atomically(path, self.to_bytes())
        except OSError as error:
            raise ImageError(f"cannot write {path}: {error.strerror}") from None

    @classmethod
    def load(cls, path: str | Path) -> "Image":
        """Return the image in a file.

        Raises
        ------
        ImageError
            When there is no such file, or it is no image of this version.
        """
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise ImageError(f"cannot read {path}: {error.strerror}") from None
        return cls.from_bytes(content, str(path))


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write a file whole or not at all: to a temporary name beside it, then rename."""
    path = Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
