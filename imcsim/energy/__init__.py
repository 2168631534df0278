"""Counts × energy per action, leakage × time, area by instances."""

from imcsim.energy.account import DynamicEnergy, dynamic_energy, energy_by_layer
from imcsim.energy.prices import COMPONENTS, Bill, Price, price_chip

__all__ = [
    "COMPONENTS",
    "Bill",
    "DynamicEnergy",
    "Price",
    "dynamic_energy",
    "energy_by_layer",
    "price_chip",
]
