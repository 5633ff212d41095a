"""A run's own page: the sentence on top, and what it shows of the run's folder."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments import report
from experiments.evaluation.attention_clouds import attention_clouds
from experiments.reporting.run_page import page_of
from experiments.reporting.verdict import verdict
from experiments.run_folder.names import CLOUDS
from experiments.settings.defaults import defaults_of
from models import AlignmentModel
from tests.experiments.reporting.synthetic_runs import write_run
from tests.experiments.reporting.test_report import CURVE, Page
from tests.experiments.run_folder.test_run_files import settings

BEFORE, AFTER = {"text_to_shape/recall@1": 0.5}, {"text_to_shape/recall@1": 0.55}


def results(acts: bool, name: str = "mcts", **agent: Any) -> dict[str, Any]:
    return {
        "metrics": {"reranked": BEFORE, "final": AFTER},
        "agent": {"name": name, "acts": acts, **agent},
        "config": {"dap": {"margin": 2.0}},
    }


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (results(False, "none"), "No agent took part: R@1 text → shape 55.0 %."),
        (
            results(False, validation={"return": 0.01, "return_error": 0.01}),
            "The agent rested and changed nothing: its return in validation, +0.0100 [−0.0096, +0.0296], is "
            "not the 2 standard errors above 0 that it needs. Without it, R@1 text → shape 55.0 %.",
        ),
        (
            results(True, test={"return": 0.03, "acted": 0.4}, test_return_error=0.01),
            "The agent helped: calibrating 40% of the test queries earned +0.0300 [+0.0104, +0.0496] of "
            "return per query, R@1 text → shape from 50.0 to 55.0 %.",
        ),
        (
            results(True, test={"return": 0.01}, test_return_error=0.01),
            "Whether the agent helped is not sure: ",
        ),
        (results(True, test={"return": -0.1}, test_return_error=0.01), "The agent did harm: "),
        (results(True, test={"return": 0.1}), "The agent acted: "),
        (results(True), "The agent acted, and this run does not say what that earned: R@1 "),
    ],
)
def test_the_sentence_on_top(found: dict[str, Any], sentence: str) -> None:
    assert verdict(found).startswith(sentence)


def test_defaults_are_those_of_the_named_agent_data_and_size() -> None:
    plain = settings(**{"data": "folder", "data.root": "/x", "model": "tiny", "agent.budget": 7}).plain
    usual = defaults_of(plain)
    assert usual["agent"]["budget"] == 32
    assert usual["model"] == plain["model"]
    assert usual["data"]["root"] == "???"
    assert defaults_of({**plain, "agent": {"name": "../agent/mcts"}})["train"] == plain["train"]


def test_the_report_of_one_run_is_its_page(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run<b>", returns=CURVE)
    cloud = [
        {
            "caption": "</script><b>a chair",
            "count": 2,
            "points": base64.b64encode(np.zeros(6, "<i2").tobytes()).decode(),
            "colors": base64.b64encode(bytes(6)).decode(),
            "words": [{"word": "<i>", "weight": 0.5, "attention": base64.b64encode(bytes(2)).decode()}],
        }
    ]
    (folder / CLOUDS).write_text(json.dumps(cloud))
    assert report.main([str(folder), f"out={tmp_path / 'out'}"]) == 0
    text = (tmp_path / "out" / "report.html").read_text()
    page = Page()
    page.feed(text)
    assert (page.outside, page.open) == ([], [])
    assert "<b>" not in text
    assert "<i>" not in text
    assert 'class="verdict"' in text
    assert "export " not in text
    assert text.count("</script>") == 2
    assert not re.search(r"url\((?!#)|@import|https?://(?!www\.w3\.org)", text)


def test_the_report_of_one_run_shows_what_it_has_everywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"reward.alpha": 0.25, "seed": 3, "agent.seed": 3}
    folder = write_run(tmp_path / "run", seed=3, returns=CURVE, reranked=0.5, final=0.55, settings=settings)
    assert report.main([str(folder), f"out={tmp_path / 'out'}"]) == 0
    printed, text = capsys.readouterr().out, (tmp_path / "out" / "report.md").read_text()
    assert text.startswith("# mcts on procedural, seed 3\n\nThe agent acted, and this run does not say ")
    assert "| HAF, calibrated | text → shape | 55.0 |" in text
    assert "| reward.alpha | 0.25 | 0 |" in text
    assert "agent.seed" not in text  # the seed of the run is its default
    for shown in (printed, text):
        assert "The agent acted, and this run does not say what that earned: R@1 text → shape 55.0 %" in shown
        assert "HAF, not calibrated" in shown
        assert "40 test shapes" in shown
        assert "budget 32, 200 evaluations" in shown
        assert "–" not in shown
        assert "P(X > Y)" not in shown
        assert "no interval can be given" not in shown
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert len(found["comparisons"]) == 1


@pytest.mark.parametrize("content", [b"", b"3", b"[3]", b'[{"caption": 3}]', b'[{"words": [{}]}]', b"\xff"])
def test_damaged_clouds_are_said_and_cost_nothing_else(tmp_path: Path, content: bytes) -> None:
    folder = write_run(tmp_path / "run", returns=CURVE)
    (folder / CLOUDS).write_bytes(content)
    text = page_of(folder)
    assert "attention.json is damaged" in text
    assert 'class="verdict"' in text


def test_a_shape_keeps_its_words_and_their_attention(corpus: Any, model: AlignmentModel) -> None:
    (shape,) = attention_clouds(model, corpus, corpus.splits["test"][:1], next(model.parameters()).device)
    points = np.frombuffer(base64.b64decode(shape["points"]), "<i2").reshape(-1, 3)
    assert len(points) == shape["count"]
    assert np.linalg.norm(points / 32767, axis=1).max() == pytest.approx(1, abs=1e-3)
    assert shape["words"]
    for word in shape["words"]:
        light = np.frombuffer(base64.b64decode(word["attention"]), np.uint8)
        assert len(light) == shape["count"]
        assert light.max() == 255


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
def test_a_browser_paints_the_shape(tmp_path: Path, corpus: Any, model: AlignmentModel) -> None:
    folder = write_run(tmp_path / "run", returns=CURVE)
    clouds = attention_clouds(model, corpus, corpus.splits["test"][:1], next(model.parameters()).device)
    (folder / CLOUDS).write_text(json.dumps(clouds))
    told = """<script>setTimeout(() => {
      const c = document.querySelector("canvas");
      const p = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
      const pressed = document.querySelectorAll('button[data-word][aria-pressed="true"]').length;
      const fits = document.body.scrollWidth <= innerWidth;
      document.title = `painted ${p.some((v) => v)} pressed ${pressed} fits ${fits}`;
    }, 500)</script></body>"""
    page = tmp_path / "page.html"
    page.write_text(page_of(folder).replace("</body>", told))
    done = subprocess.run(
        [
            *("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=500,900"),
            *("--virtual-time-budget=3000", "--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "<title>painted true pressed 1 fits true</title>" in done.stdout
