"""What each data set is called, how many classes it has, and where to get it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """A published data set; `docs/datasets.md` adds licences and citations."""

    name: str
    title: str
    classes: int
    archive: str
    """What to download."""
    url: str
    looks_for: str
    """What an error says was not found."""

    def how_to_get_it(self) -> str:
        return f"download {self.archive} from {self.url}"


_CIFAR_URL = "https://www.cs.toronto.edu/~kriz/cifar.html"
_IDX_FILES = "train-images-idx3-ubyte.gz and the like"

SOURCES = (
    Source(
        "cifar10",
        "CIFAR-10",
        10,
        "cifar-10-python.tar.gz",
        _CIFAR_URL,
        "cifar-10-python.tar.gz, cifar-10-binary.tar.gz, their batches, or cifar10_*.npz",
    ),
    Source(
        "cifar100",
        "CIFAR-100",
        100,
        "cifar-100-python.tar.gz",
        _CIFAR_URL,
        "cifar-100-python.tar.gz, cifar-100-binary.tar.gz, their files, or cifar100_*.npz",
    ),
    Source(
        "mnist",
        "MNIST",
        10,
        "its four .gz files",
        "http://yann.lecun.com/exdb/mnist/",
        f"{_IDX_FILES}, or mnist_*.u8.xz",
    ),
    Source(
        "fashion_mnist",
        "Fashion-MNIST",
        10,
        "its four .gz files",
        "https://github.com/zalandoresearch/fashion-mnist",
        f"{_IDX_FILES}, or fashion_mnist_*.u8.xz",
    ),
    Source(
        "tiny_imagenet",
        "Tiny ImageNet",
        200,
        "and unpack tiny-imagenet-200.zip",
        "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
        "wnids.txt of tiny-imagenet-200",
    ),
    Source(
        "nmnist",
        "N-MNIST",
        10,
        "and unpack Train.zip and Test.zip",
        "https://www.garrickorchard.com/datasets/n-mnist",
        "Train/0 to Train/9 and Test/0 to Test/9",
    ),
    Source(
        "cifar10dvs",
        "CIFAR10-DVS",
        10,
        "and unpack airplane.zip to truck.zip",
        "https://figshare.com/articles/dataset/CIFAR10-DVS_New/4724671",
        "airplane/cifar10_airplane_0.aedat and the like",
    ),
    Source(
        "dvs128gesture",
        "DVS128 Gesture",
        11,
        "and unpack DvsGesture.tar.gz",
        "https://research.ibm.com/dvsgesture/",
        "trials_to_train.txt and trials_to_test.txt",
    ),
)
