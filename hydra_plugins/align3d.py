"""Registration of the sweep launchers with Hydra, which looks for plugins in this namespace package alone."""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore

from experiments.sweeps import sweep_launcher


class ArmsLauncher(sweep_launcher.ArmsLauncher):
    """See `experiments.sweeps.sweep_launcher`."""


class SubmititLauncher(sweep_launcher.SubmititLauncher):
    """See `experiments.sweeps.sweep_launcher`."""


class RayLauncher(sweep_launcher.RayLauncher):
    """See `experiments.sweeps.sweep_launcher`."""


@dataclass
class ArmsConfig:
    """Settings of ``hydra/launcher=arms``."""

    _target_: str = "hydra_plugins.align3d.ArmsLauncher"
    jobs: int = 1
    every: float = 60.0


@dataclass
class SlurmConfig:
    """Settings of ``hydra/launcher=submitit_slurm``."""

    _target_: str = "hydra_plugins.align3d.SubmititLauncher"
    cluster: str = "slurm"
    jobs: int = 64
    every: float = 600.0
    cpus: int = 4
    gpus: int = 0
    minutes: int = 24 * 60
    requeues: int = 3
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass
class LocalConfig(SlurmConfig):
    """Settings of ``hydra/launcher=submitit_local``."""

    cluster: str = "local"
    jobs: int = 1
    every: float = 60.0


@dataclass
class RayConfig:
    """Settings of ``hydra/launcher=ray``."""

    _target_: str = "hydra_plugins.align3d.RayLauncher"
    jobs: int = 64
    every: float = 60.0
    cpus: int = 1
    gpus: float = 0.0
    memory_gb: float | None = None
    retries: int = 1


LAUNCHERS = {
    "arms": ArmsConfig,
    "submitit_slurm": SlurmConfig,
    "submitit_local": LocalConfig,
    "ray": RayConfig,
}

for _name, _config in LAUNCHERS.items():
    ConfigStore.instance().store(group="hydra/launcher", name=_name, node=_config, provider="align3d")
