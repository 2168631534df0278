"""What a training recipe says: data set, network, augmentation and a list of stages.

The classes are frozen and strict, as those of an architecture; `load_recipe` reads them from YAML.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from imcsim.config.layout import Section
from imcsim.config.messages import plain_text
from imcsim.network.build import Name

Positive = Annotated[int, Field(ge=1, le=1 << 20)]
Channels = Annotated[int, Field(ge=1, le=1 << 13)]
Share = Annotated[float, Field(ge=0, le=1)]


class Data(Section):
    """Which images are trained on."""

    name: Literal[
        "cifar10",
        "cifar100",
        "mnist",
        "fashion_mnist",
        "tiny_imagenet",
        "nmnist",
        "cifar10dvs",
        "dvs128gesture",
    ]
    held_out: Positive
    """Training images that are not trained on: they choose the epoch and the exit thresholds. As
    many of each class as there are classes to share them, the last in the order of the set."""


class NetworkPlan(Section):
    """The network before training."""

    architecture: Literal["vgg", "resnet19"]
    timesteps: Annotated[int, Field(ge=1, le=64)]
    """T: timesteps of the exported workload."""
    width: Annotated[float, Field(gt=0, le=8)] = 1.0
    """Multiplies the number of channels of every layer."""
    channels: tuple[Channels | Literal["pool"], ...] | None = None
    """Of a `vgg`: output channels of each convolution, and 2×2 pools; default: VGG-16."""
    pool: Literal["avg", "max"] = "avg"
    head: Literal["pool", "flatten"] = "pool"
    """Of a `vgg`: the linear layer reads the map's mean (or OR) per channel, or all of it."""
    tau: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Leak; m / 2^n with n up to 8."""
    reset: Literal["hard", "soft"] = "hard"
    surrogate: Literal["triangle", "dspike", "atan", "rectangle"] = "triangle"


class Augmentations(Section):
    """Random changes of each training image."""

    crop_padding: Annotated[int, Field(ge=0, le=64)] = 4
    """Black pixels around the image before a crop of its size; 0 switches crops off."""
    flip: bool = True
    cutout: Annotated[int, Field(ge=0, le=256)] = 0
    """Side of the square that is cut out [pixels]; 0 switches it off."""
    autoaugment: bool = False
    """CIFAR-10 policy of AutoAugment."""


class Stage(Section):
    """Some epochs with one learning-rate schedule: warm-up, then half a cosine to 0."""

    epochs: Positive
    timesteps: Annotated[int, Field(ge=1, le=64)]
    learning_rate: Annotated[float, Field(gt=0, le=10)]
    """At the start of the cosine, for the batch as it is given."""
    loss: Literal["eq9", "cumulative", "tet"] = "cumulative"
    batch: Positive = 256
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 5e-4
    """L2 penalty on all parameters."""
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0
    label_smoothing: Share = 0.0
    quantized: bool = False
    """Train with the integers that the export will have; batch norms stand still."""
    weight_noise: Share = 0.0
    """σ of the relative variation of the weights, another draw each pass; needs `quantized`."""


class Heading(Section):
    """What stands above the sections."""

    name: Annotated[Name, AfterValidator(plain_text)]
    """Of the workload."""
    seed: Annotated[int, Field(ge=0, lt=1 << 63)]
    precision: Literal["float32", "bf16"] = "float32"
    """Of convolutions in stages that are not quantised; weights stay float32."""
    fused_neurons: bool = False
    """Compile the neurons' passes over time with torch.compile; needs a C++ compiler."""


class Recipe(Heading):
    """Everything that a training depends on but the data themselves."""

    data: Data
    network: NetworkPlan
    stages: Annotated[tuple[Stage, ...], Field(min_length=1, max_length=64)]
    augmentation: Augmentations = Augmentations()
