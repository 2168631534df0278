"""The workload file: nothing is lost, and whatever is wrong with one is said in one line."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imcsim.errors import WorkloadError
from imcsim.network.layers import Layer
from imcsim.network.reference import run_reference
from imcsim.network.workload import Workload, read_workload, write_workload
from tests.small_networks import SMALL_NETWORKS, max_pool_network, random_workload

Arrays = dict[str, Any]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.npz"
    write_workload(path, random_workload(max_pool_network()))
    return path


def assert_same(a: Workload, b: Workload) -> None:
    for field in dataclasses.fields(a.network):
        if field.name != "layers":
            np.testing.assert_array_equal(
                getattr(a.network, field.name), getattr(b.network, field.name)
            )
    for layer, twin in zip(a.network.layers, b.network.layers, strict=True):
        for field in dataclasses.fields(Layer):
            x, y = getattr(layer, field.name), getattr(twin, field.name)
            np.testing.assert_array_equal(x, y)
            assert getattr(x, "dtype", None) == getattr(y, "dtype", None)
    for field in dataclasses.fields(Workload):
        if field.name not in ("network", "sha256"):
            np.testing.assert_array_equal(getattr(a, field.name), getattr(b, field.name))


@pytest.mark.parametrize("name", SMALL_NETWORKS)
def test_what_is_written_is_read(name: str, tmp_path: Path) -> None:
    workload = random_workload(
        SMALL_NETWORKS[name](),
        accumulate="mean",
        policy="margin",
        accuracies={"1000": [0.7, 0.8]},
    )
    write_workload(tmp_path / "a.npz", workload)
    again = read_workload(tmp_path / "a.npz")
    assert_same(workload, again)
    data = (tmp_path / "a.npz").read_bytes()
    assert again.sha256 == hashlib.sha256(data).hexdigest()
    write_workload(tmp_path / "b.npz", again)
    assert (tmp_path / "b.npz").read_bytes() == data


def test_golden_logits_of_a_file_are_the_references(path: Path) -> None:
    workload = read_workload(path)
    run = run_reference(workload.network, workload.images[:4])
    np.testing.assert_array_equal(run.logits, workload.golden_logits)


def test_numpy_reads_the_file_without_pickles(path: Path) -> None:
    with np.load(path, allow_pickle=False) as file:
        assert json.loads(str(file["meta"]))["format"] == "imcsim-workload/1"
        assert file["L0.weight"].dtype == np.int8


def test_arrays_in_fortran_order_are_read_as_they_are(path: Path) -> None:
    expected = read_workload(path)
    rewrite(path, lambda a: a.update({"L2.weight": np.asfortranarray(a["L2.weight"])}))
    assert_same(read_workload(path), expected)


def test_a_failed_write_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(*args: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    with pytest.raises(WorkloadError, match=r"cannot be written \(No space left on device\)"):
        write_workload(path, random_workload(max_pool_network()))
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"images": np.array([object()])}, "images: dtype object, expected uint8"),
        ({"labels": np.full(6, 4)}, "labels: 4..4 found, there are 4 classes"),
        ({"theta": {"entropy": {"sum": [0.1]}}}, "theta.entropy.sum: 1 values for 3 timesteps"),
        ({"policy": "guess"}, "meta: policy: "),
        ({"accuracies": {"a": float("nan")}}, "meta: not JSON (Out of range float values"),
        ({"provenance": {"a": object()}}, "meta: not JSON (Object of type object"),
    ],
)
def test_what_could_not_be_read_is_not_written(
    change: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    workload = dataclasses.replace(random_workload(max_pool_network()), **change)
    with pytest.raises(WorkloadError) as caught:
        write_workload(tmp_path / "a.npz", workload)
    assert f"a.npz: {reason}" in str(caught.value) or reason in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_directory_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match=r"nowhere.a.npz: cannot be written \(No such file"):
        write_workload(tmp_path / "nowhere" / "a.npz", random_workload(max_pool_network()))


def rewrite(path: Path, change: Callable[[Arrays], Any]) -> None:
    """Load all arrays, change them, and save them as numpy does."""
    with np.load(path) as file:
        arrays = dict(file)
    change(arrays)
    np.savez(path, **arrays)


def change_meta(change: Callable[[dict[str, Any]], Any]) -> Callable[[Arrays], None]:
    def changed(arrays: Arrays) -> None:
        meta = json.loads(str(arrays["meta"]))
        change(meta)
        arrays["meta"] = np.array(json.dumps(meta))

    return changed


def refusal(path: Path) -> str:
    """The one line with which the file is refused, without its path."""
    with pytest.raises(WorkloadError) as caught:
        read_workload(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    return line.removeprefix(f"{path}: ")


def put(key: str, value: Any) -> Callable[[Arrays], None]:
    return lambda arrays: arrays.update({key: value})


def edit(key: str, change: Callable[[Any], Any]) -> Callable[[Arrays], None]:
    return lambda arrays: arrays.update({key: change(arrays[key])})


def meta(**changes: Any) -> Callable[[Arrays], None]:
    return change_meta(lambda m: m.update(changes))


def layer(index: int, **changes: Any) -> Callable[[Arrays], None]:
    return change_meta(lambda m: m["layers"][index].update(changes))


def neuron(**changes: Any) -> Callable[[Arrays], None]:
    return change_meta(lambda m: m["neuron"].update(changes))


FAULTS = [
    (lambda a: a.pop("labels"), "labels: missing"),
    (lambda a: a.pop("meta"), "meta: missing (is this a workload file?)"),
    (lambda a: a.pop("input_table"), "input_table: missing"),
    (lambda a: a.pop("L2.threshold"), "L2.threshold: missing"),
    (put("L0.weights", 1), "L0.weights: unexpected key (did you mean L0.weight?)"),
    (put("zzz", 1), "zzz: unexpected key"),
    (put("meta", np.zeros(3)), "meta: a single string expected, found shape (3,) of float64"),
    (put("meta", np.array("{")), "meta: not JSON ("),
    (put("meta", np.array(" " * 2**22 + "{")), "meta: 16777220 bytes is absurdly large"),
    (put("meta", np.array('{"format": NaN}')), "meta: not JSON (NaN is no JSON number)"),
    (put("meta", np.array("[" * 100_000)), "meta: not JSON ("),
    (put("meta", np.array(b"\xff")), "meta: not JSON ("),
    (put("meta", np.array("[]")), "meta: a JSON object expected, found list"),
    (put("meta", np.array("{}")), "meta: format: unknown version None"),
    (meta(format="imcsim-workload/2"), "unknown version 'imcsim-workload/2', this program reads"),
    (change_meta(lambda m: m.pop("theta")), "meta: theta: missing"),
    (meta(tetha={}), "meta: tetha: unexpected key (did you mean theta?)"),
    (meta(**{"a\nb": 1}), "meta: a\\nb: unexpected key"),
    (layer(0, name="a\nb"), "meta: layers.0.name: "),
    (layer(0, stirde=1), "meta: layers.0.stirde: unexpected key (did you mean stride?)"),
    (meta(timesteps="4"), "meta: timesteps: Input should be a valid integer (found '4')"),
    (meta(timesteps=0), "meta: timesteps: "),
    (meta(image_shape=[2, 6]), "meta: image_shape: "),
    (meta(image_shape=[2, 6, 1 << 40]), "meta: image_shape.2: "),
    (meta(encoding="rate"), "meta: encoding: "),
    (meta(logit_scale=-1.0), "meta: logit_scale: "),
    (meta(layers=[]), "meta: layers: "),
    (meta(theta={"entrpy": {"sum": 0.1}}), "meta: theta.entrpy"),
    (meta(theta={"entropy": {"sum": [0.1]}}), "theta.entropy.sum: 1 values for 3 timesteps"),
    (meta(theta={"entropy": {"sum": "0.1"}}), "meta: theta.entropy.sum"),
    (meta(classes=5), "classes: 5, but the classifier has 4 outputs"),
    (layer(1, source=9), "layers[1] (pool1): source: there is no layer 9"),
    (layer(1, source=2), "layers[1] (pool1): source: layer 2 comes later"),
    (layer(1, source=-2), "meta: layers.1.source: "),
    (layer(0, kind="deconv"), "meta: layers.0.kind: "),
    (layer(1, kind="max_pool", source=-1), "max_pool needs binary inputs"),
    (neuron(membrane_bits=99), "meta: neuron.membrane_bits: "),
    (neuron(fraction_bits=-1), "meta: neuron.fraction_bits: "),
    (neuron(leak_multiplier=3), "neuron.leak_multiplier: 3 is not in 1..2"),
    (edit("input_table", lambda x: x[:, :100]), "input_table: shape (2, 100), expected (2, 256)"),
    (edit("L0.weight", lambda x: x.astype(float)), "L0.weight: dtype float64, expected int8"),
    (edit("L0.weight", lambda x: x[:1]), "L0.weight: shape (1, 2, 3, 3), expected (5, 2, 3, 3)"),
    (edit("L0.weight", lambda x: np.full_like(x, -128)), "L0.weight: −128 found"),
    (edit("L0.scale", lambda x: x * np.nan), "L0.scale: NaN, infinite or not positive"),
    (edit("L0.scale", lambda x: x * np.inf), "L0.scale: NaN, infinite or not positive"),
    (edit("L0.threshold", lambda x: x * 0), "L0.threshold: must be in 1..32766"),
    (edit("L0.bias", lambda x: x.astype(">i4")), "L0.bias: dtype >i4, expected int32"),
    (edit("labels", lambda x: x * 0 + 4), "labels: 4..4 found, there are 4 classes"),
    (edit("labels", lambda x: x * 0 - 1), "labels: -1..-1 found, there are 4 classes"),
    (edit("labels", lambda x: x[:2]), "labels: shape (2,), expected (6,)"),
    (edit("labels", lambda x: x.astype(np.uint8)), "labels: dtype uint8, expected int64"),
    (edit("calibration_labels", lambda x: x + 9), "calibration_labels: "),
    (edit("images", lambda x: x.astype(float)), "images: dtype float64, expected uint8"),
    (edit("images", lambda x: x[:, :1]), "images: shape (6, 1, 6, 6), expected (6, 2, 6, 6)"),
    (put("images", np.uint8(1)), "images: shape (), expected (0, 2, 6, 6)"),
    (
        lambda a: a.update(images=a["images"][:0], labels=a["labels"][:0]),
        "images: there are none",
    ),
    (edit("golden_logits", lambda x: x[:, :2]), "golden_logits: shape (4, 2, 4), expected (4, 3"),
    (edit("golden_logits", lambda x: x[:0]), "golden_logits: 0 rows for 6 images"),
    (edit("golden_logits", lambda x: np.tile(x, (2, 1, 1))), "golden_logits: 8 rows for 6 images"),
    (put("labels", np.array([None, 1])), "labels: damaged (dtype '|O'; pickled objects"),
    (put("labels", np.zeros(6, [("a", int)])), "labels: damaged (a structured dtype"),
    (put("labels", np.zeros(6, "M8[s]")), "labels: damaged (dtype '<M8[s]'"),
]


@pytest.mark.parametrize(("change", "reason"), FAULTS, ids=[reason for _, reason in FAULTS])
def test_a_faulty_file_is_refused_in_one_line(
    change: Callable[[Arrays], Any], reason: str, path: Path
) -> None:
    rewrite(path, change)
    assert refusal(path).startswith(reason) or reason in refusal(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.npz") == "cannot be read (No such file or directory)"


def test_a_directory_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "cannot be read (Is a directory)"


def test_an_empty_file_is_refused(path: Path) -> None:
    path.write_bytes(b"")
    assert refusal(path) == "the file is empty"


def test_a_file_of_another_kind_is_refused(path: Path) -> None:
    path.write_bytes(b"name,value\n" * 100)
    assert refusal(path).startswith("not a .npz file, or a truncated one")


def test_a_zip_of_a_later_version_is_refused(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 6] = 99
    path.write_bytes(bytes(data))
    assert refusal(path).startswith("not a .npz file, or a truncated one (zip file version 9.9)")


def test_an_encrypted_member_is_refused(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        data[data.index(signature) + flags] |= 1
    path.write_bytes(bytes(data))
    assert "meta: damaged (" in refusal(path)


def test_a_truncated_file_is_refused_wherever_it_is_cut(path: Path) -> None:
    data = path.read_bytes()
    for length in (1, 100, len(data) // 2, len(data) - 30, len(data) - 1):
        path.write_bytes(data[:length])
        assert refusal(path)


def test_a_flipped_byte_never_goes_unnoticed_or_ends_in_a_traceback(path: Path) -> None:
    """Every 97th byte; names and sizes stand twice in a zip, contents carry a checksum."""
    expected = read_workload(path)
    data = path.read_bytes()
    for position in range(0, len(data), 97):
        broken = bytearray(data)
        broken[position] ^= 0x15
        path.write_bytes(bytes(broken))
        try:
            assert_same(read_workload(path), expected)  # dates and attributes carry no meaning
        except WorkloadError as exc:
            assert "\n" not in str(exc)


def header(descr: str, shape: str) -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


RAW_MEMBERS = [
    (header("<i8", "(4611686018427387904, 4)"), "is absurdly large"),
    (header("|i1", "(99999999999999999999999,)"), "is absurdly large"),
    (
        header("<i8", "(1000000,)"),
        "0 bytes of data for shape (1000000,) of int64, expected 8000000",
    ),
    (header("<i8", "(1,)") + bytes(800), "800 bytes of data for shape (1,)"),
    (header("<i8", "(-1,)"), "a shape that is none"),
    (header("<i8", "[1]"), "a shape that is none"),
    (header("<i8", "(True,)"), "a shape that is none"),
    (header("<i8", "(" + "1," * 33 + ")") + bytes(8), "33 dimensions"),
    (header("nonsense", "(1,)"), "unknown dtype 'nonsense'"),
    (header("<i8", "(1,"), "unreadable .npy header"),
    (b"\x93NUMPY\x01\x00\x02\x00[]", "unreadable .npy header"),
    (b"\x93NUMPY\x02\x00\xff\xff\xff\x7f", "a header of 2147483647 bytes"),
    (b"\x93NUMPY\x07\x00\x00\x00", "unknown .npy version (7, 0)"),
    (b"PNG", "damaged"),
    (b"", "damaged"),
]


@pytest.mark.parametrize(("data", "reason"), RAW_MEMBERS, ids=[r for _, r in RAW_MEMBERS])
def test_an_impossible_header_is_refused_before_anything_is_allocated(
    data: bytes, reason: str, path: Path
) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("labels.npy", data)
    line = refusal(path)
    assert line.startswith("labels: ") and reason in line


def test_a_member_that_is_no_array_is_refused(path: Path) -> None:
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("notes.txt", "hello")
    assert refusal(path) == "notes.txt: not an array (no .npy member)"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_key_that_stands_twice_is_refused(path: Path) -> None:
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.npy", header("<i8", "(0,)"))
    assert refusal(path) == "labels: stands twice in the archive"


def test_another_compression_is_refused(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("labels.npy", header("<i8", "(0,)"))
    assert refusal(path) == "labels: unknown compression"
