"""Recordings of event cameras: their file formats, and frames made of them.

Own readers: three small, frozen formats do not justify a dependency. The library tonic (1.7)
could not read the original recordings anyway: its AEDAT 2.0 and 3.1 readers fail on their own
header's return value, and its data sets are converted copies which it downloads unasked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imcsim.errors import InputFileError

_SATURATED = 255


@dataclass(frozen=True, eq=False)
class Events:
    """One recording; all arrays are int64 (n,)."""

    t: npt.NDArray[np.int64]
    """Time [µs]."""
    x: npt.NDArray[np.int64]
    """Column, from the left."""
    y: npt.NDArray[np.int64]
    """Row, from the top."""
    p: npt.NDArray[np.int64]
    """Polarity: 0 the pixel became darker (OFF), 1 brighter (ON)."""

    def between(self, start: int, stop: int) -> Events:
        """The events with start <= t < stop."""
        inside = (self.t >= start) & (self.t < stop)
        return Events(self.t[inside], self.x[inside], self.y[inside], self.p[inside])


def fill_frames(frames: npt.NDArray[np.uint8], events: Events) -> None:
    """Count the events of a recording in equal slices of its duration.

    The duration is from the first event to the last, both included; slice k of T holds the times
    t with k = ⌊(t − first)·T / duration⌋.

    Parameters
    ----------
    frames : uint8 (t, 2, h, w)
        Overwritten with the counts, which saturate at 255; channel 0 is OFF, 1 is ON.
    events
        The recording.

    Raises
    ------
    InputFileError
        There are no events, or one is outside the frame.
    """
    timesteps, _, height, width = frames.shape
    if not len(events.t):
        raise InputFileError("there are no events")
    outside = np.flatnonzero((events.x >= width) | (events.y >= height))
    if len(outside):
        x, y = events.x[outside[0]], events.y[outside[0]]
        raise InputFileError(f"an event at ({x}, {y}) is outside {width} × {height} pixels")
    first, last = int(events.t.min()), int(events.t.max())
    step = (events.t - first) * timesteps // (last - first + 1)
    index = ((step * 2 + events.p) * height + events.y) * width + events.x
    counts = np.bincount(index, minlength=frames.size)
    frames[...] = np.minimum(counts, _SATURATED).reshape(frames.shape)


def decode_nmnist(data: bytes) -> Events:
    """Decode a recording of N-MNIST: 40 bits per event.

    x (8 bits), y (8 bits), polarity (1 bit), time in µs (23 bits), big-endian. y = 240 marks an
    overflow of the camera's 13-bit clock, as in the authors' own reader; it is no event.

    Source: G. Orchard et al., Frontiers in Neuroscience 9:437, 2015.
    """
    if len(data) % 5:
        raise InputFileError(f"{len(data)} bytes, a multiple of 5 expected")
    x, y, high, middle, low = np.frombuffer(data, np.uint8).reshape(-1, 5).T.astype(np.int64)
    is_overflow = y == 240
    t = ((high & 127) << 16 | middle << 8 | low) + (np.cumsum(is_overflow) << 13)
    real = ~is_overflow
    return Events(t[real], x[real], y[real], high[real] >> 7)


def decode_aedat2(data: bytes) -> Events:
    """Decode a recording of CIFAR10-DVS: AEDAT 2.0 of a DVS128.

    Pairs of big-endian 32-bit address and time in µs. The address holds polarity (bit 0), two
    coordinates (bits 1-7 and 8-14) and a mark of external events (bit 15), which are left out.

    The monitor was recorded with a turned camera, and jAER counts from the far corner: upright
    pictures need x = 127 − bits 8-14, y = 127 − bits 1-7, and ON is a polarity bit of 0. So read
    the loaders of the field (SpikingJelly), and so train the networks published for this set.
    """
    version, body = _aedat_body(data)
    if version != "2.0":
        raise InputFileError(f"AEDAT {version}, 2.0 expected")
    if len(body) % 8:
        raise InputFileError(f"{len(body)} bytes of events, a multiple of 8 expected")
    address, t = np.frombuffer(body, ">u4").reshape(-1, 2).T.astype(np.int64)
    real = address & 1 << 15 == 0
    address, t = address[real], t[real]
    return Events(t, 127 - (address >> 8 & 127), 127 - (address >> 1 & 127), 1 - (address & 1))


def decode_aedat3(data: bytes) -> Events:
    """Decode a recording of DVS128 Gesture: the polarity events of an AEDAT 3.1 file.

    Packets of a 28-byte header and events of two little-endian words: polarity (bit 1), row (bits
    2-16) and column (bits 17-31); time in µs, to which the header adds multiples of 2³¹. Packets
    of other events are passed over. Source: the README of the data set, and iniVation's AEDAT 3.1.
    """
    version, body = _aedat_body(data)
    if version != "3.1":
        raise InputFileError(f"AEDAT {version}, 3.1 expected")
    packets = list(_polarity_packets(body))
    if not packets:
        raise InputFileError("there are no events")
    word, t = np.concatenate(packets, axis=1)
    return Events(t, word >> 17 & 0x7FFF, word >> 2 & 0x7FFF, word >> 1 & 1)


def _polarity_packets(body: bytes) -> Iterator[npt.NDArray[np.int64]]:
    """Yield data and time of each packet, int64 (2, n)."""
    at, header_bytes, polarity = 0, 28, 1
    while at < len(body):
        header = body[at : at + header_bytes]
        if len(header) < header_bytes:
            raise InputFileError("truncated in a packet header")
        kind = int.from_bytes(header[:2], "little")
        size, _, overflow, _, number, _ = (int(n) for n in np.frombuffer(header, "<u4", offset=4))
        at += header_bytes
        end = at + size * number
        if end > len(body):
            raise InputFileError(f"truncated: a packet of {number} events of {size} bytes is cut")
        if kind == polarity and size != 8:
            raise InputFileError(f"polarity events of {size} bytes, 8 expected")
        if kind == polarity and number:
            words = np.frombuffer(body, "<u4", 2 * number, at).reshape(-1, 2).T.astype(np.int64)
            words[1] += overflow << 31
            yield words
        at = end


def _aedat_body(data: bytes) -> tuple[str, bytes]:
    """The version of an AEDAT file, and what follows its header lines (which begin with #)."""
    mark, end_mark = b"#!AER-DAT", b"#!END-HEADER"
    if not data.startswith(mark):
        raise InputFileError("not an AEDAT file (no #!AER-DAT in front)")
    at = 0
    while data[at : at + 1] == b"#":
        end = data.find(b"\n", at)
        if end < 0:
            raise InputFileError("truncated in the header")
        is_last = data.startswith(end_mark, at)
        at = end + 1
        if is_last:  # the first event may look like a comment
            break
    version = data[len(mark) : data.index(b"\n")].strip()[:16]
    return version.decode("ascii", "replace"), data[at:]
