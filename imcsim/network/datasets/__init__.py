"""Image sets in the formats they come in.

Everything becomes ``images`` uint8 (n, c, h, w), or (n, t, c, h, w) for event recordings, and
``labels`` int64 (n,). Nothing is ever downloaded; `docs/datasets.md` says what to put where.
"""

from imcsim.network.datasets.labelled import LabelledImages
from imcsim.network.datasets.packed import unpack_planes
from imcsim.network.datasets.read import DATASETS, read_dataset
from imcsim.network.datasets.single import read_images

__all__ = ["DATASETS", "LabelledImages", "read_dataset", "read_images", "unpack_planes"]
