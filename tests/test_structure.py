"""The shape of the package: who imports whom, what start-up costs, what a script can use."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import imcsim

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "imcsim"

# The floors of docs/design.md: a package imports lower floors only, and nobody else on its own.
FLOORS = {
    "errors": 0,
    "units": 0,
    "kernels": 1,
    "config": 1,
    "chip": 2,
    "network": 2,
    "hardware": 3,
    "mapping": 3,
    "activity": 3,
    "functional": 4,
    "timing": 4,
    "energy": 4,
    "simulator": 5,
    "results": 6,
    "report": 7,
    "sweep": 7,
    "training": 7,
    "cli": 8,
    "__init__": 9,
    "__main__": 9,
}

HEAVY = {"numba", "pandas", "matplotlib"}


def imported_names(tree: ast.Module, module: str, is_package: bool) -> Iterator[str]:
    """Yield the dotted name of everything that a module imports, wherever in it the import stands.

    ``from a import b`` yields ``a.b``. Relative imports are resolved against `module`, and a
    literal argument of ``import_module`` counts as an import.
    """
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=[ast.alias(name="imcsim", asname=None)]):
                pass  # what counts is which names are taken from it: the next case
            case ast.Attribute(value=ast.Name(id="imcsim"), attr=attribute):
                yield f"imcsim.{attribute}"
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=source, names=names, level=level):
                base = resolve(source, level, module, is_package)
                yield from (f"{base}.{alias.name}" for alias in names)
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__")
                | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield name


def resolve(source: str | None, level: int, module: str, is_package: bool) -> str:
    """Absolute name of the module in ``from <dots><source> import ...``."""
    if level == 0:
        return source or ""
    parts = module.split(".")
    parents = parts[: len(parts) - level + is_package]
    return ".".join([*parents, *filter(None, [source])])


def violations(module: str, source: str, is_package: bool = False) -> list[str]:
    """Say which imports of one module break a rule; `module` is dotted, ``imcsim.`` in front."""
    own = module.split(".")[1] if "." in module else "__init__"
    if own not in FLOORS:
        return [f"{module}: {own} stands on no floor; add it to FLOORS and to docs/design.md"]
    faults = []
    for name in imported_names(ast.parse(source), module, is_package):
        top, *rest = name.split(".")
        if top == "torch" and own != "training":
            faults.append(f"{module} imports torch; only imcsim.training may")
        if top == "imcsim" and (fault := floor_fault(own, module, is_package, rest)):
            faults.append(f"{module} imports {name}: {fault}")
    return faults


def floor_fault(own: str, module: str, is_package: bool, rest: list[str]) -> str | None:
    """What is wrong with ``imcsim.<rest>`` inside `module` of package `own`, or None."""
    if rest == ["__version__"]:
        return None
    # A name that is no floor is looked up in imcsim/__init__.py, which stands above everything.
    target = rest[0] if rest and rest[0] in FLOORS else "__init__"
    if own == "kernels":
        # Numba's cache does not notice a change in another file, so kernels share nothing but _jit.
        allowed = rest[:2] == ["kernels", "_jit"] or (is_package and target == "kernels")
        return None if allowed else "a kernel file imports nothing of imcsim but kernels._jit"
    if own == target or FLOORS[target] < FLOORS[own]:
        return None
    return f"floor {FLOORS[own]} may not use floor {FLOORS[target]}"


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def test_every_package_imports_lower_floors_only() -> None:
    faults = [
        fault
        for module, path in modules()
        for fault in violations(module, path.read_text("utf-8"), path.name == "__init__.py")
    ]
    assert faults == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("imcsim.energy.account", "from imcsim.timing.engine import simulate"),
        ("imcsim.energy.account", "from imcsim import timing"),
        ("imcsim.energy.account", "from ..timing import engine"),
        ("imcsim.energy.account", "from .. import timing"),
        ("imcsim.mapping.slicing", "def f():\n    import imcsim.functional.crossbar"),
        ("imcsim.mapping.slicing", "if TYPE_CHECKING:\n    from imcsim.simulator import run"),
        ("imcsim.hardware.adc", "import importlib\nimportlib.import_module('imcsim.cli')"),
        ("imcsim.hardware.adc", "from imcsim import load_chip"),
        ("imcsim.hardware.adc", "from imcsim.activity import Activity"),
        ("imcsim.cli.main", "import imcsim\nimcsim.run(chip, workload)"),
        ("imcsim.cli.main", "import imcsim as everything"),
        ("imcsim.errors", "from imcsim.units import eng"),
        ("imcsim.kernels.lif", "from imcsim.kernels.conv import pad"),
        ("imcsim.kernels.lif", "from imcsim.errors import ImcsimError"),
        ("imcsim.simulator.run", "import torch.nn as nn"),
        ("imcsim.utilities.strings", ""),
    ],
)
def test_a_forbidden_import_is_noticed(module: str, source: str) -> None:
    assert len(violations(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source", "is_package"),
    [
        ("imcsim.timing.engine", "from imcsim.kernels.event_wheel import advance", False),
        ("imcsim.timing.engine", "from .graph import TaskGraph", False),
        ("imcsim.timing", "from .graph import TaskGraph", True),
        ("imcsim.timing", "from ..mapping import Mapping", True),
        ("imcsim.kernels.lif", "from imcsim.kernels._jit import kernel", False),
        ("imcsim.kernels", "from imcsim.kernels.lif import lif_step", True),
        ("imcsim.results.provenance", "from imcsim import __version__", False),
        ("imcsim.cli.main", "import imcsim\nprint(imcsim.__version__)", False),
        ("imcsim.training.loop", "import torch", False),
        ("imcsim", "from imcsim.simulator import run", True),
    ],
)
def test_an_allowed_import_is_not_noticed(module: str, source: str, is_package: bool) -> None:
    assert violations(module, source, is_package) == []


def modules_after(code: str, cwd: Path) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after running `code`."""
    report = "import json, sys\nprint('\\n' + json.dumps(sorted(sys.modules)))"
    process = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return {name.partition(".")[0] for name in json.loads(process.stdout.splitlines()[-1])}


RUN_MAIN = """
import runpy, sys
sys.argv = ["imcsim", *{arguments}]
try:
    runpy.run_module("imcsim", run_name="__main__")
except SystemExit as stop:
    assert not stop.code, stop.code
"""


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"]], ids=" ".join)
def test_a_help_text_does_not_wait_for_heavy_imports(arguments: list[str], tmp_path: Path) -> None:
    loaded = modules_after(RUN_MAIN.format(arguments=arguments), tmp_path)
    assert "click" in loaded
    assert not loaded & HEAVY


def test_importing_imcsim_imports_nothing_heavy(tmp_path: Path) -> None:
    loaded = modules_after("import imcsim; imcsim.__version__; dir(imcsim)", tmp_path)
    assert "imcsim" in loaded
    assert not loaded & (HEAVY | {"numpy", "pydantic", "yaml"})


@pytest.mark.parametrize("name", imcsim.__all__)
def test_an_exported_name_is_there(name: str) -> None:
    assert getattr(imcsim, name) is not None
    assert name in dir(imcsim)


def test_a_name_that_is_not_exported_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'load_chips'"):
        imcsim.load_chips  # noqa: B018


def test_type_checkers_and_python_see_the_same_exports() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text("utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    declared = {
        alias.asname: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert declared == imcsim._MODULE_OF
