import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from align3d.errors import UserError
from durable.checksums import write_json
from durable.errors import DamagedFileError
from experiments.console import tables
from experiments.index_evaluation.load_run import check_run, read_config
from experiments.run_folder.metrics_log import MetricsLogger
from experiments.run_folder.readers import read_json, read_results, read_yaml
from experiments.settings.changes import check_config
from experiments.settings.command import check
from experiments.settings.reading import from_plain
from experiments.settings.schema import RunConfig
from experiments.training import results
from tests.durable.test_checksums import flipped


def settings(**changes: object) -> RunConfig:
    import hydra
    from omegaconf import OmegaConf

    from experiments.settings.command import CONF
    from experiments.settings.schema import register_sizes

    register_sizes()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose("config", overrides=[f"{key}={value}" for key, value in changes.items()])
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return from_plain({str(key): value for key, value in plain.items()})


def test_a_resumed_journal_has_no_line_and_no_point_twice(tmp_path: Path) -> None:
    journal = MetricsLogger(tmp_path)
    journal.write(0, "train", {"loss/total": 3.0})
    noted = journal.noted()
    journal.write(1, "train", {"loss/total": 2.0})  # after the last checkpoint: lost with the kill
    journal.close()
    journal = MetricsLogger(tmp_path, noted, 1)
    assert journal.whole
    journal.write(1, "train", {"loss/total": 1.5})
    journal.close()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["loss/total"]) for line in lines] == [(0, 3.0), (1, 1.5)]
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(p.step, p.value) for p in board.Scalars("6 losses of the model/total")] == [(0, 3.0), (1, 1.5)]


def test_tensorboard_begins_with_rewards_of_each_phase_apart(tmp_path: Path) -> None:
    journal = MetricsLogger(tmp_path)
    for step, phase in enumerate(("train", "agent")):
        journal.write(step, phase, {"reward/return": 0.5 + step, "loss/policy": 2.0, "loss/total": 1.0})
    journal.write(2, "evaluate", {"grounding/before/mass_ratio": 2.0, "grounding/before/mass_ratio_low": 1.0})
    lines = journal.lines()
    journal.close()
    assert json.loads(lines[0])["reward/return"] == 0.5
    (tmp_path / "other").mkdir()
    other = MetricsLogger(tmp_path / "other")
    other.replay(lines)
    other.close()
    for folder in (tmp_path, tmp_path / "other"):
        board = EventAccumulator(str(folder / "tensorboard")).Reload()
        tags = sorted(board.Tags()["scalars"])
        assert tags[0] == "1 rewards in the agent's training/return"
        assert [(p.step, p.value) for p in board.Scalars(tags[0])] == [(1, 1.5)]
        assert [(p.step, p.value) for p in board.Scalars("2 rewards in the model's training/return")] == [
            (0, 0.5)
        ]
        assert tags[-1] == "9 more: grounding/before/mass_ratio"


def test_a_value_that_json_lacks_is_null(tmp_path: Path) -> None:
    journal = MetricsLogger(tmp_path)
    journal.write(0, "train", {"loss/total": float("nan")})
    journal.close()
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["loss/total"] is None


def test_a_picture_arrives_in_tensorboard(tmp_path: Path) -> None:
    journal = MetricsLogger(tmp_path)
    journal.image(3, "attention", np.zeros((4, 6, 3), np.uint8))
    journal.close()
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    (picture,) = board.Images("attention")
    assert (picture.step, picture.height, picture.width) == (3, 4, 6)


def test_a_folder_with_a_run_is_not_overwritten(tmp_path: Path) -> None:
    results.open_folder(tmp_path, settings())
    MetricsLogger(tmp_path).close()
    with pytest.raises(UserError, match="resume=true"):
        results.open_folder(tmp_path, settings())
    results.open_folder(tmp_path, settings(resume="true", device="cpu"))
    with pytest.raises(UserError, match=r"keeps its settings, threads=null train\.epochs=12 \(typed: thr"):
        results.open_folder(tmp_path, settings(**{"resume": "true", "train.epochs": 3, "threads": 2}))


def test_a_folder_with_nothing_but_settings_is_new(tmp_path: Path) -> None:
    results.open_folder(tmp_path, settings(**{"train.epochs": 3}))
    results.open_folder(tmp_path, settings(resume="true"))  # the one before had ended before it began
    assert read_yaml(tmp_path / "config.yaml")["train"]["epochs"] == 12
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="no run to resume"):
        results.open_folder(tmp_path, settings(resume="true"))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"{'a': b", b"a: [1", b"3", b"null"])
def test_damaged_files_of_a_run_are_named_in_one_line(tmp_path: Path, content: bytes) -> None:
    results.open_folder(tmp_path, settings())
    (tmp_path / "results.json").write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_results(tmp_path)
    told = [str(caught.value)]
    (tmp_path / "config.yaml").write_bytes(content)
    for read in (lambda: results.open_folder(tmp_path, settings(resume="true")), lambda: check_run(tmp_path)):
        with pytest.raises(UserError) as caught:
            read()
        told.append(str(caught.value))
    with pytest.raises(UserError):
        read_config(tmp_path / "config.yaml")
    for line in told[:2]:
        assert str(tmp_path) in line
        assert "\n" not in line


def tried(read: Callable[[], Any]) -> tuple[Any, UserError | None]:
    """What a reader returns, or the fault that it names."""
    try:
        return read(), None
    except UserError as error:
        return None, error


def some_results(folder: Path) -> dict[str, object]:
    """Writes what every reader of results.json counts on."""
    metrics = {name: {"text_to_shape/recall@1": 0.25} for name in ("baseline", "reranked", "final")}
    dataset = {"name": "a", "hash": "b" * 64, "test": 24}
    content = {"schema": 2, "config": {}, "seed": 0, "dataset": dataset, "metrics": metrics, "agent": {}}
    write_json(folder / "results.json", content)
    return content


@pytest.mark.parametrize("seed", range(3))
def test_flipped_results_are_named_set_aside_and_made_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], seed: int
) -> None:
    content = some_results(tmp_path)
    path = tmp_path / "results.json"
    whole = path.read_bytes()
    for bit in random.Random(seed).sample(range(8 * len(whole)), 200):
        path.write_bytes(whole)
        flipped(path, bit)
        found, fault = tried(lambda: read_results(tmp_path))
        if fault is None:  # a blank, which says nothing
            assert found == content
            continue
        assert str(path) in str(fault)
        if isinstance(fault, DamagedFileError):
            assert results.finished(tmp_path) is None
            told = capsys.readouterr().err
            assert told.count("\n") == 1
            assert "kept as results.json.damaged, made anew" in told
            assert not path.exists()


def test_results_of_before_there_were_checksums_are_read(tmp_path: Path) -> None:
    content = some_results(tmp_path)
    (tmp_path / "results.json").write_text(json.dumps(content))
    with pytest.raises(DamagedFileError, match="has no checksum"):
        read_results(tmp_path)
    (tmp_path / "results.json").write_text(json.dumps(content | {"schema": 1}))
    assert read_results(tmp_path)["metrics"] == content["metrics"]


@pytest.mark.parametrize("seed", range(3))
def test_flipped_settings_are_refused_or_the_same(tmp_path: Path, seed: int) -> None:
    results.open_folder(tmp_path, settings())
    path = tmp_path / "config.yaml"
    whole, before = path.read_bytes(), read_yaml(path)
    for bit in random.Random(seed).sample(range(8 * len(whole)), 60):
        path.write_bytes(whole)
        flipped(path, bit)
        found, fault = tried(lambda: read_yaml(path))
        assert found == before if fault is None else str(path) in str(fault)


def test_settings_that_were_cut_are_named_by_what_else_knows_them(tmp_path: Path) -> None:
    results.open_folder(tmp_path, settings())
    path = tmp_path / "config.yaml"
    plain = read_yaml(path)
    path.write_text(path.read_text().partition("candidates:")[0])
    with pytest.raises(DamagedFileError, match=r"config\.yaml is damaged: .* in results\.json"):
        check_config(tmp_path, plain, read_yaml(path), "results.json")


def test_the_table_has_both_directions_in_percent() -> None:
    metrics = {f"{d}/{m}": 0.5 for d in ("text_to_shape", "shape_to_text") for m in tables.MEASURES}
    console = Console(file=io.StringIO(), width=100)
    console.print(tables.retrieval_table({"exact KNN": metrics, "nothing": {}}))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "text → shape" in text
    assert "shape → text" in text
    assert "50.0" in text
    assert "–" in text


def test_checking_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check(["agent=none"])
    assert not list(tmp_path.iterdir())


def test_files_with_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    json_file, yaml_file = tmp_path / "a.json", tmp_path / "a.yaml"
    json_file.write_text('\ufeff{"name": "Stühle"}', encoding="utf-8")
    yaml_file.write_text("\ufeffname: Stühle\n", encoding="utf-8")
    assert read_json(json_file) == read_yaml(yaml_file) == {"name": "Stühle"}
