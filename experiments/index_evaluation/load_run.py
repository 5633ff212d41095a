"""Loading of a finished run: its settings, its data and its trained model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor

from align3d.console.progress import Tracker
from align3d.errors import UserError
from experiments.data.corpus import Corpus, load_corpus
from experiments.data.encoding import embed_shapes, embed_texts
from experiments.run_folder.finished_run import check_run, last_state
from experiments.run_folder.names import CONFIG
from experiments.run_folder.readers import read_results, read_yaml
from experiments.settings.reading import CONF, from_plain
from experiments.settings.schema import RunConfig
from models import AlignmentModel, PointHierarchy, TextEmbedding


@dataclass
class Trained:
    """A finished run.

    Attributes:
        folder: The run's.
        config: Its settings; those that are newer than the run have today's defaults.
        corpus: Its data.
        model: In evaluation mode.
        results: Its results.json.
    """

    folder: Path
    config: RunConfig
    corpus: Corpus
    model: AlignmentModel
    results: dict[str, Any]


def open_run(folder: Path, device: torch.device) -> Trained:
    """Reads a run folder and loads its data, which is built where the cache does not have it.

    Raises:
        UserError: There is no finished run, the model's code or the data differ from the run's.
    """
    check_run(folder)  # before anything slow
    results = read_results(folder)
    config = read_config(folder / CONFIG)
    corpus = load_corpus(config, device)
    if corpus.dataset.hash != results["dataset"]["hash"]:
        raise UserError(
            f"run={folder}: its data {config.data.name} had hash {results['dataset']['hash'][:12]}, what is "
            f"there now {corpus.dataset.hash[:12]}; test shapes may have been trained on: train it again"
        )
    state = last_state(folder, device)
    model = AlignmentModel(config.model, state["text_width"]).to(device).eval()
    try:
        model.load_state_dict(state["model"])
    except RuntimeError as error:
        line = " ".join(str(error).split())
        raise UserError(f"run={folder}: the model's code has changed since ({line[:120]}…)") from error
    return Trained(folder, config, corpus, model.requires_grad_(False), results)


def read_config(path: Path) -> RunConfig:
    """The settings of a run, also of one that is older than some of the settings.

    Nothing of the agent is needed here, so its settings are not even looked at.

    Raises:
        UserError: The file is damaged, or holds settings that there are no longer.
    """
    defaults = OmegaConf.load(CONF / "config.yaml")
    assert isinstance(defaults, DictConfig)
    for key in ("defaults", "hydra"):
        defaults.pop(key)
    try:
        merged = OmegaConf.to_container(OmegaConf.merge(defaults, OmegaConf.create(read_yaml(path))))
    except OmegaConfBaseException as error:
        raise UserError(f"{path}: not the settings of a run ({error})") from error
    assert isinstance(merged, dict)
    plain = {str(key): value for key, value in merged.items()}
    return from_plain({**plain, "agent": {"name": "none", "budget": 0}})


def shapes_of(trained: Trained, indices: Tensor, device: torch.device) -> PointHierarchy:
    """The shapes at ``indices`` ``[M]``, encoded under a progress bar."""
    with Tracker("encoding shapes", len(indices), "shapes") as tracker:
        return embed_shapes(trained.model, trained.corpus, indices, device, tracker.advance)


def texts_of(trained: Trained, texts: Tensor, device: torch.device) -> TextEmbedding:
    """The captions at ``texts`` ``[Q]``, encoded, cut to the longest of them."""
    return embed_texts(trained.model, trained.corpus, texts, device)
