"""Cross-fitting: rewards for training queries from models that have not seen them.

On a query that HAF was trained on there is hardly anything to gain. So the train split is cut into folds; for
each a model is trained on the others, and its mistakes on the fold are like those on queries to come. Every
training query can teach the agent in this way, at the price of as many more trainings, which are kept in the
cache like a warm-up. After Chernozhukov et al., "Double/debiased machine learning" (2018), sec. 3.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator

import torch

from experiments.console import process
from experiments.data.batches import fit
from experiments.data.corpus import Corpus
from experiments.run_folder import checkpoint
from experiments.settings.schema import AgentConfig
from experiments.training.loop import advance
from experiments.training.session import Session
from experiments.training.warmup import WarmupCache, key
from models import AlignmentModel


def fold_models(session: Session) -> Iterator[tuple[AlignmentModel, torch.Tensor]]:
    """A model for each fold of the train split, and the shapes ``[M]`` of that fold, unseen by it."""
    train, folds = session.corpus.splits["train"], session.config.dap.folds
    order = torch.randperm(len(train), generator=process.generator(session.config.seed, "folds"))
    parts = order.chunk(folds)
    for number, held_out in enumerate(parts):
        others = torch.cat([part for i, part in enumerate(parts) if i != number]).sort().values
        name = f"training fold {number + 1} of {folds}"
        yield _trained(session, train[others], name), train[held_out.sort().values]


def _trained(session: Session, shapes: torch.Tensor, name: str) -> AlignmentModel:
    """A model trained on ``shapes`` as the session's, without agent and memory; from the cache if there."""
    config = dataclasses.replace(
        session.config,
        agent=AgentConfig(name="none", settings={}, budget=1),
        memory="off",
        dap=dataclasses.replace(session.config.dap, mode="off"),
        train=dataclasses.replace(fit(session.config.train, len(shapes)), images_every=0),
    )
    corpus: Corpus = dataclasses.replace(session.corpus, splits={**session.corpus.splits, "train": shapes})
    total = (config.train.epochs + config.train.hard_epochs) * (len(shapes) // config.train.batch_size)
    kept = WarmupCache(config)
    before = checkpoint.random_state()
    with kept.held(key(config, corpus, total, total)) as place:
        state = kept.load(place, session.device)
        if state is None:
            process.seed_everything(config.seed)
            scratch = place / "run"
            scratch.mkdir(parents=True, exist_ok=True)
            run = Session(config, scratch, corpus, session.device)
            advance(run, total, name)
            kept.save(place, run.step, run.warm_state())
            run.journal.close()
            shutil.rmtree(scratch)
            run.average.serve()
            state = {"model": run.model.state_dict()}
    checkpoint.restore_random_state(before)
    model = AlignmentModel(config.model, corpus.text.tokens.shape[-1]).to(session.device)
    model.load_state_dict(state["model"])
    return model.eval()
