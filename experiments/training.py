"""The loops: the model is trained, with the agent in it; then the agent is, on the reward split."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from experiments import plots
from experiments.batches import look_alikes
from experiments.dap import CalibratedRows, SplitEpisodes
from experiments.embedding import embed_shapes, embed_texts
from experiments.objective import gradient_norm
from experiments.progress import Tracker
from experiments.session import Session


def train(session: Session) -> None:
    """Trains the model from the session's step to the last."""
    batches, config = session.batches, session.config.train
    model, objective, optimizer = session.model, session.objective, session.optimizer
    if session.step >= batches.total:
        return
    model.train()
    with Tracker("training", batches.total, done=session.step) as tracker, session.timed("train"):
        while session.step < batches.total:
            step = session.step
            if batches.mines_at(step):
                batches.neighbours = mine(session)
            batch = batches.at(step)
            calibrated = session.policy.on_batch(batch) if calibrates_at(session, step) else None
            for group in optimizer.param_groups:
                group["lr"] = batches.learning_rate(step)
            terms = objective(batch, calibrated)
            session.fabric.backward(terms["loss/total"])
            norm = gradient_norm(list(model.parameters()), config.clip)
            optimizer.step()
            optimizer.zero_grad()
            if config.images_every and step % config.images_every == 0:
                show_attention(session)
            session.write("train", _values(terms, calibrated, norm, batches.learning_rate(step)))
            tracker.advance(note=f"loss {float(terms['loss/total'].detach()):.3f}")
    session.save()


def calibrates_at(session: Session, step: int) -> bool:
    """Whether the agent calibrates the batch of this step: now and then, once the warm-up is over."""
    dap = session.config.dap
    return dap.mode != "off" and step >= dap.warmup * session.batches.total and step % dap.period == 0


def mine(session: Session) -> Tensor:
    """The look-alikes of each training shape under the weights of now: ``[n, G - 1]``."""
    corpus, indices = session.corpus, session.batches.train
    texts = corpus.first_texts(indices)
    text = embed_texts(session.model, corpus, texts, session.device)
    shapes = embed_shapes(session.model, corpus, indices, session.device)
    similarity = (text.embedding @ shapes.embedding.T).cpu()
    return look_alikes(similarity, corpus.positives(texts, indices), session.config.train.group - 1)


def train_agent(session: Session) -> None:
    """Trains the agent on episodes of the reward split, under the trained model."""
    wanted, policy = session.config.dap.agent_steps, session.policy
    if policy.evaluations >= wanted or session.config.agent.name == "none":
        return
    episodes = SplitEpisodes(
        policy.core,
        session.model,
        session.corpus,
        session.corpus.splits["reward"],
        session.config.eval.candidates,
        session.device,
    )
    with (
        Tracker("training the agent", wanted, "evaluations", done=policy.evaluations) as tracker,
        session.timed("agent"),
    ):
        while policy.evaluations < wanted:
            before = policy.evaluations
            values = policy.on_split(episodes, session.config.dap.queries)
            session.write("agent", values)
            if policy.evaluations == before:
                break  # an agent that never acts would never be done
            tracker.advance(policy.evaluations - before, f"return {values['reward/return']:.3f}")
    session.save()


def show_attention(session: Session, path: Path | None = None) -> None:
    """Puts the attention map of one test shape and its caption into TensorBoard, and into a file."""
    index = session.corpus.splits["test"][:1]
    picture = plots.attention_picture(session.model, session.corpus, index, session.device, path=path)
    session.journal.image(session.step, "attention", picture)


def _values(
    terms: dict[str, Tensor], calibrated: CalibratedRows | None, norm: float, learning_rate: float
) -> dict[str, float]:
    values = {name: float(term.detach()) for name, term in terms.items()}
    values |= {"optimizer/gradient_norm": norm, "optimizer/learning_rate": learning_rate}
    return values if calibrated is None else values | calibrated.values
