"""Attention calibration as a decision process: a functional core and the faces around it."""

from envs.actions.catalogue import ActionCatalogue
from envs.actions.families import FAMILIES, STOP, Family
from envs.adapters.gymnasium_env import ENV_ID, AttentionCalibrationEnv, register
from envs.adapters.gymnasium_vector import AttentionCalibrationVectorEnv
from envs.attention.dimensions import Layout, Reach
from envs.attention.evaluator import Evaluation, Evaluator
from envs.episode import Episode, EpisodeSource, build_episode, token_groups
from envs.functional import CalibrationCore, EnvConfig, EnvState
from envs.observation import observation_names
from envs.protocol import Process
from envs.reward import PARTS, RewardConfig, external_potential, internal_potential
from envs.runner import RepeatedRows, Rows, Snapshot, Source, Step
from envs.sources.demo import DemoSource, demo_core
from envs.sources.hard_negatives import NearestEpisodes, hardest

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
