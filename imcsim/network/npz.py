"""Careful access to ``.npz`` files: headers are judged before anything is allocated, pickles are
never read.

`numpy.load` allocates what a header claims; a damaged or hostile file of a few bytes could ask for
terabytes.
"""

from __future__ import annotations

import ast
import math
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import numpy.typing as npt

from imcsim.errors import WorkloadError

MAX_ELEMENTS = 2**31
"""Largest number of elements of one array."""
_DAMAGE = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
    NotImplementedError,
    RuntimeError,  # an encrypted member
)
"""Whatever zipfile and numpy raise at a damaged archive."""

T = TypeVar("T")
Header = tuple[np.dtype[Any], tuple[int, ...]]
"""dtype and shape."""

_MAX_HEADER = 10_000
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Date of every member, so that equal contents are equal bytes."""


class NpzFile:
    """An open archive of arrays; `headers` are known from the start, arrays are read on request.

    Raises
    ------
    WorkloadError
        Reasons start with the key, or with nothing if the file as a whole is at fault.
    """

    def __init__(self, file: IO[bytes]):
        try:
            self._zip = zipfile.ZipFile(file)
        except _DAMAGE as exc:
            raise WorkloadError(f"not a .npz file, or a truncated one ({exc})") from exc
        self._members: dict[str, zipfile.ZipInfo] = {}
        self.headers: dict[str, Header] = {}
        self._offsets: dict[str, int] = {}
        self._fortran: dict[str, bool] = {}
        for info in self._zip.infolist():
            self._add(info)

    def _add(self, info: zipfile.ZipInfo) -> None:
        key = info.filename.removesuffix(".npy")
        shown = key.encode("unicode_escape").decode()[:80]
        if key == info.filename:
            raise WorkloadError(f"{shown}: not an array (no .npy member)")
        if key in self._members:
            raise WorkloadError(f"{shown}: stands twice in the archive")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise WorkloadError(f"{shown}: unknown compression")
        dtype, shape, fortran, offset = _guarded(shown, lambda: self._header(info))
        count = math.prod(shape)
        if count >= MAX_ELEMENTS:
            raise WorkloadError(f"{shown}: shape {shape} is absurdly large")
        if offset + count * dtype.itemsize != info.file_size:
            raise WorkloadError(
                f"{shown}: {info.file_size - offset} bytes of data for shape {shape} of {dtype}, "
                f"expected {count * dtype.itemsize}"
            )
        self._members[key] = info
        self.headers[key] = (dtype, shape)
        self._offsets[key], self._fortran[key] = offset, fortran

    def _header(self, info: zipfile.ZipInfo) -> tuple[np.dtype[Any], tuple[int, ...], bool, int]:
        with self._zip.open(info) as member:
            return _read_header(member)

    def read(self, key: str) -> npt.NDArray[Any]:
        """Read one array; its size has been checked when the file was opened."""
        dtype, shape = self.headers[key]
        data = _guarded(key, lambda: self._zip.read(self._members[key]))
        flat = np.frombuffer(data, dtype, offset=self._offsets[key])
        if self._fortran[key]:
            return np.ascontiguousarray(flat.reshape(shape[::-1]).T)
        return flat.reshape(shape)


def _guarded(key: str, action: Callable[[], T]) -> T:
    """Do `action`; whatever a damaged archive can cause becomes one line."""
    try:
        return action()
    except _DAMAGE as exc:
        reason = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
        raise WorkloadError(f"{key}: damaged ({reason[:200]})") from exc


def _read_header(member: IO[bytes]) -> tuple[np.dtype[Any], tuple[int, ...], bool, int]:
    """Parse the header of a ``.npy`` member: dtype, shape, Fortran order, bytes before the data.

    Format: "The .npy format", numpy.lib.format. Shapes are unbounded Python integers here.
    """
    version = np.lib.format.read_magic(member)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"unknown .npy version {version}")
    width = 2 if version == (1, 0) else 4
    length = int.from_bytes(member.read(width), "little")
    if length > _MAX_HEADER:
        raise ValueError(f"a header of {length} bytes")
    text = member.read(length)
    try:
        header = ast.literal_eval(text.decode("latin1").strip())
    except (SyntaxError, ValueError, MemoryError, RecursionError) as exc:
        raise ValueError("unreadable .npy header") from exc
    if not isinstance(header, dict) or set(header) != {"descr", "fortran_order", "shape"}:
        raise ValueError("unreadable .npy header")
    shape, descr = header["shape"], header["descr"]
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError("a shape that is none")
    if len(shape) > 32:
        raise ValueError(f"{len(shape)} dimensions")
    if not isinstance(descr, str):
        raise ValueError("a structured dtype")
    try:
        dtype = np.dtype(descr)
    except TypeError as exc:
        raise ValueError(f"unknown dtype {descr!r}") from exc
    if dtype.hasobject or dtype.kind not in "biufSU":
        raise ValueError(f"dtype {descr!r}; pickled objects are never read")
    return (
        dtype,
        shape,
        bool(header["fortran_order"]),
        len(np.lib.format.MAGIC_PREFIX) + 2 + width + length,
    )


def write_npz(path: str | os.PathLike[str], arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write arrays compressed and atomically; equal arrays in equal order give equal bytes."""
    target = Path(path)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
                for key, array in arrays.items():
                    info = zipfile.ZipInfo(f"{key}.npy", _EPOCH)
                    info.compress_type = zipfile.ZIP_DEFLATED
                    info.external_attr = 0o644 << 16
                    with archive.open(info, "w", force_zip64=array.nbytes >= 2**31) as member:
                        np.lib.format.write_array(
                            member, np.asarray(array, order="C"), (1, 0), allow_pickle=False
                        )
            file.flush()
            os.fsync(file.fileno())
        _take_default_mode(temporary)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def _take_default_mode(path: str) -> None:
    """`mkstemp` makes private files; give this one the mode that any new file gets."""
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(path, 0o666 & ~mask)
