"""Settings of a run: the dataclasses that declare them, with what each value may be."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from hydra.core.config_store import ConfigStore
from pydantic import AfterValidator, BeforeValidator, Field

from align3d.errors import DataError
from align3d.shifts import CLEAN, parse_shift
from envs import STOP, EnvConfig, RewardConfig
from models.config import SIZES, ModelConfig


def _number(value: Any) -> Any:
    """Refuses true and false, which would pass for 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("a number")
    return value


def _listed(value: Any) -> Any:
    """Refuses a name where a list of names is wanted, in words that show one."""
    if isinstance(value, str):
        raise ValueError(f"a list: [{value}]")
    return value


def _once(names: list[str]) -> list[str]:
    """Refuses a logger that is named twice."""
    if len(set(names)) < len(names):
        raise ValueError("different loggers")
    return names


def _shift(name: str) -> str:
    """Refuses a shift that there is not."""
    try:
        parse_shift(name)
    except DataError as error:
        raise ValueError(str(error).partition("expected ")[2]) from error
    return name


def _different(names: tuple[str, ...]) -> tuple[str, ...]:
    """Refuses shifts that are named twice, with their level and without."""
    shifts = [parse_shift(name) for name in names]
    if twice := [name for name, shift in zip(names, shifts, strict=True) if shifts.count(shift) > 1]:
        raise ValueError(f"different shifts, but {twice[-1]} is named twice")
    return names


def _some(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ValueError(f"at least one shift; [{CLEAN}] leaves shapes as they are")
    return names


MEMORIES = ("train", "off")
"""Values of ``memory`` that are no folders."""


def _memory(value: Any) -> Any:
    """Refuses what names no memory; YAML reads a bare off as false."""
    if value is False:
        return "off"
    if not isinstance(value, str) or not value:
        raise ValueError(f"{', '.join(MEMORIES)}, or the folder of a dataset")
    return value


Number = BeforeValidator(_number)
Count = Annotated[int, Field(ge=0), Number]
Seed = Annotated[int, Field(ge=0, lt=2**32), Number]  # what NumPy's and the libraries' generators take
Positive = Annotated[int, Field(ge=1), Number]
Threads = Annotated[int, Field(ge=1, le=1024), Number]  # with too many the process cannot start them
Share = Annotated[float, Field(ge=0, le=1)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
ShiftName = Annotated[str, AfterValidator(_shift)]
Shifts = Annotated[tuple[ShiftName, ...], BeforeValidator(_listed), AfterValidator(_different)]
Loggers = Annotated[
    list[Literal["wandb", "mlflow", "trackio"]], BeforeValidator(_listed), AfterValidator(_once)
]
SomeShifts = Annotated[Shifts, AfterValidator(_some)]
CORRUPTIONS = ("scale", "jitter", "rotate", "dropout_global", "dropout_local", "add_global", "add_local")
"""The corruptions of ModelNet-C, see `align3d.shifts.modelnet_c`."""


@dataclass(frozen=True)
class DataConfig:
    """Shapes and captions, and how they are split.

    Attributes:
        name: Name of the source, or ``package.module:Class``.
        settings: The source's own settings (size, root, families, ...).
        points: Points of a shape.
        seed: Seed of the sampling, and of what a source draws.
        test: Number of shapes in the test split; below 1: share of all shapes.
        reward: Number of shapes in the split that agents are rewarded on; below 1: share of all shapes.
        workers: Processes that build the dataset; null: one per core.
    """

    name: str
    settings: Mapping[str, Any]
    points: Positive = 2048
    seed: Seed = 0
    test: PositiveFloat = 0.2
    reward: PositiveFloat = 0.1
    workers: Positive | None = None


@dataclass(frozen=True)
class TrainConfig:
    """Training of the alignment model.

    Attributes:
        epochs: Passes over the train split with random batches.
        hard_epochs: Passes after these, with look-alikes in the batches.
        hard_share: Share of a batch's groups that are look-alikes then.
        hard_scope: Look-alikes of a seed fill its group, of several seeds a batch (group), or all that is
            theirs of a batch, of one seed (batch).
        mine_by: What makes shapes look-alikes: captions and shapes that are mistaken for each other (pairs),
            like captions (texts), or like shapes (shapes), all by the embeddings.
        mine_every: Steps between minings of look-alikes; 0: once per pass.
        captions: Captions of a shape in a batch, all of them right answers; where it has fewer, some twice.
        mask_equal: Whether a caption of one shape never counts as wrong for another of equal content.
        batch_size: Shapes in a batch, a multiple of the group.
        group: Shapes among which HAF scores every pair, the batch's hardest neighbors.
        learning_rate: Learning rate of the AdamW optimizer.
        weight_decay: Weight decay of the AdamW optimizer.
        warmup: Share of the steps with a rising learning rate; then a cosine to zero.
        clip: Largest norm of the gradient.
        fine_weight: Weight of HAF's loss beside the global embeddings'.
        hubness: Weight at which candidates' hubness in the batch is added to their logits in the embeddings'
            loss, so that hubs are told apart by more; negative: subtracted; 0: off.
        grounding: Weight of minus the log of the attention that words pay to the labeled part they name.
        corrupt: Share of the shapes of a batch that are shown corrupted, under one of the shifts below.
        shift: Shifts of corrupted shapes, such as [grey,jitter:3]; []: the seven of ModelNet-C.
        turn: Turn of a batch's shapes about their up axis: none, by quarters, or by any angle.
        scale: Shapes are drawn larger or smaller by up to this share; their metric size stays.
        jitter: Standard deviation of noise on the points, in radii of the unit sphere; the metric size stays.
        ema: Decay of a moving average of the weights, which is evaluated and saved as the model; 0: off.
        text_encoder: Frozen text encoder: minilm, or any sentence-transformers name.
        max_tokens: Tokens of a caption that are read.
        images_every: Steps between attention maps in TensorBoard; 0: only at the end.
        checkpoint_every: Steps between checkpoints; 0: by time alone.
        checkpoint_minutes: Minutes between checkpoints.
        reuse: Take the warm-up, all steps before the agent's first, from an equal run's in the cache.
    """

    epochs: Count = 12
    hard_epochs: Count = 6
    hard_share: Share = 0.5
    hard_scope: Literal["group", "batch"] = "group"
    mine_by: Literal["pairs", "texts", "shapes"] = "pairs"
    mine_every: Count = 0
    captions: Positive = 1
    mask_equal: bool = False
    batch_size: Annotated[int, Field(ge=2)] = 64
    group: Annotated[int, Field(ge=2)] = 16
    learning_rate: PositiveFloat = 1e-3
    weight_decay: Weight = 0.05
    warmup: Share = 0.03
    clip: PositiveFloat = 1.0
    fine_weight: Weight = 1.0
    hubness: Annotated[float, Field(allow_inf_nan=False), Number] = 0.0
    grounding: Weight = 1.0
    corrupt: Share = 0.0
    shift: Shifts = ()
    turn: Literal["none", "quarter", "any"] = "none"
    scale: Annotated[float, Field(ge=0, lt=1)] = 0.0
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.0
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    text_encoder: str = "minilm"
    max_tokens: Annotated[int, Field(ge=1, le=64)] = 32
    images_every: Count = 500
    checkpoint_every: Count = 0
    checkpoint_minutes: PositiveFloat = 5.0
    reuse: bool = True

    @property
    def shifts(self) -> tuple[str, ...]:
        """Shifts that shapes of a batch may be shown under; none where no shape is corrupted."""
        return (self.shift or CORRUPTIONS) if self.corrupt else ()


@dataclass(frozen=True)
class DapConfig:
    """Dynamic attention policy: when and how the agent calibrates the batches of training.

    Attributes:
        mode: What calibrated attention does in training: nothing (off), it replaces HAF's own in the forward
            pass (substitute), it is the target that HAF's is drawn to (distill), or both.
        period: Steps between calibrated batches.
        warmup: Share of the steps before the first.
        weight: Weight of the distillation loss.
        score_weight: Weight at which HAF's scores are drawn to what they are with recall and hubness, in
            every step after the warm-up; 0: off.
        score_recall: Strength of recall in these scores.
        score_hubness: Strength of hubness in them.
        queries: Rows of a batch that are calibrated.
        candidates: Candidates of an episode in training, C: the right shape and hard negatives.
        agent_steps: Evaluations that the agent learns from after training, on queries HAF has not seen.
        folds: Folds of the train split for cross-fitting, with a model trained without each; 0: none.
        validation_folds: Folds of the reward split's queries: on each a copy of the agent is validated that
            has learned from the others, so that all of them validate, and the agent learns from all (where
            `folds` are set it learns from the train split, and is validated itself).
        validations: Times that the agent is validated, without labels.
        keep: Which state of the agent is kept: the latest that is not surely behind its best in validation
            (best), or its last.
        margin: Standard errors that it must gain in validation, or it rests.
    """

    mode: Literal["off", "substitute", "distill", "both"] = "off"
    period: Positive = 20
    warmup: Share = 0.7
    weight: Weight = 100.0
    score_weight: Weight = 0.0
    score_recall: Weight = 1.0
    score_hubness: Weight = 1.0
    queries: Positive = 16
    candidates: Annotated[int, Field(ge=2)] = 8
    agent_steps: Count = 8000
    folds: Count = 0
    validation_folds: Annotated[int, Field(ge=2)] = 3
    validations: Positive = 8
    keep: Literal["best", "last"] = "best"
    margin: Weight = 2.0


@dataclass(frozen=True)
class AgentConfig:
    """Agent that calibrates the attention.

    Attributes:
        name: Name of the agent.
        settings: The agent's own settings.
        budget: Environment evaluations per episode.
    """

    name: str
    settings: Mapping[str, Any]
    budget: Count = 32


@dataclass(frozen=True)
class EvalConfig:
    """Evaluation on the test split.

    Attributes:
        candidates: First candidates of the exact search that HAF re-ranks.
        batch_size: Queries at a time.
        grounding: Test shapes on which it is measured whether words look at the parts they name; 0: off.
        shift: Shifts of the test shapes, each measured by itself.
        split: Split that is measured: test; or reward, to choose settings without a look at the test split.
    """

    candidates: Positive = 32
    batch_size: Positive = 32
    grounding: Count = 500
    shift: SomeShifts = (CLEAN,)
    split: Literal["test", "reward"] = "test"


@dataclass(frozen=True)
class EnvSettings(EnvConfig):
    """Settings of the decision process.

    Attributes:
        families: Families of actions, any subset of envs.actions.families.FAMILIES and stop. Without labels
            memory and hubness alone have gained anything.
        horizon: Number of steps until an episode is truncated.
        shift: Shifts of the shapes that the agent learns on and is validated on, in equal shares.
    """

    families: tuple[str, ...] = ("memory", "hubness", STOP)
    horizon: int = 8
    shift: SomeShifts = (CLEAN,)


@dataclass(frozen=True)
class RunConfig:
    """All settings of a run, checked.

    Attributes:
        data: Shapes and captions.
        model: Sizes of the alignment model.
        agent: Agent that calibrates the attention.
        train: Training of the alignment model.
        dap: Dynamic attention policy.
        env: Decision process, with its reward.
        eval: Evaluation on the test split.
        plain: The same as plain values, in the layout of the YAML files: what is written to config.yaml and
            results.json, and what a resumed run is compared with.
        seed: Seed of weights, batches and agents; the data has its own (data.seed).
        device: Where to compute: auto, cpu, cuda, cuda:0.
        threads: Threads of PyTorch; null: OMP_NUM_THREADS, else every core. Sums depend on it in the last
            digits.
        precision: Arithmetic of training: float32 (32-true), or products in bfloat16 (bf16-mixed), which pays
            on GPUs.
        compile: Compile the encoders in training by torch.compile, which takes a minute or more at first and
            pays on GPUs.
        cache: Folder of datasets and features; null: $ALIGN3D_CACHE, else ~/.cache/align3d.
        memory: Known pairs that help queries to come: the train split's (train), none (off), or those of the
            dataset in a folder that align3d.build wrote.
        imports: Modules to import first: they register sources, agents, families of your own.
        loggers: Tools that show the run beside TensorBoard: any of wandb, mlflow, trackio. Each keeps to this
            machine unless its own settings name a server.
        resume: Go on with the run in hydra.run.dir, from its last checkpoint, with its settings.
        accept_changes: Go on even if the data, the memory or the text encoder have changed since.
    """

    data: DataConfig
    model: ModelConfig
    agent: AgentConfig
    train: TrainConfig
    dap: DapConfig
    env: EnvSettings
    eval: EvalConfig
    plain: dict[str, Any]
    seed: Seed = 0
    device: str = "auto"
    threads: Threads | None = None
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    compile: bool = False
    cache: Path | None = None
    memory: Annotated[str, BeforeValidator(_memory)] = "train"
    imports: list[str] = field(default_factory=list)
    loggers: Loggers = field(default_factory=list)
    resume: bool = False
    accept_changes: bool = False


SECTIONS = {
    "data": DataConfig,
    "model": ModelConfig,
    "train": TrainConfig,
    "dap": DapConfig,
    "env": EnvSettings,
    "reward": RewardConfig,
    "eval": EvalConfig,
    "agent": AgentConfig,
}
"""Settings that have settings of their own, and what declares them."""


def register_sizes() -> None:
    """Makes the model's sizes the options of Hydra's group ``model``; models/config.py is their home."""
    store = ConfigStore.instance()
    for name, size in SIZES.items():
        store.store(group="model", name=name, node={"name": name, **dataclasses.asdict(size)})
