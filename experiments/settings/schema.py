"""Settings of a run: dataclasses that declare them and check what Hydra composed from experiments/conf."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError

import align3d.sources
from agents import AGENTS, make_agent
from align3d.errors import DataError, UserError, did_you_mean, settings_of
from align3d.shifts import CLEAN, parse_shift
from envs import FAMILIES, STOP, ActionCatalogue, AttentionDims, EnvConfig, RewardConfig
from models import OBJECT_NODES
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
SomeShifts = Annotated[Shifts, AfterValidator(_some)]

T = TypeVar("T")


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
        shift: Shifts that shapes of a batch may be shown under, such as [grey,jitter:3].
        shift_share: Share of the shapes of a batch that are shown under one of these shifts.
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
    batch_size: Annotated[int, Field(ge=2)] = 64
    group: Annotated[int, Field(ge=2)] = 16
    learning_rate: PositiveFloat = 1e-3
    weight_decay: Weight = 0.05
    warmup: Share = 0.03
    clip: PositiveFloat = 1.0
    fine_weight: Weight = 1.0
    hubness: Annotated[float, Field(allow_inf_nan=False), Number] = 0.0
    grounding: Weight = 1.0
    shift: Shifts = ()
    shift_share: Share = 0.5
    text_encoder: str = "minilm"
    max_tokens: Annotated[int, Field(ge=1, le=64)] = 32
    images_every: Count = 500
    checkpoint_every: Count = 0
    checkpoint_minutes: PositiveFloat = 5.0
    reuse: bool = True


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
        validation: Share of the reward split's queries that the agent is validated on (with folds: all).
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
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.3
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
    """

    candidates: Positive = 32
    batch_size: Positive = 32
    grounding: Count = 500
    shift: SomeShifts = (CLEAN,)


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
        cache: Folder of datasets and features; null: $ALIGN3D_CACHE, else ~/.cache/align3d.
        memory: Known pairs that help queries to come: the train split's (train), none (off), or those of the
            dataset in a folder that align3d.build wrote.
        imports: Modules to import first: they register sources, agents, families of your own.
        resume: Go on with the run in hydra.run.dir, from its last checkpoint, with its settings.
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
    cache: Path | None = None
    memory: Annotated[str, BeforeValidator(_memory)] = "train"
    imports: list[str] = field(default_factory=list)
    resume: bool = False


LIBRARY_FAMILIES = {"memory", "hubness", STOP}
"""Families of actions that need known pairs, and ``stop``."""

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


def from_hydra(config: DictConfig) -> RunConfig:
    """Checks what Hydra composed.

    Raises:
        UserError: Naming the first setting that is wrong, and what was expected.
    """
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise UserError(f"{missing[0]} has no value; give one: {missing[0]}=VALUE")
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return from_plain({str(key): value for key, value in plain.items()})


def from_plain(plain: dict[str, Any]) -> RunConfig:
    """Checks settings given as nested plain dictionaries (from YAML or results.json).

    Raises:
        UserError: Naming the first setting that is wrong, and what was expected.
    """
    for name in SECTIONS:
        if not isinstance(plain.get(name), dict):
            raise UserError(
                f"{name}={plain.get(name)}: expected the settings of {name}, as {name}.SETTING=VALUE"
            )
    rest = {key: value for key, value in plain.items() if key not in SECTIONS}
    hints = typing.get_type_hints(RunConfig, include_extras=True)
    for key, value in rest.items():  # first, as settings of sections are made from them
        if key in hints:
            _checked(hints[key], value, key)
    import_modules(plain.get("imports") or [])
    sections = {
        "data": _data(plain["data"]),
        "model": _typed(ModelConfig, {k: v for k, v in plain["model"].items() if k != "name"}, "model"),
        "agent": _agent(plain["agent"]),
        "train": _typed(TrainConfig, plain["train"], "train"),
        "dap": _typed(DapConfig, plain["dap"], "dap"),
        "env": _env(plain["env"], _typed(RewardConfig, plain["reward"], "reward")),
        "eval": _typed(EvalConfig, plain["eval"], "eval"),
    }
    config = _typed(RunConfig, {**rest, **sections, "plain": plain}, "")
    _check_together(config)
    return config


def outdated(plain: Mapping[str, Any]) -> str:
    """Settings that another version of this program had and this one has not, or the other way round.

    Args:
        plain: Settings of a run, as its folder keeps them.

    Returns:
        What differs, in words; empty where nothing does. Settings of agents and sources of one's own may be
        left out.
    """
    import_modules(plain.get("imports") or [])
    known = {name: _names(schema) for name, schema in SECTIONS.items() if name not in ("agent", "data")}
    known["env"] -= {"reward"}
    known["model"] |= {"name"}
    known[""] = _names(RunConfig) - {"plain"} | {"reward"}
    faults = [
        _compared(section, plain if not section else plain.get(section), names)
        for section, names in known.items()
    ]
    for section, schema, find in (
        ("agent", AgentConfig, AGENTS.get),
        ("data", DataConfig, align3d.sources.source_class),
    ):
        values = plain.get(section) or {}
        part = find(str(values.get("name")))
        own = set() if part is None else {*inspect.signature(part).parameters}
        ours = part is not None and part.__module__.startswith(("agents.", "align3d."))
        names = _names(schema) - {"settings"}
        faults.append(_compared(section, values, names | own, names | own if ours else names))
    return "; ".join(filter(None, faults))


def _compared(section: str, values: Any, known: set[str], needed: set[str] | None = None) -> str:
    """Unknown and missing settings of a section, in words."""
    there = set(values) if isinstance(values, Mapping) else set()
    unknown, missing = sorted(there - known), sorted((known if needed is None else needed) - there)
    words = [f"has {', '.join(unknown)}"] if unknown else []
    words += [f"lacks {', '.join(missing)}"] if missing else []
    return f"{section or 'it'} {' and '.join(words)}" if words else ""


def _names(schema: type[Any]) -> set[str]:
    return {field.name for field in dataclasses.fields(schema)}


def import_modules(modules: Sequence[str]) -> None:
    """Imports the user's modules, which register sources, agents, families and engines."""
    for module in modules:
        if not all(part.isidentifier() for part in module.split(".")):
            raise UserError(
                f"imports=[{module}]: expected names of modules, as in imports=[my_folder.my_module]"
            )
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise UserError(f"imports=[{module}]: {error}; run in the folder that holds it") from error


def _check_together(config: RunConfig) -> None:
    """Settings of two sections that must fit each other."""
    train = config.train
    if config.dap.folds == 1:
        raise UserError("dap.folds=1: expected 0 (no cross-fitting) or at least 2 folds")
    if train.batch_size % train.group:
        raise UserError(
            f"train.batch_size={train.batch_size}: expected a multiple of train.group={train.group}, "
            f"the number of shapes that HAF compares; give both, as in "
            f"train.batch_size={train.batch_size} train.group={_divisor(train.batch_size, train.group)}"
        )
    if config.data.points < config.model.points:
        raise UserError(
            f"data.points={config.data.points}: the model reads {config.model.points}; raise data.points "
            "or choose a smaller model"
        )
    model, env = config.model, config.env
    if config.memory == "off" and config.agent.name != "none" and set(env.families) <= LIBRARY_FAMILIES:
        raise UserError(
            f"memory=off: without known pairs env.families=[{','.join(env.families)}] has nothing to act on; "
            "name others too, as in env.families=[level,temperature,token,stop], or choose agent=none"
        )
    dap = config.dap
    if (
        dap.mode == "distill"
        and not dap.score_weight
        and config.agent.name != "none"
        and set(env.families) <= LIBRARY_FAMILIES
    ):
        raise UserError(
            f"dap.mode=distill: env.families=[{','.join(env.families)}] change no attention to distill; "
            "name others too, as in env.families=[level,temperature,token,stop], or give dap.score_weight=1"
        )
    layout = AttentionDims(
        (model.patches, model.regions, OBJECT_NODES), model.heads, model.regions, env.token_groups
    )
    try:
        ActionCatalogue(env.families, layout, env.limit, env.steps)
    except ValueError as error:
        raise UserError(f"env.{error}") from error


def _divisor(number: int, most: int) -> int:
    """The largest divisor from 2 to ``most``, or the number itself."""
    return next((d for d in range(most, 1, -1) if number % d == 0), number)


def _data(values: Mapping[str, Any]) -> DataConfig:
    own, settings = _split(DataConfig, values)
    config: DataConfig = _typed(DataConfig, {**own, "settings": settings}, "data")
    for key in ("test", "reward"):
        if getattr(config, key) >= 1 and getattr(config, key) % 1:
            raise UserError(f"data.{key}={own[key]}: expected a whole number of shapes, or a share below 1")
    source = align3d.sources.source_class(config.name)
    given = {key: value for key, value in settings.items() if value is not None}
    return dataclasses.replace(config, settings=_arguments(source, given, "data"))


def _agent(values: Mapping[str, Any]) -> AgentConfig:
    own, settings = _split(AgentConfig, values)
    config: AgentConfig = _typed(AgentConfig, {**own, "settings": settings}, "agent")
    if config.name not in AGENTS:
        close = did_you_mean(config.name, AGENTS)
        raise UserError(f"agent={config.name}: no such agent{close} (known: {', '.join(sorted(AGENTS))})")
    own_settings = _arguments(AGENTS[config.name], settings, "agent")
    with settings_of("agent"):
        make_agent(config.name, budget=config.budget, **own_settings)
    return dataclasses.replace(config, settings=own_settings)


def _arguments(cls: type[Any], values: Mapping[str, Any], section: str) -> dict[str, Any]:
    """Settings checked against the annotations of a constructor's arguments."""
    hints = typing.get_type_hints(cls.__init__)
    hints |= {"seed": Seed} if "seed" in hints else {}
    known = [*inspect.signature(cls).parameters]
    _no_unknown(values, known, section)
    return {
        key: _checked(hints[key], value, f"{section}.{key}") if key in hints else value
        for key, value in values.items()
    }


def _checked(hint: Any, value: Any, name: str) -> Any:
    try:
        checked = TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        raise UserError(f"{name}={value}: expected {_expected(error)}") from error
    if isinstance(checked, float) and math.isnan(checked):
        raise UserError(f"{name}={value}: expected a number")
    return checked


def _expected(error: ValidationError) -> str:
    first = error.errors()[0]
    if first["type"] == "path_type":  # whose message names a class
        return "a path"
    return first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")


def _env(values: Mapping[str, Any], reward: RewardConfig) -> EnvSettings:
    families = [*FAMILIES, STOP]
    named, steps = values.get("families"), values.get("steps") or {}
    if isinstance(named, str):
        raise UserError(f"env.families={named}: expected a list: env.families=[{named}]")
    if not isinstance(steps, Mapping):
        raise UserError(f"env.steps={steps}: expected sizes by family: +env.steps.level=0.3")
    for family in named if isinstance(named, list) else ():
        if family not in families:
            close = did_you_mean(str(family), families)
            raise UserError(f"env.families has {family!r}{close} (known: {', '.join(families)})")
    _no_unknown(steps, FAMILIES, "env.steps")
    return _typed(EnvSettings, {**values, "reward": reward}, "env")


def _split(schema: type[Any], values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values that the schema names, and the others."""
    names = {field.name for field in dataclasses.fields(schema)}
    own = {key: value for key, value in values.items() if key in names}
    return own, {key: value for key, value in values.items() if key not in names}


def _no_unknown(values: Mapping[str, Any], known: Any, section: str) -> None:
    for key in values:
        if key not in known:
            close = did_you_mean(str(key), known)
            raise UserError(
                f"{section}.{key}: no such setting{close} (settings: {', '.join(sorted(set(known)))})"
            )


def _typed(schema: type[T], values: Mapping[str, Any], section: str) -> T:
    """An instance of a dataclass, every value checked against its annotation."""
    prefix = f"{section}." if section else ""
    names = [field.name for field in dataclasses.fields(schema)]  # type: ignore[arg-type]
    _no_unknown(values, names, section or "settings")
    if schema.__module__ == __name__ and (left_out := [name for name in names if name not in values]):
        raise UserError(f"{prefix}{left_out[0]} has no value; give one: {prefix}{left_out[0]}=VALUE")
    if values.get("mode") is False:  # YAML reads a bare off as false
        values = {**values, "mode": "off"}
    try:
        return TypeAdapter(schema).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        where = prefix + ".".join(str(part) for part in first["loc"])
        message = _expected(error)
        if not first["loc"]:  # from a dataclass's own check, which names the setting
            raise UserError(message if message.startswith(prefix) else prefix + message) from error
        raise UserError(f"{where}={first['input']}: expected {message}") from error
