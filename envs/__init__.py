"""Attention calibration as a decision process: a functional core and the faces around it."""

from envs.catalogue import ActionCatalogue
from envs.demo import DemoSource, demo_core
from envs.episodes import Episode, EpisodeSource, build_episode, token_groups
from envs.evaluation import Evaluation, Evaluator
from envs.families import FAMILIES, STOP, Family
from envs.functional import CalibrationCore, EnvConfig, EnvState
from envs.gym import ENV_ID, AttentionCalibrationEnv, register
from envs.layout import Layout, Reach
from envs.nearest import NearestEpisodes, hardest
from envs.observation import observation_names
from envs.process import Process
from envs.reward import PARTS, RewardConfig, external_potential, internal_potential
from envs.rows import RepeatedRows, Rows, Snapshot, Source, Step
from envs.vector import AttentionCalibrationVectorEnv

register()

__all__ = [
    "ENV_ID",
    "FAMILIES",
    "PARTS",
    "STOP",
    "ActionCatalogue",
    "AttentionCalibrationEnv",
    "AttentionCalibrationVectorEnv",
    "CalibrationCore",
    "DemoSource",
    "EnvConfig",
    "EnvState",
    "Episode",
    "EpisodeSource",
    "Evaluation",
    "Evaluator",
    "Family",
    "Layout",
    "NearestEpisodes",
    "Process",
    "Reach",
    "RepeatedRows",
    "RewardConfig",
    "Rows",
    "Snapshot",
    "Source",
    "Step",
    "build_episode",
    "demo_core",
    "external_potential",
    "hardest",
    "internal_potential",
    "observation_names",
    "register",
    "token_groups",
]
