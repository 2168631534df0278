"""Writers of each format, twins of the readers: slow, one value at a time."""

from __future__ import annotations

import gzip
import io
import lzma
import pickle
import struct
import tarfile
from collections.abc import Sequence

import numpy as np

IMAGES = np.random.default_rng(7).integers(0, 256, (5, 3, 32, 32)).astype(np.uint8)
LABELS = np.array([3, 0, 9, 9, 1])
FILTERS = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20, "lc": 4, "lp": 0, "pb": 0}]

Event = tuple[int, int, int, int]
"""t, x, y, p."""


def npz(**arrays: object) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def packed_plane(plane: np.ndarray) -> bytes:
    """Errors of the median predictor, one pixel at a time in plain integers."""
    n, height, width = plane.shape
    errors = bytearray()
    for i in range(n):
        p = plane[i].tolist()
        for y in range(height):
            for x in range(width):
                west = p[y][x - 1] if x else 0
                north = p[y - 1][x] if y else 0
                if y == 0:
                    guess = west
                elif x == 0:
                    guess = north
                else:
                    guess = sorted((west, north, west + north - p[y - 1][x - 1]))[1]
                error = (p[y][x] - guess + 128) % 256 - 128
                errors.append(2 * error if error >= 0 else -2 * error - 1)
    return lzma.compress(bytes(errors), lzma.FORMAT_RAW, filters=FILTERS)


def packed_arrays(images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    red, green, blue = images.astype(int).transpose(1, 0, 2, 3)
    planes = [
        packed_plane(green),
        packed_plane((red - green + 128) % 256 - 128),
        packed_plane((blue - green + 128) % 256 - 128),
    ]
    arrays = {f"plane{k}": np.frombuffer(data, np.uint8) for k, data in enumerate(planes)}
    return {"shape": np.array(images.shape), "labels": labels.astype(np.uint8), **arrays}


def packed_batch(images: np.ndarray, labels: np.ndarray, classes: Sequence[str] = ()) -> bytes:
    named = {"classes": np.array(classes)} if classes else {}
    return npz(**packed_arrays(images, labels), **named)


def binary_batch(
    images: np.ndarray = IMAGES, labels: np.ndarray = LABELS, coarse: Sequence[int] | None = None
) -> bytes:
    first = [b""] * len(labels) if coarse is None else [bytes([label]) for label in coarse]
    records = zip(first, labels, images, strict=True)
    return b"".join(front + bytes([label]) + image.tobytes() for front, label, image in records)


def python_batch(**changes: object) -> bytes:
    """A batch as Python 2 wrote it: byte strings as keys, protocol 2."""
    batch = {"data": IMAGES.reshape(5, -1), "labels": LABELS.tolist()} | changes
    return pickle.dumps({key.encode(): value for key, value in batch.items()}, protocol=2)


def idx(array: np.ndarray, kind: int = 8, compress: bool = False) -> bytes:
    sizes = b"".join(struct.pack(">I", size) for size in array.shape)
    data = bytes([0, 0, kind, array.ndim]) + sizes + bytes(array.ravel().tolist())
    return gzip.compress(data) if compress else data


def nmnist(events: Sequence[Event]) -> bytes:
    """One 40-bit number per event."""
    return b"".join((x << 32 | y << 24 | p << 23 | t).to_bytes(5, "big") for t, x, y, p in events)


def aedat2(events: Sequence[Event], version: str = "2.0") -> bytes:
    header = f"#!AER-DAT{version}\r\n# This is a raw AE data file - do not edit\r\n".encode()
    words = [((127 - x) << 8 | (127 - y) << 1 | (1 - p), t) for t, x, y, p in events]
    return header + b"".join(struct.pack(">II", address, t) for address, t in words)


def aedat3_packet(events: Sequence[Event], kind: int = 1) -> bytes:
    """One packet; all its times lie in the same 2³¹ µs."""
    overflow = events[0][0] >> 31
    n = len(events)
    header = struct.pack("<HHIIIIII", kind, 0, 8, 4, overflow, n, n, n)
    words = [(x << 17 | y << 2 | p << 1 | 1, t & 0x7FFFFFFF) for t, x, y, p in events]
    return header + b"".join(struct.pack("<II", *pair) for pair in words)


AEDAT3_HEADER = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 0: DVS128\r\n#!END-HEADER\r\n"


def aedat3(*packets: Sequence[Event]) -> bytes:
    return AEDAT3_HEADER + b"".join(aedat3_packet(events) for events in packets)


def frames_of(events: Sequence[Event], timesteps: int, height: int, width: int) -> np.ndarray:
    """Frames counted one event at a time."""
    frames = np.zeros((timesteps, 2, height, width), int)
    first = min(t for t, *_ in events)
    duration = max(t for t, *_ in events) - first + 1
    for t, x, y, p in events:
        k = next(k for k in range(timesteps) if (t - first) * timesteps < (k + 1) * duration)
        frames[k, p, y, x] += 1
    return np.where(frames > 255, 255, frames).astype(np.uint8)


def some_events(seed: int, side: int, n: int = 40, start: int = 1000) -> list[Event]:
    rng = np.random.default_rng(seed)
    t = start + np.sort(rng.integers(0, 5000, n))
    x, y, p = rng.integers(0, side, n), rng.integers(0, side, n), rng.integers(0, 2, n)
    return list(zip(t.tolist(), x.tolist(), y.tolist(), p.tolist(), strict=True))
