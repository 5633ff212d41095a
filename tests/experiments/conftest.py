"""Fixtures that several tests of the experiments share."""

from tests.experiments.masts import corpus, gallery, model

__all__ = ["corpus", "gallery", "model"]
