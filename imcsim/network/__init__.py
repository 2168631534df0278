"""The integer spiking network, its file format, its numpy reference, and conversion from float
weights.
"""

from imcsim.network.layers import Layer, Network, Neuron
from imcsim.network.workload import Workload, read_workload, write_workload

__all__ = ["Layer", "Network", "Neuron", "Workload", "read_workload", "write_workload"]
