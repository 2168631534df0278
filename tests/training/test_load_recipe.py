from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from imcsim.errors import RecipeError, UsageError
from imcsim.network.datasets import DATASETS
from imcsim.training.load_recipe import dump_recipe, load_recipe, recipe_hash
from imcsim.training.recipe import Augmentations, Data, NetworkPlan, Recipe, Stage

TEXT = """\
format: imcsim-recipe/1
name: small vgg
seed: 1
data:
  name: cifar10
  held_out: 500
network:
  architecture: vgg
  timesteps: 4
  channels: [16, pool, 32, pool]
stages:
- epochs: 3
  timesteps: 2
  learning_rate: 0.1
- epochs: 2
  timesteps: 4
  learning_rate: 1e-3
  quantized: true
  weight_noise: 0.1
"""
STAGE_KEYS = ", ".join(Stage.model_fields)


def recipe_file(folder: Path, *changes: tuple[str, str]) -> Path:
    """The recipe with each first text replaced, once, by the second one."""
    text = TEXT
    for old, new in changes:
        assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times"
        text = text.replace(old, new)
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def faults(path: Path, overrides: Sequence[str] = ()) -> list[str]:
    """Fault lines of a file that must not load, without its folder."""
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, overrides)
    return [line.replace(f"{path.parent}/", "") for line in caught.value.faults]


# What comes out


def test_a_recipe_is_read_with_its_defaults(tmp_path: Path) -> None:
    assert load_recipe(recipe_file(tmp_path)) == Recipe(
        name="small vgg",
        seed=1,
        data=Data(name="cifar10", held_out=500),
        network=NetworkPlan(architecture="vgg", timesteps=4, channels=(16, "pool", 32, "pool")),
        stages=(
            Stage(epochs=3, timesteps=2, learning_rate=0.1),
            Stage(epochs=2, timesteps=4, learning_rate=1e-3, quantized=True, weight_noise=0.1),
        ),
    )


def test_options_replace_values_of_every_part(tmp_path: Path) -> None:
    recipe = load_recipe(
        recipe_file(tmp_path),
        [
            "seed=7",
            "fused_neurons=true",
            "data.held_out=100",
            "network.channels=[8, pool]",
            "augmentation.flip=false",
            "stages.1.learning_rate=0.01",
            "stages[0].epochs=9",
        ],
    )
    assert (recipe.seed, recipe.fused_neurons, recipe.data.held_out) == (7, True, 100)
    assert recipe.network.channels == (8, "pool")
    assert recipe.augmentation == Augmentations(flip=False)
    assert [stage.learning_rate for stage in recipe.stages] == [0.1, 0.01]
    assert [stage.epochs for stage in recipe.stages] == [9, 2]


def test_every_data_set_that_can_be_read_can_be_trained_on(tmp_path: Path) -> None:
    path = recipe_file(tmp_path)
    assert {load_recipe(path, [f"data.name={name}"]).data.name for name in DATASETS} == {*DATASETS}


def test_a_recipe_that_is_written_and_loaded_is_the_same_recipe(tmp_path: Path) -> None:
    recipe = load_recipe(recipe_file(tmp_path))
    text = dump_recipe(recipe)
    again = tmp_path / "again.yaml"
    again.write_text(text, encoding="utf-8")
    assert load_recipe(again) == recipe
    assert dump_recipe(load_recipe(again)) == text


def test_every_default_is_written_out(tmp_path: Path) -> None:
    data = yaml.safe_load(dump_recipe(load_recipe(recipe_file(tmp_path))))
    assert data["format"] == "imcsim-recipe/1"
    assert data["augmentation"] == Augmentations().model_dump()
    assert [set(stage) for stage in data["stages"]] == [set(Stage.model_fields)] * 2
    assert data["network"]["channels"] == [16, "pool", 32, "pool"]


@settings(max_examples=20)
@given(
    name=st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1),
    rate=st.floats(0, 10, exclude_min=True),
    m=st.integers(1, 256),
    width=st.floats(0, 8, exclude_min=True),
    seed=st.integers(0, (1 << 63) - 1),
)
def test_any_name_and_any_number_survive(
    name: str, rate: float, m: int, width: float, seed: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    folder = tmp_path_factory.getbasetemp()
    overrides = {
        "name": name,
        "seed": seed,
        "network.tau": m / 256,
        "network.width": width,
        "stages.1.learning_rate": rate,
    }
    recipe = load_recipe(recipe_file(folder), overrides)
    assert recipe.stages[1].learning_rate == rate
    again = folder / "again.yaml"
    again.write_text(dump_recipe(recipe), encoding="utf-8")
    assert load_recipe(again) == recipe
    assert recipe_hash(load_recipe(again)) == recipe_hash(recipe)


def test_spelling_and_said_defaults_do_not_change_the_hash(tmp_path: Path) -> None:
    hashes = {
        recipe_hash(load_recipe(recipe_file(tmp_path, ("learning_rate: 1e-3", new))))
        for new in (
            "learning_rate: 0.001",
            "learning_rate: 1.0E-3",
            "learning_rate: 1e-3\n  loss: cumulative\n  momentum: .9",
        )
    }
    said = ("stages:", "augmentation: {flip: true}\nstages:")
    hashes.add(recipe_hash(load_recipe(recipe_file(tmp_path, said))))
    assert hashes == {recipe_hash(load_recipe(recipe_file(tmp_path)))}
    assert len(hashes.pop()) == 64


@pytest.mark.parametrize(
    "option",
    ["seed=2", "name=other", "stages.0.epochs=4", "augmentation.cutout=8", "network.channels=8",
     "fused_neurons=true"],
)  # fmt: skip
def test_every_change_changes_the_hash(option: str, tmp_path: Path) -> None:
    path = recipe_file(tmp_path)
    option = option.replace("channels=8", "channels=8,pool")
    assert recipe_hash(load_recipe(path, [option])) != recipe_hash(load_recipe(path))


# Faults


def test_all_faults_are_reported_at_once_in_the_order_of_their_lines(tmp_path: Path) -> None:
    path = recipe_file(
        tmp_path,
        ("seed: 1", "sead: 1"),
        ("held_out: 500", "held_out: none"),
        ("[16, pool, 32, pool]", "[16, pol, 0]\n  tau: 0.3"),
        ("  learning_rate: 0.1\n", ""),
        ("learning_rate: 1e-3", "learning_rate: 1e3"),
        ("quantized: true", "quantised: yes"),
    )
    assert faults(path, ["data.nam=mnist"]) == [
        "recipe.yaml:3:1: sead: unknown key; did you mean seed?",
        "recipe.yaml:6:13: data.held_out: must be a whole number from 1 to 1048576 (got 'none')",
        "recipe.yaml:10:18: network.channels[1]: must be a whole number from 1 to 8192 or pool"
        " (got 'pol'); did you mean pool?",
        "recipe.yaml:10:23: network.channels[2]: must be a whole number from 1 to 8192 or pool"
        " (got 0)",
        "recipe.yaml:13:3: stages[0].learning_rate: missing; wanted is a number above 0 and at most"
        " 10",
        "recipe.yaml:17:18: stages[1].learning_rate: must be a number above 0 and at most 10"
        " (got 1e3)",
        "recipe.yaml:18:3: stages[1].quantised: unknown key; did you mean quantized?",
        "--set data.nam=mnist: unknown key; did you mean data.name?",
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("timesteps: 4\n  channels: [16, pool, 32, pool]", "timesteps: 4\n  tau: 0.3",
         "10:8: network.tau: must be m / 2^n with whole m and n up to 8 (got 0.3); the nearest is"
         " 0.30078125, 77/256"),
        ("timesteps: 4\n  channels: [16, pool, 32, pool]", "timesteps: 4\n  tau: 1e-9",
         "10:8: network.tau: must be m / 2^n with whole m and n up to 8 (got 1e-09); the nearest is"
         " 0.00390625, 1/256"),
        ("architecture: vgg", "architecture: resnet19",
         "10:3: network.channels: must be left out: architecture resnet19 has its own"
         " (network.width scales them)"),
        ("[16, pool, 32, pool]", "[]", "10:3: network.channels: must have at least one"
         " convolution"),
        ("[16, pool, 32, pool]", "[pool]", "10:3: network.channels: must have at least one"
         " convolution"),
        ("stages:", "augmentation:\n  cutout: 8\n  flip: off\nstages:",
         "13:9: augmentation.flip: must be true or false (got 'off'); write false"),
        ("stages:", "augmentation: none\nstages:", "11:1: augmentation: must be a section with"
         " crop_padding, flip, cutout, autoaugment (got 'none')"),
        ("  quantized: true\n", "", "18:17: stages[1].weight_noise: must be 0 unless quantized is"
         " true (got 0.1)"),
        ("  quantized: true", "  warmup_epochs: 2.5\n  quantized: true",
         "18:18: stages[1].warmup_epochs: must be at most epochs, 2 (got 2.5)"),
        ("name: small vgg", 'name: "a\\e[31m"', "2:7: name: must be text without control characters"
         " (got 'a\\x1b[31m')"),
        ("name: small vgg", 'name: "a\\x9b"', "2:7: name: must be text without control characters"
         " (got 'a\\x9b')"),
        ("name: small vgg", "name: ''", "2:1: name: must be text (got '')"),
        ("name: small vgg", f"name: {'x' * 201}", "2:7: name: must be text of at most 200"
         " characters (got 201)"),
        ("seed: 1", "seed: 9223372036854775808", "3:7: seed: must be a whole number at least 0 and"
         " below 9223372036854775808 (got 9223372036854775808)"),
        ("  name: cifar10", "  name: cifar-10", "5:9: data.name: must be one of cifar10, cifar100,"
         " mnist, fashion_mnist, tiny_imagenet, nmnist, cifar10dvs, dvs128gesture (got 'cifar-10');"
         " did you mean cifar10?"),
        ("  held_out", "  momentum: 1\n  held_out", "6:3: data.momentum: unknown key; did you mean"
         " stages[0].momentum?"),
        ("seed: 1", "seed: 1\nepochs: 5", "4:1: epochs: unknown key; did you mean"
         " stages[0].epochs?"),
        ("- epochs: 2", "- 5\n- epochs: 2", "15:3: stages[1]: must be a section with"
         f" {STAGE_KEYS} (got 5)"),
        (TEXT[TEXT.index("stages:"):], "stages: []\n", "11:1: stages: must be a list of 1 to 64"
         f" sections with {STAGE_KEYS} (got 0)"),
        (TEXT[TEXT.index("stages:"):], "", "1:1: stages: missing; wanted is a list of 1 to 64"
         f" sections with {STAGE_KEYS}"),
        ("imcsim-recipe/1", "imcsim-arch/1", "1:9: format: must be imcsim-recipe/1"
         " (got 'imcsim-arch/1')"),
        ("format: imcsim-recipe/1\n", "", "1:1: format: missing; write format: imcsim-recipe/1"),
        ("held_out: 500", "held_out: 500\n  held_out: 5", "7:3: data.held_out: duplicate key;"
         " first at recipe.yaml:6:3"),
        ("held_out: 500", "\theld_out: 500", "6:3: a tab; YAML is indented with spaces"),
    ],
)  # fmt: skip
def test_a_fault_is_one_line_with_its_place(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert faults(recipe_file(tmp_path, (old, new))) == [f"recipe.yaml:{message}"]


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    assert faults(tmp_path / "none.yaml") == ["none.yaml: no such file"]


@pytest.mark.parametrize("name", ["nmnist", "cifar10dvs", "dvs128gesture"])
def test_a_stage_has_no_more_timesteps_than_a_recording_has_frames(
    name: str, tmp_path: Path
) -> None:
    path = recipe_file(
        tmp_path, ("name: cifar10", f"name: {name}"), ("timesteps: 2", "timesteps: 5")
    )
    assert faults(path) == [
        "recipe.yaml:13:14: stages[0].timesteps: must be at most network.timesteps, 4, the frames"
        " of a recording (got 5)"
    ]
    assert load_recipe(path, ["stages.0.timesteps=4"]).stages[0].timesteps == 4


@pytest.mark.parametrize("name", ["cifar10", "mnist"])
def test_a_stage_may_show_a_still_image_for_any_time(name: str, tmp_path: Path) -> None:
    options = [f"data.name={name}", "stages.0.timesteps=8"]
    assert load_recipe(recipe_file(tmp_path), options).stages[0].timesteps == 8


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "tiny_imagenet"])
def test_autoaugment_is_for_colour_images(name: str, tmp_path: Path) -> None:
    options = [f"data.name={name}", "augmentation.autoaugment=true"]
    assert load_recipe(recipe_file(tmp_path), options).augmentation.autoaugment


@pytest.mark.parametrize(
    "name", ["mnist", "fashion_mnist", "nmnist", "cifar10dvs", "dvs128gesture"]
)
def test_autoaugment_of_other_images_is_refused(name: str, tmp_path: Path) -> None:
    path = recipe_file(
        tmp_path,
        ("name: cifar10", f"name: {name}"),
        ("stages:", "augmentation: {autoaugment: true}\nstages:"),
    )
    assert faults(path) == [
        f"recipe.yaml:11:29: augmentation.autoaugment: must be false with data.name {name}: the"
        " policy is for colour images (cifar10, cifar100, tiny_imagenet)"
    ]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("stages.1.learning_rate=0", "must be a number above 0 and at most 10 (got 0)"),
        ("stages.1.weight_noise=2", "must be a number from 0 to 1 (got 2)"),
        ("stages.0.weight_noise=0.2", "must be 0 unless quantized is true (got 0.2)"),
        ("stages.1.quantized=false", "stages[1].weight_noise then must be 0 unless quantized is"
         " true (got 0.1)"),
        ("stages.1.quantized=no", "must be true or false (got 'no'); write false"),
        ("stages.2.epochs=1", "there is no stages.2; the last is stages.1"),
        ("stages.1.epoch=1", "unknown key; did you mean stages.1.epochs?"),
        ("learning_rate=1", "unknown key; did you mean stages.0.learning_rate?"),
        ("stages=1", f"not a key; the keys of stages.0 are {STAGE_KEYS} (stages.0.epochs=...)"),
        ("network=resnet19", "a section, not a key; its keys are"
         f" {', '.join(NetworkPlan.model_fields)}"),
        ("network.architecture=resnet19", "network.channels then must be left out: architecture"
         " resnet19 has its own (network.width scales them)"),
        ("network.channels=16,pol", "must be a whole number from 1 to 8192 or pool (got 'pol');"
         " did you mean pool?"),
        ("network.channels=16", "must be a list, each entry a whole number from 1 to 8192 or"
         " pool (got 16)"),
        ("network.tau=0.9", "must be m / 2^n with whole m and n up to 8 (got 0.9); the nearest is"
         " 0.8984375, 230/256"),
        ("precision=fp16", "must be one of float32, bf16 (got 'fp16'); did you mean bf16?"),
        ("format=x", "unknown key"),
        ("epochs", "must look like KEY=VALUE, for example stages.0.epochs=3"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_one_line_that_repeats_it(
    option: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        load_recipe(recipe_file(tmp_path), [option])
    assert str(caught.value) == f"--set {option}: {message}"


def test_options_are_put_in_before_keys_are_compared(tmp_path: Path) -> None:
    options = ["stages.1.quantized=false", "stages.1.weight_noise=0"]
    assert not load_recipe(recipe_file(tmp_path), options).stages[1].quantized
    options = ["network.architecture=resnet19", "network.channels=null"]
    assert load_recipe(recipe_file(tmp_path), options).network.channels is None


def test_a_stage_at_fault_does_not_hide_the_conflict_of_another(tmp_path: Path) -> None:
    path = recipe_file(
        tmp_path, ("learning_rate: 0.1", "learning_rate: x"), ("  quantized: true\n", "")
    )
    assert [line.split(": ")[1] for line in faults(path)] == [
        "stages[0].learning_rate",
        "stages[1].weight_noise",
    ]


def test_reading_a_recipe_does_not_import_what_takes_long(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from imcsim.training.load_recipe import load_recipe\n"
        f"load_recipe({str(recipe_file(tmp_path))!r})\n"
        "print([m for m in ('torch', 'numba', 'pandas', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
