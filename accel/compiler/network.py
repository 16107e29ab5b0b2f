"""Turns a graph into device layers: every operator's constants folded, every tensor a feature map.

To add an operator: a node class in `accel.compiler.graph`, a reader in
`accel.compiler.importers`, a lowering function in `accel.compiler.operators`.
"""

from accel.compiler import operators
from accel.compiler.graph import Graph
from accel.compiler.layers import Network
from accel.compiler.operators.lowerer import Lowerer

__all__ = ["lower_graph", "operators"]


def lower_graph(graph: Graph) -> Network:
    """Return the network of device layers that computes exactly what TFLM does.

    Raises
    ------
    ModelError
        One line that names the operator and what cannot be done.
    """
    return Lowerer(graph).network()
