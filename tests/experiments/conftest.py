"""Fixtures that several tests of the experiments share."""

from tests.experiments.evaluation.masts import corpus, gallery, model

__all__ = ["corpus", "gallery", "model"]
