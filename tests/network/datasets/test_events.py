"""Event formats against encoders, frames against counting one event at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imcsim.errors import InputFileError
from imcsim.network.datasets.events import (
    Events,
    decode_aedat2,
    decode_aedat3,
    decode_nmnist,
    fill_frames,
)
from tests.network.datasets.encoders import (
    AEDAT3_HEADER,
    Event,
    aedat2,
    aedat3,
    aedat3_packet,
    frames_of,
    nmnist,
    some_events,
)


def as_tuples(events: Events) -> list[Event]:
    columns = (events.t, events.x, events.y, events.p)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def as_events(events: list[Event]) -> Events:
    return Events(*np.array(events, np.int64).reshape(-1, 4).T)


def events_in(side: int, last: int) -> st.SearchStrategy[list[Event]]:
    pixel = st.integers(0, side - 1)
    return st.lists(
        st.tuples(st.integers(0, last), pixel, pixel, st.integers(0, 1)), min_size=1, max_size=30
    )


@given(events=events_in(34, 2**23 - 1))
@settings(deadline=None)
def test_nmnist_events_are_decoded(events: list[Event]) -> None:
    assert as_tuples(decode_nmnist(nmnist(events))) == events


def test_nmnist_overflows_add_to_later_times_and_are_no_events() -> None:
    events = [(5, 1, 2, 1), (0, 0, 240, 0), (7, 3, 4, 0), (0, 0, 240, 0), (9, 5, 6, 1)]
    expected = [(5, 1, 2, 1), (7 + 8192, 3, 4, 0), (9 + 2 * 8192, 5, 6, 1)]
    assert as_tuples(decode_nmnist(nmnist(events))) == expected


@given(events=events_in(128, 2**32 - 1))
@settings(deadline=None)
def test_aedat2_events_are_decoded(events: list[Event]) -> None:
    assert as_tuples(decode_aedat2(aedat2(events))) == events


def test_external_events_are_left_out() -> None:
    external = (1 << 15).to_bytes(4, "big") + bytes(4)
    assert as_tuples(decode_aedat2(aedat2([(8, 1, 2, 1)]) + external)) == [(8, 1, 2, 1)]


@given(events=events_in(128, 2**31 - 1))
@settings(deadline=None)
def test_aedat3_events_are_decoded(events: list[Event]) -> None:
    half = len(events) // 2
    packets = [part for part in (events[:half], events[half:]) if part]
    assert as_tuples(decode_aedat3(aedat3(*packets))) == events


def test_aedat3_times_go_on_behind_the_overflow_of_their_31_bits() -> None:
    late = [(2**31 + 5, 1, 2, 0), (2**31 + 9, 3, 4, 1)]
    assert as_tuples(decode_aedat3(aedat3([(2**31 - 1, 0, 0, 0)], late)))[1:] == late


def test_aedat3_packets_of_other_events_are_passed_over() -> None:
    events = some_events(1, 128)
    other = aedat3_packet([(1, 2, 3, 0)], kind=0)
    assert as_tuples(decode_aedat3(AEDAT3_HEADER + other + aedat3_packet(events) + other)) == events


@given(events=events_in(5, 40), timesteps=st.integers(1, 12))
@settings(deadline=None)
def test_frames_match_counting_one_event_at_a_time(events: list[Event], timesteps: int) -> None:
    frames = np.full((timesteps, 2, 6, 5), 99, np.uint8)
    fill_frames(frames, as_events(events))
    np.testing.assert_array_equal(frames, frames_of(events, timesteps, 6, 5))
    assert frames.sum() == len(events)


def test_slices_are_equal_parts_of_the_duration() -> None:
    frames = np.empty((4, 2, 1, 1), np.uint8)
    fill_frames(frames, as_events([(t, 0, 0, 1) for t in range(100, 120)]))
    assert frames[:, 1, 0, 0].tolist() == [5, 5, 5, 5]
    assert not frames[:, 0].any()


def test_counts_saturate_at_255() -> None:
    frames = np.empty((1, 2, 2, 2), np.uint8)
    fill_frames(frames, as_events([(0, 1, 0, 0)] * 300 + [(0, 0, 1, 1)] * 255))
    assert frames[0].tolist() == [[[0, 255], [0, 0]], [[0, 0], [255, 0]]]


def test_events_between_two_times_exclude_the_end() -> None:
    events = as_events([(t, t, 0, 0) for t in range(10)])
    assert events.between(3, 6).x.tolist() == [3, 4, 5]


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([], "there are no events"),
        ([(0, 3, 4, 0), (0, 5, 0, 0)], r"an event at \(5, 0\) is outside 5 × 6 pixels"),
        ([(0, 0, 6, 0)], r"an event at \(0, 6\) is outside"),
    ],
)
def test_recordings_that_make_no_frames_are_refused(events: list[Event], reason: str) -> None:
    with pytest.raises(InputFileError, match=reason):
        fill_frames(np.empty((2, 2, 6, 5), np.uint8), as_events(events))


ONE = [(8, 1, 2, 1)]


@pytest.mark.parametrize(
    ("decode", "data", "reason"),
    [
        (decode_nmnist, nmnist(ONE)[:4], "4 bytes, a multiple of 5 expected"),
        (decode_aedat2, aedat2(ONE)[:-3], "5 bytes of events, a multiple of 8 expected"),
        (decode_aedat2, aedat3(ONE), "AEDAT 3.1, 2.0 expected"),
        (decode_aedat2, b"hello", "not an AEDAT file"),
        (decode_aedat2, b"", "not an AEDAT file"),
        (decode_aedat2, b"#!AER-DAT", "truncated in the header"),
        (decode_aedat2, b"#!AER-DAT\r\n", "AEDAT , 2.0 expected"),
        (decode_aedat2, b"#!AER-DAT2.0\r\n# cut", "truncated in the header"),
        (decode_aedat3, aedat2(ONE), "AEDAT 2.0, 3.1 expected"),
        (decode_aedat3, aedat3(ONE)[:-3], "truncated: a packet of 1 events of 8 bytes is cut"),
        (decode_aedat3, aedat3(ONE)[:-16], "truncated in a packet header"),
        (decode_aedat3, AEDAT3_HEADER, "there are no events"),
        (
            decode_aedat3,
            aedat3(ONE).replace(b"\x08\0\0\0\x04", b"\x04\0\0\0\x04"),
            "polarity events of 4 bytes, 8 expected",
        ),
    ],
)
def test_damaged_recordings_are_refused(decode: object, data: bytes, reason: str) -> None:
    with pytest.raises(InputFileError) as caught:
        decode(data)  # type: ignore[operator]
    assert reason in str(caught.value)
