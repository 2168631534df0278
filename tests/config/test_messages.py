from __future__ import annotations

import pytest

from imcsim.config.messages import close_match, plain_number, unit_of


@pytest.mark.parametrize(
    ("key", "text", "number"),
    [
        ("r_on_ohm", "20 kOhm", "20e3"),
        ("r_on_ohm", "20kΩ", "20e3"),
        ("r_on_ohm", "1.5 MOhm", "1.5e6"),
        ("r_on_ohm", "20 ohms", "20"),
        ("r_on_ohm", "2e3 ohm", "2e3"),
        ("r_on_ohm", "2e3 kOhm", None),
        ("r_on_ohm", "20 kV", None),
        ("clock_hz", "500 MHz", "500e6"),
        ("clock_hz", "500mhz", "500e6"),
        ("clock_hz", "1 GHZ", "1e9"),
        ("clock_hz", "5 XHz", None),
        ("read_v", "100 mV", "100e-3"),
        ("read_v", "100000 µV", "100000e-6"),
        ("buffer_bytes", "10KB", "10240"),
        ("buffer_bytes", "10 kB", "10240"),
        ("buffer_bytes", "10 KiB", "10240"),
        ("buffer_bytes", "1.5 MB", "1572864"),
        ("buffer_bytes", "20 bytes", "20"),
        ("buffer_bytes", "5 pB", None),
        ("membrane_bits", "16 bit", "16"),
        ("router_cycles", "2 cycles", "2"),
        ("settle_s", "3.24 ns", "3.24e-9"),
        ("lut_s", "2e-9 s", "2e-9"),
        ("rows", "1_000", "1000"),
        ("rows", "64 rows", None),
        ("rows", "many", None),
        ("rows", "1,000", None),
    ],
)
def test_a_quantity_is_turned_into_the_number_to_write(
    key: str, text: str, number: str | None
) -> None:
    assert plain_number(key, text) == number


def test_the_suffix_of_a_key_is_its_unit() -> None:
    assert [unit_of(key) for key in ("clock_hz", "r_on_ohm", "read_v", "rows")] == [
        "Hz", "Ω", "V", "",
    ]  # fmt: skip


def test_a_difference_of_case_goes_before_a_difference_of_letters() -> None:
    assert close_match("PJ", ["mJ", "J", "pJ"]) == "pJ"
    assert close_match("clock_mhz", ["vdd_v", "clock_hz"]) == "clock_hz"
    assert close_match("zzz", ["vdd_v"]) is None
