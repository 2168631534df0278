"""Architecture files to `Chip`; faults of all files and ``--set`` options are found in one pass."""

from __future__ import annotations

from pathlib import Path

from imcsim.chip.conflicts import conflicts
from imcsim.chip.layers import ARCH_LAYOUT, read_layers, spell_out
from imcsim.chip.schema import Chip
from imcsim.chip.technology.table import overlay_technology
from imcsim.config.check import blame, check_parts
from imcsim.config.faults import Fault, Place, UnreadableError, raise_faults
from imcsim.config.overrides import Overrides, apply_overrides
from imcsim.config.yaml_positions import Document, dotted
from imcsim.errors import ArchError


def load_chip(path: str | Path, overrides: Overrides = ()) -> Chip:
    """Read, complete and check an architecture file.

    Parameters
    ----------
    path : str or Path
        YAML file that begins with ``format: imcsim-arch/1``; shown in messages as it is given here.
    overrides : mapping or sequence of str, optional
        ``{"adc.bits": 5}`` or ``["adc.bits=5"]``; put in before anything is checked.
        A technology value (``technology.adder_bit_j=3e-15``) is in SI units.

    Raises
    ------
    ArchError
        With one line per fault: ``file:line:column: key: what is wrong, what is allowed``.
    UsageError
        If only the overrides are at fault.
    """
    faults: list[Fault] = []
    try:
        document = read_layers(path, faults)
    except UnreadableError as error:
        raise_faults([*faults, error.fault], ArchError)
    apply_overrides(document, ARCH_LAYOUT, overrides, faults, spell_out)
    _find_conductances(document, faults)
    parts = check_parts(document, ARCH_LAYOUT, faults)
    parts["technology"] = overlay_technology(document, faults)
    faults.extend(blame(conflict, document) for conflict in conflicts(parts))
    if faults:
        raise_faults(faults, ArchError)
    return Chip.model_validate(parts)


def _find_conductances(document: Document, faults: list[Fault]) -> None:
    """Make `device.conductances` a path from the working directory: it is written as seen from its
    file."""
    device = document.data.get("device")
    if not isinstance(device, dict) or not isinstance(device.get("conductances"), str):
        return
    written = device["conductances"]
    path = ("device", "conductances")
    origin = document.entry(path).origin
    file = Path(origin.file).parent / written if isinstance(origin, Place) else Path(written)
    try:
        is_file = file.is_file()
    except (OSError, ValueError):  # a name too long, a null character
        is_file = False
    if not is_file:
        faults.append(Fault(origin, dotted(path), f"{file} is no file"))
    device["conductances"] = str(file)
