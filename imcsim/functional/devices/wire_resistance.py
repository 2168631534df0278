"""Wire resistance: what an array with lossy lines lets through (docs/devices.md).

Row i of an array is a word line, driven at column 0 through one segment of wire; column j is a bit
line, held at virtual ground behind its last row by one segment of wire; a segment of the same
resistance lies between neighbouring cells of either line.

The network is linear. With all drivers at their lines (rows without input at ground), the current
of a bit line is Σ_i W_ij·V_i: a matrix W of effective conductances stands for cells and wires
together, whatever the inputs. Where inactive rows are cut off instead, W depends on which rows are
active; the fast method then takes their expected share.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imcsim.chip.nonidealities import WireResistance
from imcsim.functional.devices.context import CellContext, Conductances

Array = npt.NDArray[np.float64]


def apply(model: WireResistance, conductance: Conductances, context: CellContext) -> Conductances:
    """Effective conductances of all crossbars of a layer, in level units.

    Planes of a weight on one crossbar are neighbouring columns. Cells that hold no weight are at
    R_off: they load their lines like any other.
    """
    if model.ohm_per_cell == 0:
        return conductance
    grid = context.grid
    ohm = model.ohm_per_cell * context.level_s  # per level, so that ohm · levels is a pure number
    out = np.empty_like(conductance)
    column_block, place = grid.column_block, grid.place
    planes = conductance.shape[1] // grid.arrays_per_weight
    for array in range(grid.col_blocks * grid.arrays_per_weight):
        col_block, part = divmod(array, grid.arrays_per_weight)
        weights = np.flatnonzero(column_block == col_block)
        own = slice(part * planes, (part + 1) * planes)
        columns = place[weights] * planes + np.arange(planes)[:, None]
        cells = np.full((grid.row_blocks, grid.crossbar_rows, grid.crossbar_cols), context.pedestal)
        for block, held in enumerate(cells):
            rows = grid.row_slice(block)
            held[: rows.stop - rows.start, columns] = conductance[rows, own, weights]
        effective = _solve(model, cells, ohm)
        for block, held in enumerate(effective):
            rows = grid.row_slice(block)
            out[rows, own, weights] = held[: rows.stop - rows.start, columns]
    return out


def _solve(model: WireResistance, cells: Array, ohm: float) -> Array:
    """Effective conductances of arrays (n, rows, cols)."""
    if model.method == "exact":
        return np.stack([exact_transfer(array, ohm) for array in cells])
    return fast_transfer(cells, ohm, 1.0 if model.activity is None else model.activity)


def fast_transfer(conductance: Array, ohm: float, load: float = 1.0) -> Array:
    """Approximate effective conductances, to second order in the voltage lost.

    Each line is solved by itself as a ladder, with the lines that it crosses at ground:
    W = (share of the drive that reaches the cell along its word line) · G · (share of the cell's
    current that reaches the amplifier along its bit line). `_feedback` adds what comes back from
    crossed lines. On 64×64 arrays of 20 to 200 kΩ with 1 Ω per cell, where ideal wires are off by
    up to 20 %, every W is within 1 % of `exact_transfer`.

    Parameters
    ----------
    conductance : float64 (..., rows, cols)
        Cells of one or many arrays.
    ohm : float
        Resistance of one segment; conductance · ohm is a pure number.
    load : float
        Share of the other cells of a bit line that load it: 1 with grounded rows, else the
        activity.
    """
    across = np.swapaxes(conductance, -1, -2)[..., ::-1]  # bit lines, from their amplifier on
    leaving = _ladder(load * across, ohm)
    if load != 1:  # the cell itself is active, and loads its own node in full
        leaving = leaving / (1 + (1 - load) * across * _impedance(load * across, ohm))
    through = conductance * _ladder(conductance, ohm)
    through = through * np.swapaxes(leaving[..., ::-1], -1, -2)
    return np.asarray(through + _feedback(conductance, ohm, load))


def _feedback(conductance: Array, ohm: float, load: float) -> Array:
    """Current of a bit line through word lines that other bit lines have raised.

    With row i driven at 1 V, bit line l stands at ohm·(rows − max(i, k))·G_il at row k; that feeds
    word line k, whose node at column j rises by ohm·Σ_l (min(j, l) + 1)·G_kl times it. A row's mean
    conductance stands for G_kl, which leaves two matrix products.
    """
    rows, cols = conductance.shape[-2:]
    shared_word = 1.0 + np.minimum.outer(np.arange(cols), np.arange(cols))
    shared_bit = rows - np.maximum.outer(np.arange(rows), np.arange(rows)).astype(np.float64)
    shared_bit *= np.where(np.eye(rows, dtype=bool), 1.0, load)
    mean = conductance.mean(axis=-1, keepdims=True)
    raised = conductance @ shared_word
    return np.asarray(ohm**2 * raised * (shared_bit @ (conductance * mean)))


def _ladder(shunt: Array, ohm: float) -> Array:
    """Voltage at each node of ladders driven with 1 V before node 0; by reciprocity also the share
    of a current fed into a node that flows off there.

    Parameters
    ----------
    shunt : float64 (..., nodes)
        Conductance to ground at each node; a segment of `ohm` lies before each node.
    """
    beyond = _admittance(shunt, ohm)
    voltage = np.empty_like(shunt)
    before = np.ones(shunt.shape[:-1])
    for i in range(shunt.shape[-1]):
        before = before / (1 + ohm * beyond[..., i])
        voltage[..., i] = before
    return voltage


def _admittance(shunt: Array, ohm: float) -> Array:
    """Conductance to ground at each node, away from node 0, the node's own shunt included."""
    beyond = np.empty_like(shunt)
    total = np.zeros(shunt.shape[:-1])
    for i in reversed(range(shunt.shape[-1])):
        total = shunt[..., i] + total / (1 + ohm * total)
        beyond[..., i] = total
    return beyond


def _impedance(shunt: Array, ohm: float) -> Array:
    """Resistance to ground seen from each node of ladders that are grounded before node 0."""
    beyond = _admittance(shunt, ohm)
    seen = np.empty_like(shunt)
    towards = np.full(shunt.shape[:-1], ohm)  # resistance from node i through node i − 1
    for i in range(shunt.shape[-1]):
        seen[..., i] = towards / (1 + towards * beyond[..., i])
        towards = ohm + towards / (1 + towards * shunt[..., i])
    return seen


def exact_transfer(conductance: Array, ohm: float) -> Array:
    """Effective conductances of one array by nodal analysis, rows without input at ground.

    Kirchhoff's current law at every node. Word lines are eliminated first, one dense (cols, cols)
    block each; what remains is block tridiagonal in the rows' bit-line nodes and is eliminated from
    the first row to the last, where the amplifiers are.

    Parameters
    ----------
    conductance : float64 (rows, cols)
    ohm : float
        Resistance of one segment; conductance · ohm is a pure number.

    Returns
    -------
    float64 (rows, cols)
        Current of bit line j per volt at the driver of row i, in the unit of `conductance`.
    """
    if ohm == 0:
        return conductance.copy()
    cells = conductance * ohm  # in units of a segment's conductance
    rows, cols = cells.shape
    word_line = 2 * np.eye(cols) - np.eye(cols, k=1) - np.eye(cols, k=-1)
    word_line[-1, -1] = 1.0  # nothing behind the last cell
    voltage = np.zeros((cols, rows))  # of the current row's bit-line nodes, per driven row
    inverse = np.zeros((cols, cols))
    for i in range(rows):
        row = cells[i]
        crossing = row[:, None] * np.linalg.inv(word_line + np.diag(row))
        wires = 1.0 if i == 0 else 2.0  # nothing before the first row
        below = np.diag(wires + row) - crossing * row
        current = inverse @ voltage
        current[:, i] = crossing[:, 0]
        voltage, inverse = current, np.linalg.inv(below - inverse)
    return np.asarray((inverse @ voltage).T / ohm)


def nodal_currents(conductance: Array, ohm: float, inputs: Array, open_rows: bool = False) -> Array:
    """Exact bit-line currents of single reads of one array.

    Parameters
    ----------
    conductance : float64 (rows, cols)
    inputs : float64 (rows, reads)
        Driver voltages.
    open_rows : bool
        Whether cells of rows with input 0 are cut off; else their drivers are at ground.

    Returns
    -------
    float64 (cols, reads)
        In the unit of conductance × inputs.
    """
    if not open_rows:
        return np.asarray(exact_transfer(conductance, ohm).T @ inputs)
    reads = (exact_transfer(conductance * (read != 0)[:, None], ohm).T @ read for read in inputs.T)
    return np.stack(list(reads), axis=1)
