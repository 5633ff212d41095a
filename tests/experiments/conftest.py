"""Fixtures that several tests of the experiments share."""

from tests.experiments.evaluation.masts import corpus, gallery, model
from tests.experiments.shape_search.searched_run import searched

__all__ = ["corpus", "gallery", "model", "searched"]
