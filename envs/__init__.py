"""Attention calibration as a decision process: a functional core and its adapters."""

from envs.actions.catalogue import ActionCatalogue
from envs.actions.families import FAMILIES, STOP, Family
from envs.adapters.gymnasium_env import ENV_ID, AttentionCalibrationEnv, register
from envs.adapters.gymnasium_vector import AttentionCalibrationVectorEnv
from envs.attention.dimensions import AttentionDims, Invalidation
from envs.attention.episode_cache import Evaluation
from envs.attention.evaluator import Evaluator
from envs.episode import Episode, build_episode, token_groups
from envs.functional import CalibrationCore, EnvConfig, EnvState
from envs.observation import observation_names
from envs.protocol import FunctionalEnv, Source
from envs.reward import (
    REWARD_TERMS,
    RewardConfig,
    external_potential,
    internal_potential,
    register_reward,
)
from envs.runner import EpisodeRunner, RepeatedEpisodeRunner, Snapshot, Step
from envs.sources.demo import DemoSource, demo_core
from envs.sources.hard_negatives import HardNegativeEpisodes, mine_hard_negatives
from envs.sources.mixed import MixedEpisodes

register()

__all__ = [
    "ENV_ID",
    "FAMILIES",
    "REWARD_TERMS",
    "STOP",
    "ActionCatalogue",
    "AttentionCalibrationEnv",
    "AttentionCalibrationVectorEnv",
    "AttentionDims",
    "CalibrationCore",
    "DemoSource",
    "EnvConfig",
    "EnvState",
    "Episode",
    "EpisodeRunner",
    "Evaluation",
    "Evaluator",
    "Family",
    "FunctionalEnv",
    "HardNegativeEpisodes",
    "Invalidation",
    "MixedEpisodes",
    "RepeatedEpisodeRunner",
    "RewardConfig",
    "Snapshot",
    "Source",
    "Step",
    "build_episode",
    "demo_core",
    "external_potential",
    "internal_potential",
    "mine_hard_negatives",
    "observation_names",
    "register",
    "register_reward",
    "token_groups",
]
