"""Dataset that several tests compare with."""

import pytest

from align3d.dataset import ShapeDataset
from align3d.pipeline import build
from tests.align3d.toy_source import Boxes


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> ShapeDataset:
    """300 boxes in three shards, built in one go in this process."""
    return build(Boxes(300), tmp_path_factory.mktemp("reference") / "boxes", points=32, workers=1)
