"""Faults of a run's config.yaml: each is one line that names the file, whichever command reads it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from align3d.errors import UserError
from experiments.index_evaluation.load_run import read_config
from experiments.run_folder.readers import read_yaml
from experiments.settings.overrides import OPTIONS, RECIPES, check, parse
from experiments.settings.resume import resumed_settings
from experiments.settings.schema import register_sizes
from experiments.training.results import open_folder

register_sizes()
NAN, INFINITE = float("nan"), float("inf")
BYTES = {
    "empty": b"",
    "blank": b" \n",
    "null": b"null",
    "comment": b"# nothing\n",
    "list": b"- 1\n",
    "number": b"3",
    "text": b"train",
    "binary": bytes(range(256)),
    "zeros": bytes(4096),
    "latin": "a: Stühle".encode("latin-1"),
    "utf16": "a: 1".encode("utf-16"),
    "tabs": b"train:\n\tepochs: 3\n",
    "cut": b"train: {epochs: 3",
    "quote": b"train: 'open\n",
    "twice": b"seed: 1\nseed: 2\n",
    "twice below": b"train: {epochs: 1, epochs: 2}\n",
    "documents": b"seed: 1\n---\nseed: 2\n",
    "tag": b"seed: !!python/object/apply:os.getpid []\n",
    "alias": b"seed: &a 1\nthreads: *a\n",
    "no text": b"1: 2\n",
    "colon": b"seed: 1: 2\n",
    "missing value": b"seed: ???\n",
}
VALUES: list[tuple[str, Any]] = [
    *(
        (name, value)
        for name in ("train", "data", "env", "dap")
        for value in (None, [], 3, "x", {"no_such": 1})
    ),
    *(("seed", value) for value in (None, "x", -1, NAN, [1], {"a": 1}, True, 1.5, 2**40)),
    *(("train.epochs", value) for value in (None, "many", NAN, INFINITE, [3], -1, 1.5)),
    *(("train.learning_rate", value) for value in (0, NAN, INFINITE, "fast", [], None)),
    *(("train.shift", value) for value in ("grey", ["nothing"], [["grey"]], {"a": 1}, [None])),
    *(("env.families", value) for value in ("memory", ["no_such"], [], None, [[1]], {"a": 1})),
    *(("env.steps", value) for value in ("x", {"level": "x"}, {"level": NAN}, {"no_such": 1})),
    *(("env.limit", value) for value in (NAN, INFINITE, "x", None, -1)),
    *(("reward.weights", value) for value in ("x", {"no_such": 1.0}, [1], {"internal": NAN})),
    *(("model.width", value) for value in (0, -1, "x", None, [1], 7)),
    *(("data.name", value) for value in (None, [], 3, "no_such", {"a": 1})),
    *(("data.size", value) for value in ("x", [1], 0.5)),
    *(("data.test", value) for value in (NAN, -1, "x", 1.5, None)),
    *(("imports", value) for value in ("x", 3, [3], {"a": 1}, [[]])),
    *(("memory", value) for value in (3, [], None)),
    *(("device", value) for value in (3, [], None)),
    *(("no_such", value) for value in (1, {}, None)),
]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("begun")
    (config,) = check(["agent=mcts"])
    open_folder(folder, config)
    (folder / "metrics.jsonl").touch()
    return folder


def faults(folder: Path) -> list[str]:
    """What both readers say: of commands that open a finished run, and of the one that goes on with one."""
    told = []
    for read in (
        lambda: read_config(folder / "config.yaml"),
        lambda: resumed_settings(folder, parse([]), (*OPTIONS, RECIPES)),
    ):
        with pytest.raises(UserError) as caught:
            read()
        told.append(str(caught.value))
    return told


@pytest.mark.parametrize("content", BYTES.values(), ids=BYTES)
def test_a_file_that_cannot_be_read_is_named(begun: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.yaml").write_bytes(content)
    for told in faults(tmp_path):
        assert str(tmp_path) in told
        assert "\n" not in told


@pytest.mark.parametrize(("name", "value"), VALUES, ids=[f"{name}={value}" for name, value in VALUES])
def test_a_wrong_value_is_named_with_its_file(begun: Path, tmp_path: Path, name: str, value: Any) -> None:
    plain = copy.deepcopy(read_yaml(begun / "config.yaml"))
    *sections, last = name.split(".")
    place = plain
    for section in sections:
        place = place[section]
    place[last] = value
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(plain))
    for told in faults(tmp_path):
        assert str(tmp_path) in told
        assert last in told or "no_such" in told
        assert "\n" not in told
