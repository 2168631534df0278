"""Training recipes from YAML; faults of the file and of ``--set`` options are found in one pass.

Without torch, so that the command line says at once what is wrong with a recipe.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from imcsim.config.check import Conflict, blame, check_parts, format_fault
from imcsim.config.faults import Fault, UnreadableError, raise_faults
from imcsim.config.layout import Layout, content_hash
from imcsim.config.overrides import Overrides, apply_overrides
from imcsim.config.yaml_positions import KeyPath, dump_document, read_document
from imcsim.errors import RecipeError
from imcsim.network.quantize import leak_fraction
from imcsim.training.recipe import Augmentations, Data, Heading, NetworkPlan, Recipe, Stage

RECIPE_FORMAT = "imcsim-recipe/1"

RECIPE_LAYOUT = Layout(model=Recipe, heading=Heading, example="stages.0.epochs=3")

_EVENT_SETS = ("nmnist", "cifar10dvs", "dvs128gesture")
_COLOUR_SETS = ("cifar10", "cifar100", "tiny_imagenet")


def load_recipe(path: str | Path, overrides: Overrides = ()) -> Recipe:
    """Read and check a recipe.

    Parameters
    ----------
    path : str or Path
        YAML file with ``format: imcsim-recipe/1``; shown in messages as it is given here.
    overrides : sequence of str or mapping, optional
        ``["stages.0.epochs=3", "network.channels=[16, pool]"]``; stages count from 0. Put in
        before anything is checked.

    Raises
    ------
    RecipeError
        With one line per fault: ``file:line:column: key: what is wrong, what is allowed``.
    UsageError
        If only the overrides are at fault.
    """
    try:
        document = read_document(path)
    except UnreadableError as error:
        raise_faults([error.fault], RecipeError)
    if wrong := format_fault(document, RECIPE_FORMAT):
        raise_faults([wrong], RecipeError)
    del document.data["format"]
    faults: list[Fault] = list(document.faults)
    apply_overrides(document, RECIPE_LAYOUT, overrides, faults)
    parts = check_parts(document, RECIPE_LAYOUT, faults)
    faults.extend(blame(conflict, document) for conflict in conflicts(parts))
    if faults:
        raise_faults(faults, RecipeError)
    return Recipe.model_validate(parts)


def dump_recipe(recipe: Recipe) -> str:
    """YAML text with every default written out; `load_recipe` of it gives an equal recipe."""
    return dump_document({"format": RECIPE_FORMAT, **recipe.model_dump(mode="json")})


def recipe_hash(recipe: Recipe) -> str:
    """SHA-256 of all values, in hexadecimal: equal however the file spells them, and whether it
    says a default or leaves it out."""
    return content_hash(recipe)


def conflicts(parts: Mapping[str, object]) -> Iterator[Conflict]:
    """Faults between keys; those of which a section is missing or invalid are passed over."""
    data, network, stages = parts.get("data"), parts.get("network"), parts.get("stages")
    data = data if isinstance(data, Data) else None
    network = network if isinstance(network, NetworkPlan) else None
    augmentation = parts.get("augmentation")
    if network is not None:
        yield from _network_conflicts(network)
    if data is not None and isinstance(augmentation, Augmentations):
        yield from _augmentation_conflicts(augmentation, data)
    for i, stage in enumerate(stages if isinstance(stages, tuple) else ()):
        if isinstance(stage, Stage):
            yield from _stage_conflicts(stage, ("stages", i), data, network)


def _network_conflicts(network: NetworkPlan) -> Iterator[Conflict]:
    m, n = leak_fraction(network.tau)
    if m / 2**n != network.tau:
        yield Conflict(
            (("network", "tau"),),
            f"must be m / 2^n with whole m and n up to 8 (got {network.tau!r}); the nearest is"
            f" {m / 2**n!r}, {m}/{2**n}",
        )
    if network.channels is None:
        return
    if network.architecture != "vgg":
        yield Conflict(
            (("network", "channels"), ("network", "architecture")),
            f"must be left out: architecture {network.architecture} has its own"
            " (network.width scales them)",
        )
    elif all(entry == "pool" for entry in network.channels):
        yield Conflict((("network", "channels"),), "must have at least one convolution")


def _augmentation_conflicts(augmentation: Augmentations, data: Data) -> Iterator[Conflict]:
    if augmentation.autoaugment and data.name not in _COLOUR_SETS:
        yield Conflict(
            (("augmentation", "autoaugment"), ("data", "name")),
            f"must be false with data.name {data.name}: the policy is for colour images"
            f" ({', '.join(_COLOUR_SETS)})",
        )


def _stage_conflicts(
    stage: Stage, path: KeyPath, data: Data | None, network: NetworkPlan | None
) -> Iterator[Conflict]:
    events = data is not None and data.name in _EVENT_SETS
    if network is not None and events and stage.timesteps > network.timesteps:
        yield Conflict(
            ((*path, "timesteps"), ("network", "timesteps"), ("data", "name")),
            f"must be at most network.timesteps, {network.timesteps}, the frames of a recording"
            f" (got {stage.timesteps})",
        )
    if stage.weight_noise and not stage.quantized:
        yield Conflict(
            ((*path, "weight_noise"), (*path, "quantized")),
            f"must be 0 unless quantized is true (got {stage.weight_noise:g})",
        )
    if stage.warmup_epochs > stage.epochs:
        yield Conflict(
            ((*path, "warmup_epochs"), (*path, "epochs")),
            f"must be at most epochs, {stage.epochs} (got {stage.warmup_epochs:g})",
        )
