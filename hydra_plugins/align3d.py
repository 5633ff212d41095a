"""Registration of the sweep launcher with Hydra, which looks for plugins in this namespace package alone."""

from dataclasses import dataclass

from hydra.core.config_store import ConfigStore

from experiments.settings import sweep_launcher


class ArmsLauncher(sweep_launcher.ArmsLauncher):
    """See `experiments.settings.sweep_launcher`."""


@dataclass
class ArmsLauncherConfig:
    """Settings of the launcher.

    Attributes:
        jobs: Number of arms that run at a time, each with its share of the cores.
        every: Seconds between lines on the running arms; 0 for none.
    """

    _target_: str = "hydra_plugins.align3d.ArmsLauncher"
    jobs: int = 1
    every: float = 60.0


ConfigStore.instance().store(group="hydra/launcher", name="arms", node=ArmsLauncherConfig, provider="align3d")
