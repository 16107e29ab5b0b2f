"""The compiler: model -> importer -> graph -> quantise -> tile -> schedule -> lower -> image."""

from pathlib import Path

from accel.compiler.backend import build_image
from accel.compiler.importers.tflite import read_tflite
from accel.compiler.network import lower_graph
from accel.config import Config
from accel.image import Image

__all__ = ["compile_network"]


def compile_network(source: str | Path | bytes, config: Config) -> Image:
    """Compile a `.tflite` model for a configuration.

    Parameters
    ----------
    source : path or bytes
        The model's file, or its content.
    config : Config

    Raises
    ------
    ModelError
        When the file is damaged, or holds what the compiler or the configuration cannot do: one
        line that names operator, tensor and limit.
    """
    return build_image(lower_graph(read_tflite(source)), config)
