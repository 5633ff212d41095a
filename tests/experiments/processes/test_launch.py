"""What ``torchrun`` says in the environment, and lines where processes cannot work together."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from align3d.errors import UserError
from experiments.processes.launch import Launch, launched
from experiments.settings.command import check
from experiments.settings.preflight import check_arithmetic, check_share
from experiments.settings.schema import RunConfig, register_sizes

register_sizes()
CPU = torch.device("cpu")
PLACE = {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}
PLACE |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


def config_of(*overrides: str) -> RunConfig:
    (config,) = check([*overrides])
    return config


def test_a_process_alone_and_one_of_four_on_two_machines() -> None:
    assert launched({}) == launched({"WORLD_SIZE": "1"}) == Launch()
    found = launched(PLACE)
    assert found == Launch(rank=3, local_rank=1, processes=4, local_processes=2)
    alone = ["python", "-m", "experiments.run"]
    assert Launch().program(alone) == alone
    assert found.program(alone) == ["torchrun", "--nnodes=2", "--nproc-per-node=2", "-m", "experiments.run"]


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"])
def test_what_is_not_set_is_named(name: str) -> None:
    lacking = {key: value for key, value in PLACE.items() if key != name}
    with pytest.raises(
        UserError, match=rf"WORLD_SIZE=4: {name} is not set; start .* torchrun --nproc-per-node=4"
    ):
        launched(lacking)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE=two: expected a whole number"),
        ({"RANK": "4"}, "RANK=4: expected a number below WORLD_SIZE=4"),
        ({"LOCAL_RANK": "2"}, "LOCAL_RANK=2 LOCAL_WORLD_SIZE=2: expected a rank below"),
        ({"LOCAL_WORLD_SIZE": "3"}, "as many processes on each machine"),
    ],
)
def test_a_place_that_cannot_be_is_refused(change: dict[str, str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        launched({**PLACE, **change})


@pytest.mark.parametrize(
    ("overrides", "device", "words"),
    [
        (
            ["train.batch_size=48"],
            CPU,
            r"train\.batch_size=48: .* train\.group=16 times the 2 .* train\.batch_size=64",
        ),
        (["dap.mode=both"], CPU, r"dap\.mode=both: the agent calibrates whole batches"),
        (
            ["device=cuda:0"],
            torch.device("cuda:0"),
            "device=cuda:0: one device for 2 processes; write device=cuda",
        ),
        (["device=cuda"], torch.device("cuda"), r"device=cuda: \d+ here for 999 processes"),
    ],
)
def test_settings_that_processes_cannot_share_are_refused(
    overrides: list[str], device: torch.device, words: str
) -> None:
    launch = Launch(processes=2, local_processes=2)
    if "999" in words:
        launch = Launch(processes=999, local_processes=999)
        overrides = [*overrides, f"train.batch_size={999 * 16}"]
    with pytest.raises(UserError, match=words):
        check_share(config_of(*overrides), launch, device)


def test_settings_that_they_can_share_pass() -> None:
    check_share(config_of(), Launch(processes=2, local_processes=2), CPU)


def test_arithmetic_that_a_processor_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of()
    check_arithmetic(config, CPU)
    mixed = dataclasses.replace(config, precision="bf16-mixed")
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        check_arithmetic(mixed, CPU)
    else:
        with pytest.raises(
            UserError, match="precision=bf16-mixed: this cpu has no instructions for bfloat16"
        ):
            check_arithmetic(mixed, CPU)
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("no-such-compiler",))
    with pytest.raises(UserError, match=r"compile=true: no C\+\+ compiler here"):
        check_arithmetic(dataclasses.replace(config, compile=True), CPU)
