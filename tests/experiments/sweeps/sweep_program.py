"""Small program that Hydra sweeps as it sweeps the real one, and how the tests call it."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

from align3d.console.typed_settings import in_hydras_grammar

ROOT = Path(__file__).parents[3]
PROGRAM = """
import json, os, sys, time
from pathlib import Path
import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def run(config):
    folder = Path(HydraConfig.get().runtime.output_dir)
    with (folder.parent / "started").open("a") as file:
        file.write(f"{config.value}\\n")
    (folder / "argv.json").write_text(json.dumps(sys.argv[1:]))
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(config, resolve=True))
    if config.value == config.bad:
        sys.exit(f"error: value={config.value} is bad")
    if config.value == config.endless and not (folder / "metrics.jsonl").exists():
        (folder / "metrics.jsonl").touch()
        (folder / "processes").write_text(f"{os.getpid()} {os.getppid()}")
        while True:
            time.sleep(0.1)
    names = {"text_to_shape/recall@1": config.value / 10}
    threads = os.environ["OMP_NUM_THREADS"]
    metrics = {"metrics": {"final": names, "reranked": names}, "threads": threads}
    (folder / "results.json").write_text(json.dumps(metrics))

run()
"""
CONF = """
defaults: [_self_, override hydra/launcher: arms, override hydra/job_logging: disabled]
value: 0
bad: -1
endless: -1
resume: false
threads: null
hydra:
  output_subdir: null
  sweep: {dir: sweep, subdir: "${hydra:job.num}-${value}"}
"""


def make_program(tmp_path: Path) -> Path:
    folder = tmp_path / "it's a folder"  # what a shell, a YAML file and Hydra all have opinions on
    (folder / "conf" / "trick").mkdir(parents=True)
    (folder / "conf" / "trick" / "often.yaml").write_text("# @package _global_\nbad: -2\n")
    (folder / "program.py").write_text(PROGRAM)
    (folder / "conf" / "config.yaml").write_text(CONF)
    return folder


def command(program: Path, arguments: str) -> list[str]:
    sweep = in_hydras_grammar(program / "sweep")
    return [sys.executable, str(program / "program.py"), *shlex.split(arguments), f"hydra.sweep.dir={sweep}"]


def typed_in() -> dict[str, str]:
    left = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    return left | {"PYTHONPATH": str(ROOT), "HYDRA_FULL_ERROR": "1"}


def sweep(program: Path, arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(program, arguments), env=typed_in(), capture_output=True, text=True, timeout=120
    )


def started(program: Path) -> list[str]:
    return sorted((program / "sweep" / "started").read_text().split())


def processes() -> list[str]:
    """Command lines of all processes."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:  # it has ended meanwhile
            continue
    return found
