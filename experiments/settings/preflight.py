"""Checks of what a run needs of this machine: device, processes, source of shapes, cache, text encoder."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import torch

from align3d.dataset import ShapeDataset
from align3d.errors import DataError, UserError, did_you_mean, settings_of
from align3d.pipeline import default_cache
from align3d.sources import make_source
from experiments.console import process
from experiments.console.writable import writable_folder
from experiments.loggers.installed import check_loggers
from experiments.processes.launch import Launch, launched
from experiments.settings.schema import MEMORIES, RunConfig
from models import TextEncoder


def check_machine(config: RunConfig) -> None:
    """Tries everything but the folder of the run.

    Raises:
        UserError: There is no such device, logger, text encoder or memory, or the cache cannot be written to.
        DataError: The source has nothing to read.
    """
    device, launch = process.pick_device(config.device), launched()
    check_arithmetic(config, device)
    if launch.processes > 1:
        check_share(config, launch, device)
    check_loggers(config.loggers)
    given = {key: value for key, value in config.data.settings.items() if value is not None}
    make_source(config.data.name, **given).fingerprint()  # looks at every file there is to be read
    open_memory(config)
    cache = (config.cache or default_cache()).expanduser()
    writable_folder(f"cache={cache}", cache)
    check_encoder(config.train.text_encoder)


def check_share(config: RunConfig, launch: Launch, device: torch.device) -> None:
    """Refuse settings that several processes cannot train with.

    Args:
        config: The settings.
        launch: Place of this process.
        device: That the settings name.

    Raises:
        UserError: A batch cannot be dealt, the agent takes part in training, or there are too few devices.
    """
    count, train, local = launch.processes, config.train, launch.local_processes
    if train.batch_size % (train.group * count):
        raise UserError(
            f"train.batch_size={train.batch_size}: expected a multiple of train.group={train.group} times "
            f"the {count} processes, each of which has whole groups, as in "
            f"train.batch_size={max(1, round(train.batch_size / train.group / count)) * train.group * count}"
        )
    if config.dap.mode != "off":
        raise UserError(
            f"dap.mode={config.dap.mode}: the agent calibrates whole batches, which {count} processes do not "
            "have; choose dap.mode=off, or leave out torchrun"
        )
    if device.index is not None and local > 1:
        raise UserError(
            f"device={config.device}: one device for {local} processes; write device={device.type}"
        )
    there = torch.cuda.device_count() if device.type == "cuda" else 1
    if local > there and device.type != "cpu":
        raise UserError(
            f"device={config.device}: {there} here for {local} processes; start fewer by --nproc-per-node, "
            "or choose device=cpu"
        )


def check_arithmetic(config: RunConfig, device: torch.device) -> None:
    """Refuse arithmetic that a device does not have.

    Raises:
        UserError: It computes bfloat16 in software, or there is no compiler for it.
    """
    if config.precision == "bf16-mixed":
        able: dict[str, Callable[[], bool]] = {
            "cuda": lambda: torch.cuda.is_bf16_supported(including_emulation=False),
            "cpu": torch.ops.mkldnn._is_mkldnn_bf16_supported,
        }
        if device.type in able and not able[device.type]():
            raise UserError(
                f"precision={config.precision}: this {device.type} has no instructions for bfloat16, which "
                "would take longer than float32; leave it out"
            )
    if config.compile:
        fault = _lacks_compiler(device)
        if fault:
            raise UserError(f"compile=true: {fault}; install it, or leave out compile=true")


def _lacks_compiler(device: torch.device) -> str:
    """What torch.compile lacks for a device; empty where nothing."""
    if device.type == "cuda":
        from torch.utils._triton import has_triton

        return "" if has_triton() else "no triton for this GPU"
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return "no C++ compiler here ($CXX, g++ or clang++)"
    return ""


@functools.cache
def check_encoder(name: str) -> None:
    """Loads a text encoder of the user's, once for all arms of a sweep.

    Raises:
        UserError: There is none of that name.
    """
    with settings_of(f"train.text_encoder={name}"):
        TextEncoder(name).check()


def open_memory(config: RunConfig) -> ShapeDataset | None:
    """The dataset whose pairs are the memory, None where ``memory`` names none.

    Raises:
        UserError: No dataset there, a damaged one, or clouds with too few points for the model.
    """
    if config.memory in MEMORIES:
        return None
    try:
        dataset = ShapeDataset.load(Path(config.memory).expanduser(), verify=True)
    except DataError as error:
        close = did_you_mean(config.memory, MEMORIES)
        raise UserError(f"memory={config.memory}: {error}{close}") from error
    if dataset.num_points < config.model.points:
        raise UserError(
            f"memory={config.memory}: its shapes have {dataset.num_points} points, the model reads "
            f"{config.model.points}; build it with points={config.model.points} or more"
        )
    return dataset
