"""The loop that trains the model, alone at first, then with the agent in it."""

from __future__ import annotations

import math
from contextlib import nullcontext
from pathlib import Path

from torch import Tensor

from align3d.console.progress import Tracker
from align3d.errors import UserError
from experiments.console.process import generator
from experiments.dap.batch_library import TrainMemory
from experiments.dap.distillation import Distillation
from experiments.data.bank import remember
from experiments.data.batches import look_alikes
from experiments.data.encoding import embed_shapes, embed_texts
from experiments.evaluation.attention_plots import attention_picture
from experiments.training.divergence import divergence
from experiments.training.loss import gradient_norm
from experiments.training.session import Session
from experiments.training.warmup import WarmupCache, first_calibrated, key
from models import PointHierarchy


def train(session: Session) -> None:
    """Trains the model from the session's step to the last: the warm-up, then with the agent in it.

    It is the part that several processes do together; what comes after it is the leader's alone.

    Raises:
        PeerError: One of the processes has ended.
    """
    warm_up(session)
    advance(session, session.batches.total)
    session.average.serve()
    session.known = None  # it is of training alone
    session.save()
    session.processes.leave()


def warm_up(session: Session) -> None:
    """Trains the model up to where the agent comes in, or takes what an equal run has kept."""
    config, total = session.config, session.batches.total
    end = first_calibrated(config, total)
    if session.step >= end:
        return
    if not config.train.reuse:
        advance(session, end)
        return
    kept, leads = WarmupCache(config), session.processes.leads
    name = key(config, session.corpus, end, total, session.processes.count)
    with kept.held(name) if leads else nullcontext() as place:
        session.processes.meet()  # the leader may have to wait for another run
        state = session.shared(None if place is None else kept.load(place, session.device))
        if state is None:
            advance(session, end)
            session.note_others()
            if place is not None and session.journal.whole:  # its lines are those of every run that takes it
                kept.save(place, session.step, session.warm_state())
            return
        try:
            session.adopt(state)
        except (RuntimeError, LookupError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{place}: not the warm-up that its name says ({reason}); remove it") from error


def advance(session: Session, end: int, name: str = "training") -> None:
    """Trains the model from the session's step to ``end``.

    Raises:
        UserError: The loss or its gradient is no longer finite; the weights are those of the step before, and
            the message names items of the batch.
    """
    batches, config, processes = session.batches, session.config.train, session.processes
    model, objective, optimizer = session.model, session.objective, session.optimizer
    if session.step >= end:
        return
    model.train()
    tracker = Tracker(name, batches.total, done=session.step, enabled=processes.leads)
    with tracker, session.stepping("train"):
        while session.step < end:
            step = session.step
            shapes = embed_known(session) if remembers_at(session, step) else None
            if batches.mines_at(step):
                batches.neighbors = processes.share(mine(session, shapes))
            batch = batches.at(step)
            library = None if session.known is None else session.known.library(batch)
            calibrated, distillation = None, None
            if calibrates_at(session, step):
                calibrated = session.policy.on_batch(batch, library)
                distillation = Distillation(model, batch, calibrated)
            for group in optimizer.param_groups:
                group["lr"] = batches.learning_rate(step)
            with processes.watched():
                terms = objective(batch, calibrated, library)
                session.fabric.backward(terms["loss/total"])
            norm = gradient_norm(list(model.parameters()), config.clip)
            if not math.isfinite(norm):
                raise divergence(session, batches.whole(step), terms["loss/total"].item(), norm, name)
            optimizer.step()
            optimizer.zero_grad()
            session.average.update(step)
            values = {name: float(term.detach()) for name, term in terms.items()}
            values |= {
                "optimizer/gradient_norm": norm,
                "optimizer/learning_rate": batches.learning_rate(step),
            }
            if calibrated is not None and distillation is not None:
                values |= {**calibrated.values, **distillation.values()}
            if config.images_every and step % config.images_every == 0 and processes.leads:
                show_attention(session)
            values = session.write("train", values)
            tracker.advance(note=f"loss {values['loss/total']:.3f}")


def calibrates_at(session: Session, step: int) -> bool:
    """Whether the agent calibrates the batch of this step: now and then, once the warm-up is over."""
    dap = session.config.dap
    first = first_calibrated(session.config, session.batches.total)
    return dap.mode != "off" and step >= first and step % dap.period == 0


def remembers_at(session: Session, step: int) -> bool:
    """Whether the known pairs are due to be embedded before this step: as the warm-up ends and once an epoch.

    They are of use to the agent and to HAF's scores, and to neither with ``memory=off``.
    """
    config, batches = session.config, session.batches
    first = first_calibrated(config, batches.total)
    wanted = config.memory != "off" and (config.dap.mode != "off" or config.dap.score_weight > 0)
    return wanted and step >= first and (step == first or step % batches.per_epoch == 0)


def embed_known(session: Session) -> PointHierarchy:
    """Embeds the train split's pairs under the weights of now, and halves them; the shapes."""
    corpus, shapes = session.corpus, session.batches.train
    bank = remember(session.model, corpus, shapes, session.device)
    draws = generator(session.config.seed, "halves", session.step)
    session.known = TrainMemory.halved(bank.memory, corpus, shapes, draws)
    return bank.shapes


def mine(session: Session, shapes: PointHierarchy | None = None) -> Tensor:
    """The look-alikes of each training shape under the weights of now: ``[n, count]``.

    Args:
        session: The run.
        shapes: The train split under these weights; None embeds it.
    """
    corpus, batches, by = session.corpus, session.batches, session.config.train.mine_by
    indices = batches.train
    texts = corpus.first_texts(indices)
    text = embed_texts(session.model, corpus, texts, session.device).embedding
    if by == "texts":
        shape = text
    else:
        found = embed_shapes(session.model, corpus, indices, session.device) if shapes is None else shapes
        shape = found.embedding
        text = shape if by == "shapes" else text
    right = corpus.positives(texts, indices)
    if batches.content is not None:
        right |= batches.content[indices].unsqueeze(1) == batches.content[indices]
    return look_alikes((text @ shape.T).cpu(), right, batches.count)


def show_attention(session: Session, path: Path | None = None) -> None:
    """Puts the attention map of one test shape and its caption into TensorBoard, and into a file."""
    index = session.corpus.splits["test"][:1]
    picture = attention_picture(session.model, session.corpus, index, session.device, path=path)
    session.journal.image(session.step, "attention", picture)
