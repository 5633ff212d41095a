"""Loading of a finished run: its settings, its data and its trained model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor

from align3d.console.progress import Tracker
from align3d.errors import UserError
from experiments.data.corpus import Corpus, load_corpus
from experiments.data.encoding import embed_shapes, embed_texts
from experiments.run_folder.finished_run import check_run, last_state
from experiments.run_folder.names import CONFIG
from experiments.run_folder.readers import read_results, read_yaml
from experiments.run_folder.text_reading import tell_other_reading
from experiments.settings.named_again import NOTHING, Named
from experiments.settings.reading import CONF, from_plain, renamed
from experiments.settings.schema import RunConfig
from experiments.settings.sent_settings import faults_of, permitted, replaced, tell_unused_cache
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


def open_run(
    folder: Path, device: torch.device, named: Named = NOTHING, *, reads_memory: bool = False
) -> Trained:
    """Reads a run folder and loads its data, which is built where the cache does not have it.

    Where texts are read otherwise than when it was trained, that is said.

    Args:
        folder: Of the run.
        device: Where the model is.
        named: See `read_config`.
        reads_memory: See `read_config`.

    Raises:
        UserError: There is no finished run, the model's code or the data differ from the run's, or it names
            what is not followed.
    """
    check_run(folder)  # before anything slow
    results = read_results(folder)
    config = read_config(folder / CONFIG, named, reads_memory=reads_memory)
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
    tell_other_reading(folder, state)
    return Trained(folder, config, corpus, model.requires_grad_(False), results)


def read_config(path: Path, named: Named = NOTHING, *, reads_memory: bool = False) -> RunConfig:
    """The settings of a run, also of one that is older than some of the settings.

    Nothing of the agent is needed here, so its settings are not even looked at.

    Args:
        path: The run's config.yaml.
        named: What the command line names again, see `experiments.settings.named_again`; it takes the
            place of what the run names.
        reads_memory: Whether the dataset that ``memory`` names is to be read.

    Raises:
        UserError: The file is damaged, holds settings that there are no longer, or names what is not
            followed.
    """
    defaults = OmegaConf.to_container(OmegaConf.load(CONF / "config.yaml"))
    assert isinstance(defaults, dict)
    for key in ("defaults", "hydra"):
        defaults.pop(key)
    label = f"run={path.parent}"
    kept = read_yaml(path)
    settings = replaced(permitted(kept, path.parent, label, named, reads_memory=reads_memory), named)
    tell_unused_cache(kept, settings, label)
    with faults_of(path):
        return from_plain({**_merged(defaults, renamed(settings)), "agent": {"name": "none", "budget": 0}})


def _merged(defaults: dict[Any, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Values, and the defaults of those that are not there."""
    found = {str(key): value for key, value in defaults.items()}
    for key, value in values.items():
        both = isinstance(value, dict) and isinstance(found.get(key), dict)
        found[key] = _merged(found[key], value) if both else value
    return found


def shapes_of(trained: Trained, indices: Tensor, device: torch.device) -> PointHierarchy:
    """The shapes at ``indices`` ``[M]``, encoded under a progress bar."""
    with Tracker("encoding shapes", len(indices), "shapes") as tracker:
        return embed_shapes(trained.model, trained.corpus, indices, device, tracker.advance)


def texts_of(trained: Trained, texts: Tensor, device: torch.device) -> TextEmbedding:
    """The captions at ``texts`` ``[Q]``, encoded, cut to the longest of them."""
    return embed_texts(trained.model, trained.corpus, texts, device)
