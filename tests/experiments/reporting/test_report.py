"""Reports on run folders that are like real ones."""

import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from align3d.errors import UserError
from durable.checksums import write_json
from experiments import report
from experiments.reporting import METRICS, compare, find_runs, summarize
from experiments.reporting.arms import Comparison
from experiments.reporting.writers import Report, tables
from tests.experiments.reporting.synthetic_runs import write_run

CURVE = [(0, -0.02), (100, 0.01), (200, 0.04)]


def only(root: Path) -> Comparison:
    (comparison,) = compare(find_runs(root)[0])
    return comparison


def ablation(root: Path) -> Path:
    """Two arms: mcts gains 2 points in every run; the seeds differ by much more."""
    for seed, level in enumerate((0.40, 0.50, 0.60)):
        for number, (agent, gain) in enumerate({"mcts": 0.02, "none": 0.0}.items()):
            write_run(
                root / f"{2 * seed + number}-{agent}-seed{seed}",
                agent=agent,
                seed=seed,
                reranked=level,
                final=level + gain,
                returns=None if agent == "none" else CURVE,
                validation={"acted": 0.25} if agent == "mcts" else None,
            )
    return root


def test_paired_seeds_show_what_unpaired_ones_hide(tmp_path: Path) -> None:
    summary = summarize(only(ablation(tmp_path)), METRICS)
    mcts, none = summary.arms
    assert (mcts.arm.name, none.arm.name) == ("mcts", "none")
    final = mcts.estimates["all"]["final"]
    assert final.value == pytest.approx(0.57)
    assert final.high - final.low > 0.1  # type: ignore[operator]
    (against,) = mcts.against["all"]
    assert against.name == "none"
    assert against.probability.value == pytest.approx(6 / 9)
    assert against.probability.includes(0.5)
    assert against.difference is not None
    assert against.difference.low == pytest.approx(0.02)
    assert not against.difference.includes(0.0)
    assert mcts.estimates["text_to_shape/recall@1"]["gain"].value == pytest.approx(0.02)
    assert none.estimates["all"]["gain"].high == 0.0
    assert mcts.costs.seconds["total"] == pytest.approx(12.0)
    assert mcts.costs.evaluations == 200
    assert mcts.validation["acted"].value == 0.25
    assert mcts.curves["validation/return"].evaluations == [0.0, 100.0, 200.0]
    assert not none.curves


def test_arms_are_told_apart_by_whatever_differs(tmp_path: Path) -> None:
    for number, alpha in enumerate((0.0, 0.5, 1.0)):
        for seed in (0, 1):
            write_run(
                tmp_path / f"{number}{seed}", seed=seed, settings={"reward.alpha": alpha, "threads": seed + 1}
            )
    comparison = only(tmp_path)
    assert comparison.keys == ["reward.alpha"]
    assert [arm.name for arm in comparison.arms] == [f"reward.alpha={a}" for a in (0.0, 0.5, 1.0)]
    assert [arm.seeds for arm in comparison.arms] == [[0, 1]] * 3


def test_two_things_that_differ_are_both_named(tmp_path: Path) -> None:
    for number, (agent, mode) in enumerate((a, m) for a in ("mcts", "none") for m in ("off", "both")):
        write_run(tmp_path / str(number), agent=agent, settings={"dap.mode": mode})
    comparison = only(tmp_path)
    assert comparison.keys == ["agent.name", "dap.mode"]  # what mcts alone has comes with its name
    first = comparison.arms[1]
    assert first.name == "mcts, dap.mode=both"
    assert [arm.name for arm in comparison.references(first)] == ["none, dap.mode=both", "mcts, dap.mode=off"]


def test_every_arm_is_compared_with_the_fixed_calibration(tmp_path: Path) -> None:
    for seed in range(3):
        for agent, gain in {"mcts": 0.03, "fixed": 0.02, "none": 0.0}.items():
            final, earned = 0.5 + 0.1 * seed + gain, {"return": 2 * gain}
            write_run(tmp_path / f"{agent}{seed}", agent=agent, seed=seed, final=final, earned=earned)
    comparison = only(tmp_path)
    names = [[other.name for other in comparison.references(arm)] for arm in comparison.arms]
    assert dict(zip([arm.name for arm in comparison.arms], names, strict=True)) == {
        "mcts": ["none", "fixed"],
        "fixed": ["none"],
        "none": ["fixed"],
    }
    report.main([str(tmp_path)])
    folder = tmp_path / "report"
    points, earned = "+1.00 [+1.00, +1.00]", "+0.0200 [+0.0200, +0.0200]"
    assert (
        f"| mcts | fixed | 0.67 [0.11, 1.00] | {points} | {points} | {earned} | 3 |"
        in (folder / "report.md").read_text()
    )
    page = (folder / "report.html").read_text()
    assert (
        f'<td class="left">fixed</td><td class="right">0.67 [0.11, 1.00]</td><td class="right">{points}'
        in page
    )
    assert "has gained nothing by looking at each query" in page


def test_a_budget_of_nothing_is_a_reference(tmp_path: Path) -> None:
    for number, budget in enumerate((0, 8, 32)):
        write_run(tmp_path / str(number), settings={"agent.budget": budget})
    comparison = only(tmp_path)
    assert [arm.name for arm in comparison.references(comparison.arms[2])] == ["agent.budget=0"]
    assert not comparison.references(comparison.arms[0])


def test_runs_on_other_data_have_tables_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "a", hash="one")
    write_run(tmp_path / "b", hash="two")
    write_run(tmp_path / "c", hash="two", settings={"eval.candidates": 8})
    assert report.main([str(tmp_path)]) == 0
    assert "tested in 3 different ways" in capsys.readouterr().out
    assert (tmp_path / "report" / "report.md").read_text().count("\n## procedural") == 3


def test_what_is_not_finished_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "0-done")
    write_run(tmp_path / "1-cut", finished=False, returns=CURVE)
    (tmp_path / "2-odd").mkdir()
    (tmp_path / "2-odd" / "results.json").write_text('{"schema": 99}')
    (tmp_path / "3-torn").mkdir()
    (tmp_path / "3-torn" / "results.json").write_text('{"schema"')
    assert report.main([str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "1-cut: stands at step 3, phase agent" in told
    assert "2-odd: results.json of schema 99, expected 2" in told
    assert "3-torn: results.json cannot be read" in told
    assert "has one seed: no interval" in told
    page = (tmp_path / "report" / "report.html").read_text()
    assert "1-cut" in page


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("", "[]", "is damaged: the whole: expected a valid dictionary"),
        ("metrics", "x", "is damaged: metrics: expected a valid dictionary"),
        ("metrics", {"final": {"text_to_shape/recall@1": None}}, "final.text_to_shape/recall@1: expected a"),
        ("seed", "three", "is damaged: seed: expected a valid integer"),
        ("dataset", {"hash": "abc"}, "has no 'dataset.name'"),
        ("config", {"eval": {"candidates": []}}, "config.eval.candidates: expected a valid integer"),
        ("agent", {"test": [1.0]}, "agent.test: expected a valid dictionary"),
        ("timing", {"train_seconds": "long"}, "timing.train_seconds: expected a valid number"),
        ("grounding", [], "grounding: expected a valid dictionary"),
        ("versions", 3, "versions: expected a valid dictionary"),
    ],
)
def test_damaged_results_are_listed_and_stop_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str, value: object, words: str
) -> None:
    write_run(tmp_path / "0-whole")
    path = write_run(tmp_path / "1-damaged", seed=1) / "results.json"
    content = json.loads(path.read_text()) | {place: value}
    path.write_text(json.dumps(content) if place else str(value))
    assert report.main([str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "1-damaged: results.json " in told
    assert words in told


def test_curves_with_gaps_are_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_run(tmp_path / "0", returns=CURVE) / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    wrong = lines[2].replace(b"100.0", b'"many"')
    assert wrong != lines[2]
    path.write_bytes(b"".join([*lines[:2], b"\xff\xfe torn\n", b"[]\n", wrong, lines[3], b'{"step"']))
    assert report.main([str(tmp_path)]) == 0
    assert "note: 0: 4 lines of metrics.jsonl cannot be read (the first is line 3)" in capsys.readouterr().out
    (run,) = find_runs(tmp_path)[0]
    assert [place for place, _ in run.curves["validation/return"]] == [
        0.0,
        200.0,
    ]  # what follows still counts


def test_a_seed_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    write_run(tmp_path / "0", seed=3)
    write_run(tmp_path / "1", seed=3)
    comparison = only(tmp_path)
    assert comparison.arms[0].seeds == [3]
    assert any("seed 3 twice" in note for note in comparison.notes)


def test_other_seeds_and_versions_are_told_of(tmp_path: Path) -> None:
    write_run(tmp_path / "0", agent="mcts", seed=0)
    folder = write_run(tmp_path / "1", agent="none", seed=1)
    results = json.loads((folder / "results.json").read_text())
    results["versions"]["torch"] = "1.0"
    write_json(folder / "results.json", results)
    comparison = only(tmp_path)
    assert any("different seeds (mcts: 0; none: 1)" in note for note in comparison.notes)
    assert any("torch 1.0 and" in note for note in comparison.notes)
    (against,) = summarize(comparison, METRICS).arms[0].against["all"]
    assert against.difference is None


class Page(HTMLParser):
    """Collects what a page asks of the outside, and its tags that are open."""

    def __init__(self) -> None:
        super().__init__()
        self.outside: list[str] = []
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.outside += [str(v) for k, v in attrs if k in ("src", "href", "xlink:href") and str(v)[:1] != "#"]
        if tag not in ("meta", "br", "link", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_names_of_others_mark_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = (
        "<script>alert(1)</script> ![x](http://x.y/z) **b** `c` $\\frac$ | &lt; [/b] \x1b]0;t\x07 \u202e"
    )
    for seed, name in enumerate((hostile, "plain")):
        results = write_run(tmp_path / str(seed), seed=seed) / "results.json"
        content = json.loads(results.read_text())
        content["dataset"]["name"], content["config"]["train"]["text_encoder"] = hostile, name
        write_json(results, content)
    (tmp_path / "<img src=x>`\x1b[2J").mkdir()
    (tmp_path / "<img src=x>`\x1b[2J" / "results.json").write_text('{"schema": "<script>\x1b"}')
    assert report.main([str(tmp_path)]) == 0
    printed = capsys.readouterr()
    text, page = ((tmp_path / "report" / name).read_text() for name in ("report.md", "report.html"))
    for kind in (printed.out, printed.err, text, page):
        assert not [one for one in kind if not one.isprintable() and one != "\n"]
    assert "<script" not in text + page
    assert "<img" not in page
    assert (
        r"## &lt;script>alert(1)&lt;/script> !\[x]\(http://x.y/z) \*\*b\*\* \`c\` $\\frac$ \| &amp;lt; \[/b] "
        in text
    )
    assert "``<img src=x>`\\x1b[2J``" in text.replace(str(tmp_path) + "/", "")
    parsed = Page()
    parsed.feed(page)
    assert (parsed.outside, parsed.open) == ([], [])


def test_the_page_needs_nothing_else(tmp_path: Path) -> None:
    report.main(
        [str(ablation(tmp_path / "runs")), f"out={tmp_path / 'out'}", "metric=text_to_shape/recall@1"]
    )
    text = (tmp_path / "out" / "report.html").read_text()
    page = Page()
    page.feed(text)
    assert page.outside == []
    assert page.open == []
    assert page.seen.count("svg") == 4  # the intervals and three curves
    assert "currentColor" in text
    assert "#010203" not in text
    assert not re.search(r"url\((?!#)|@import", text)


def test_all_formats_say_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main([str(ablation(tmp_path))]) == 0
    told = capsys.readouterr().out
    folder = tmp_path / "report"
    plain = json.loads((folder / "report.json").read_text())
    (comparison,) = plain["comparisons"]
    gain = comparison["arms"][0]["estimates"]["all"]["gain"]
    assert gain["value"] == pytest.approx(0.02)
    assert gain["runs"] == 3
    for text in (told, (folder / "report.md").read_text(), (folder / "report.html").read_text()):
        assert "+2.00 [+2.00, +2.00]" in text
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    report.main([str(tmp_path)])  # its own output is no run, and nothing in it depends on the clock
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first


def test_an_interval_with_zero_in_it_says_so(tmp_path: Path) -> None:
    for seed, gain in enumerate((-0.01, 0.02, 0.005)):
        write_run(tmp_path / str(seed), seed=seed, final=0.5 + gain)
    report.main([str(tmp_path)])
    assert "(includes 0)" in (tmp_path / "report" / "report.md").read_text()


def test_grounding_shows_measures_and_neither_ends_of_intervals_nor_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {"pairs": 673, "shapes": 453, "mass_ratio": 1.5, "mass_ratio_low": 1.25, "mass_ratio_high": 1.75}
    before |= {"other_words_ratio": 1.25, "pointing_accuracy": 0.5, "chance_pointing": 0.375}
    after = before | {"mass_ratio": 1.75, "mass_ratio_low": 1.625}
    for seed in (0, 1):
        for agent in ("mcts", "none"):
            both = {"before": before | {"pairs": 600 + seed}, "after": after}
            write_run(tmp_path / f"{agent}{seed}", agent=agent, seed=seed, grounding=both)
    report.main([str(tmp_path)])
    folder = tmp_path / "report"
    text, page = (folder / "report.md").read_text(), (folder / "report.html").read_text()
    for output in (" ".join(capsys.readouterr().out.split()), page, text):
        assert "attention on the part that words name, over its share of the surface" in output
        assert "600 to 601 names of parts in the captions of 453 shapes" in output
        assert "On the part by chance, per cent: a random point 37.5." in output
        for ending in ("_low", "_high", "1.625"):
            assert ending not in output
    figures = "1.500 [1.500, 1.500] | 1.750 [1.750, 1.750] | +0.2500 [+0.2500, +0.2500]"
    assert f"| mcts | {figures} | 1.250 [1.250, 1.250] |" in text
    assert "| none | 50.0 [50.0, 50.0] | 50.0 [50.0, 50.0] | 0.00 [0.00, 0.00] |\n" in text
    plain = json.loads((folder / "report.json").read_text())
    arm = plain["comparisons"][0]["arms"][0]
    measures = ["mass_ratio", "other_words_ratio", "pointing_accuracy", "chance_pointing"]
    assert list(arm["grounding"]) == measures
    assert arm["counts"] == {"pairs": [600, 601], "shapes": [453, 453]}


def test_returns_on_test_queries_are_compared_seed_by_seed(tmp_path: Path) -> None:
    for seed, level in enumerate((0.01, 0.05)):  # seeds differ by more than agents do
        for agent, more in (("mcts", 0.002), ("none", 0.0)):
            earned = {"return": level + more, "internal": 2 * (level + more), "external": 0.0, "kl": 0.1}
            write_run(tmp_path / f"{agent}-{seed}", agent=agent, seed=seed, earned=earned)
    report.main([str(tmp_path)])
    text = (tmp_path / "report" / "report.md").read_text()
    assert "| mcts | +0.0320 [+0.0120, +0.0520] | +0.0640" in text
    assert "+0.0020 [+0.0020, +0.0020] | 2 |" in text


def test_the_report_says_whether_the_agent_acts(tmp_path: Path) -> None:
    """Shares in validation and in the test stand apart: an agent that rests changes nothing in the test."""
    for seed, acts in enumerate((True, False)):
        validation = {"return": 0.03 if acts else 0.01, "return_error": 0.01, "acted": 0.4}
        earned = {"return": 0.02 * acts, "acted": 0.3 * acts}
        write_run(tmp_path / f"mixed-{seed}", seed=seed, acts=acts, validation=validation, earned=earned)
        timid = {"agent.budget": 8}
        validation |= {"return": 0.01}
        write_run(tmp_path / f"timid-{seed}", seed=seed, acts=False, validation=validation, settings=timid)
        write_run(tmp_path / f"none-{seed}", agent="none", seed=seed, earned={"return": 0.0, "acted": 0.0})
    report.main([str(tmp_path)])
    text = (tmp_path / "report" / "report.md").read_text()
    table = text[text.index("### Does the agent act") :].split("\n\n")[1]
    cells = {
        row.split("|")[1].strip(): [cell.strip() for cell in row.split("|")[2:-1]]
        for row in table.split("\n")
    }
    assert cells["arm"][-2:] == ["changed in validation, per cent", "changed in test, per cent"]
    assert not any(name.startswith("none") for name in cells), "no agent, nothing to say"
    mixed, timid_row = (cells[f"mcts, agent.budget={budget}"] for budget in (32, 8))
    assert mixed == [
        "acts in 1 of 2 runs",
        "+0.0200 [+0.0100, +0.0300]",
        "+2.0 [+1.0, +3.0]",
        "40.0 [40.0, 40.0]",
        "15.0 [0.0, 30.0]",
    ]
    assert timid_row[0] == "rests"
    assert "more than 2 standard errors above 0" in text


def test_every_part_of_the_reward_has_a_column(tmp_path: Path) -> None:
    """A reward term of one's own is shown behind the known ones; a run without it has a dash."""
    for seed in (0, 1):
        own = {"return": 0.01, "brevity": 0.25, "external": 0.5, "kl": 0.125, "acted": 1.0}
        write_run(tmp_path / f"own-{seed}", seed=seed, earned=own, settings={"reward.alpha": 0.3})
        write_run(tmp_path / f"plain-{seed}", seed=seed, earned={"return": 0.02, "internal": 0.5})
    report.main([str(tmp_path)])
    text = (tmp_path / "report" / "report.md").read_text()
    assert "| arm | return | internal part | external part | divergence, nats | brevity |\n" in text
    assert "| +0.5000 [+0.5000, +0.5000] | 0.1250 [0.1250, 0.1250] | +0.2500 [+0.2500, +0.2500] |\n" in text


def test_a_probability_is_explained_where_it_stands(tmp_path: Path) -> None:
    report.main([str(ablation(tmp_path))])
    for name in ("report.md", "report.html"):
        section = (tmp_path / "report" / name).read_text().partition("improvement")[2][:3000]
        assert "0.50: neither is better. An interval of [0, 1]:" in section


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{root}/nowhere"], "no such folder"),
        (["{root}/empty"], "no run in it"),
        (["{root}/cut"], "none of 1 runs is finished"),
        (["{root}/done", "metric=recall"], "metric=recall"),
        (["{root}/done", "metrics=x"], "did you mean metric?"),
        (["{root}/done", "out="], "expected a value"),
        (["{root}/done", "out={root}/file"], "a file is there"),
        (["{root}/done", "out={root}/file/x"], "cannot be written to (Not a directory)"),
        (["{root}/done", "out=/proc/x"], "out=/proc/x: cannot be written to (No such file or directory)"),
        (["{root}/done", "{root}/empty"], "2 folders given"),
        (["metric=a"], "0 folders given"),
    ],
)
def test_bad_input_ends_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    write_run(tmp_path / "cut" / "0", finished=False)
    write_run(tmp_path / "done" / "0")
    assert report.main([text.format(root=tmp_path) for text in arguments]) == 2
    told = capsys.readouterr()
    assert told.err.startswith("error: ")
    assert told.err.count("\n") == 1
    assert words in told.err


def test_notes_on_many_arms_stay_short(tmp_path: Path) -> None:
    for number, budget in enumerate((8, 32, 128, 16, 64)):
        write_run(tmp_path / f"{number}-mcts-seed0", settings={"agent.budget": budget})
    write_run(tmp_path / "5-mcts-seed1", seed=1, settings={"agent.budget": 8})
    write_run(tmp_path / "again" / "0-mcts-seed0", settings={"agent.budget": 8})
    notes = only(tmp_path).notes
    assert "4 arms have one seed: no interval can be given" in notes
    assert any("different seeds (agent.budget=8: 0, 1; 4 arms: 0): paired" in note for note in notes)
    assert any(f"{tmp_path / 'again' / '0-mcts-seed0'} is left out" in note for note in notes)
    assert "the budgets differ: 8, 16, 32, 64, 128 per episode" in notes


def test_help_is_given_wherever_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main(["somewhere", "--help"]) == 0
    assert "python -m experiments.report DIR" in capsys.readouterr().out


def test_metrics_are_parted_by_commas_and_blanks() -> None:
    assert report.parse(["x", "metric=a, b,"])[2] == ["a", "b"]
    with pytest.raises(UserError, match="metric=,: expected names of metrics"):
        report.parse(["x", "metric=,"])


@pytest.mark.parametrize("width", [60, 80, 110])
def test_a_narrow_terminal_cuts_no_names_and_no_intervals(tmp_path: Path, width: int) -> None:
    for seed in (0, 1):
        for number, alpha in enumerate((0.25, 0.5)):
            folder = tmp_path / f"{2 * seed + number}-mcts-seed{seed}"
            write_run(
                folder, agent="mcts", seed=seed, reranked=0.4, final=0.41, settings={"reward.alpha": alpha}
            )
    runs, unfinished = find_runs(tmp_path)
    made = Report("x", [summarize(group, METRICS) for group in compare(runs)], unfinished)
    file = io.StringIO()
    console = Console(file=file, width=width)
    for table in tables(made, width):
        console.print(table)
    text = file.getvalue()
    assert "…" not in text
    assert all(line[-1] in "┓┃┩│┘" for line in text.splitlines() if line[0] in "┏┃┡│└")  # nothing cropped
    if width == 110:
        assert "reward.alpha=0.25" in text
        assert "[" in text
        assert all(line.count("[") == line.count("]") for line in text.splitlines())
