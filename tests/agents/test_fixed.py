"""The fixed calibration: it finds the best one in few evaluations, and rests where nothing gains."""

import pytest
import torch

from agents import Rollout, make_agent
from agents.baselines.paired_trials import FEWEST, PairedTrials
from agents.multisets import NOTHING
from tests.agents.strengths_toy import Strengths
from tests.agents.toys import bandit, contexts


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def learn(agent, core, calls, seed=0, rows=16):
    """Learn from some batches of new episodes, and return the evaluations that it took."""
    generator = seeded(seed)
    return sum(
        int(agent.learn(core, core.sample(rows, generator), generator).evaluations.sum())
        for _ in range(calls)
    )


def applied(agent, core):
    """Strengths that it applies without labels, which must be the same for all queries."""
    steps = agent.calibrate(core, core.sample(5, seeded(99)), seeded()).calibration
    assert bool((steps == steps[0]).all())
    return (core.size * steps[0]).tolist()


def test_it_finds_the_optimum_of_a_concave_toy_in_few_evaluations():
    core = Strengths(mean=torch.tensor([1.0, -1.5, 0.0]))
    agent = make_agent("fixed")
    spent = learn(agent, core, 2)
    assert applied(agent, core) == [1.0, -1.5, 0.0]
    assert spent < 700
    rival = make_agent("random_search")
    assert learn(rival, core, 2) > spent
    assert applied(rival, core) != [1.0, -1.5, 0.0]


@pytest.mark.parametrize("seed", range(3))
def test_noise_takes_it_more_episodes(seed):
    core = Strengths(mean=torch.tensor([1.0, 1.0]), noise=1.0)
    agent = make_agent("fixed")
    assert learn(agent, core, 24, seed) < 5000
    assert applied(agent, core) == [1.0, 1.0]


def test_noise_is_not_preferred_where_nothing_gains():
    core = Strengths(mean=torch.zeros(20), noise=1.0, size=0.1)
    acting = 0
    for seed in range(8):
        agent = make_agent("fixed")
        learn(agent, core, 6, seed)
        acting += applied(agent, core) != [0.0] * 20
    assert acting <= 1


def test_it_goes_back_when_a_climb_was_by_luck():
    """In the first batches more is better; in all that follow nothing is."""
    core, agent = Strengths(mean=torch.tensor([2.0]), horizon=4), make_agent("fixed")
    learn(agent, core, 1)
    assert applied(agent, core) == [0.0], "what it was chosen by says nothing about how good it is"
    learn(agent, core, 1)
    assert applied(agent, core) == [2.0]
    core.mean = torch.tensor([0.0])
    learn(agent, core, 12)
    assert applied(agent, core) == [0.0]


def test_what_it_has_reached_is_not_evaluated_again():
    core = Strengths(mean=torch.tensor([2.0, 0.5]), horizon=5, noise=0.01)
    agent = make_agent("fixed", budget=64)
    learn(agent, core, 4)
    assert applied(agent, core) == [2.0, 0.5]
    core.transitions = 0
    result = agent.learn(core, core.sample(1, seeded(5)), seeded(5))
    # The champion of five steps, and one less of each: the last of its steps left out, and one evaluation.
    # Exchanges surely earn less and are left out.
    assert core.transitions == int(result.evaluations) <= 6


def test_the_budget_is_kept_while_it_climbs():
    core = Strengths(mean=torch.tensor([2.0, 2.0, 2.0]), horizon=12)
    for budget in (1, 5, 7, 30):
        agent = make_agent("fixed", budget=budget)
        for seed in range(4):
            core.transitions = 0
            result = agent.learn(core, core.sample(9, seeded(seed)), seeded(seed))
            assert core.transitions == int(result.evaluations.sum()) <= 9 * budget
            assert result.evaluations.min() == result.evaluations.max()
        assert sum(applied(agent, core)) <= core.size * min(budget, core.horizon)


@pytest.mark.parametrize(
    ("core", "places", "gain"),
    [
        (bandit([0.1, 0.9, -1.0]), torch.zeros(3, dtype=torch.int64), 0.9),
        (bandit([-0.1, -0.2]), torch.zeros(3, dtype=torch.int64), 0.0),
        (contexts(), torch.arange(4), 0.0),
    ],
    ids=["bandit", "costs", "contexts"],
)
def test_it_agrees_with_random_search_on_what_is_best(core, places, gain):
    for name in ("fixed", "random_search"):
        agent = make_agent(name, budget=16)
        for seed in range(6):
            agent.learn(core, places, seeded(seed))
        assert agent.calibrate(core, places, seeded()).return_.tolist() == pytest.approx([gain] * len(places))


def test_it_acts_only_on_what_is_credible():
    core = Strengths(mean=torch.tensor([0.4]), horizon=1, noise=1.0)
    gains = {}
    for lcb_coef in (0.0, 40.0):
        agent = make_agent("fixed", climb_coef=0.0, lcb_coef=lcb_coef)
        learn(agent, core, 30)
        gains[lcb_coef] = applied(agent, core)
    assert gains == {0.0: [0.5], 40.0: [0.0]}


def test_a_climb_goes_on_exactly_after_it_was_saved(tmp_path):
    core = Strengths(mean=torch.tensor([1.5, -1.0, 0.0]), noise=2.0)
    whole, part = make_agent("fixed"), make_agent("fixed")
    for agent in (whole, part):
        learn(agent, core, 5)
    part.save(tmp_path, core)
    resumed = make_agent("fixed")
    resumed.load(tmp_path, core)
    for agent in (whole, resumed):
        learn(agent, core, 5, seed=1)
    ours, theirs = whole.export_state(), resumed.export_state()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert applied(whole, core) == applied(resumed, core)


def test_paired_differences_are_surer_than_gains():
    trials, level = PairedTrials(3), torch.randn(400, generator=seeded(), dtype=torch.float64)
    one, two = level, level + 0.1 + 0.01 * torch.randn(400, generator=seeded(1), dtype=torch.float64)
    tried = {NOTHING: torch.zeros_like(level)}
    for multiset, gain in (((1,), one), ((1, 2), two)):
        trials.record(multiset, gain, tried)
        tried[multiset] = gain
    lead, gain = trials.lead((1, 2), (1,)), trials.lead((1, 2))
    assert lead.mean == pytest.approx(float((two - one).mean()))
    assert lead.error == pytest.approx(float((two - one).std()) / 20)
    assert gain.error == pytest.approx(float(two.std()) / 20)
    assert lead.error < 0.1 * gain.error
    assert trials.lead((1,), (1, 2)).mean == -lead.mean
    assert trials.lead((2,), (1,)).lower(2.0) == -torch.inf
    trials.forget(lambda multiset: multiset == (1,))
    assert (trials.lead((1, 2)), trials.lead((1,)).pairs) == (gain, 0)


def test_a_few_pairs_are_not_judged():
    trials = PairedTrials(1)
    few = torch.ones(FEWEST - 1, dtype=torch.float64)
    trials.record((1,), few, {NOTHING: 0 * few})
    assert (trials.lead((1,)).lower(2.0), trials.lead((1,)).upper(2.0)) == (-torch.inf, torch.inf)
    trials.record((1,), few, {NOTHING: 0 * few})
    assert trials.lead((1,)).lower(2.0) == 1.0


def test_a_rollout_goes_back_to_a_bookmark():
    core = Strengths(mean=torch.tensor([1.0, -1.0]))
    rollout = Rollout(core, core.sample(2, seeded()), keep_best=True)
    up, down = torch.tensor([1, 1]), torch.tensor([4, 4])
    rollout.move(up)
    bookmark, earned = rollout.bookmark(), rollout.return_
    rollout.move(up)
    rollout.go_back(bookmark)
    assert torch.equal(rollout.return_, earned)
    rollout.move(down)
    rollout.go_back(bookmark)
    rollout.move(down)
    assert rollout.state.calibration.tolist() == [[1, -1]] * 2
    result = rollout.result()
    assert result.evaluations.tolist() == [4, 4], "what was done again counts again"
    assert result.actions.tolist()[0][:2] == [1, 4]
