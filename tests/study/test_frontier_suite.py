"""The suite of curves: it ships complete, expands dials, keeps pilots apart and holds what was planned."""

from __future__ import annotations

import json
import lzma
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from reproduced import head_sets, measure, write_cell

from attnpo.cli.main import main
from attnpo.credit import build_method
from attnpo.errors import ConfigError, OutputError
from attnpo.gradients import CreditRow, GradientsResult
from attnpo.gradients.result import Known
from attnpo.reporting.reproduction.ranking import FORETOLD
from attnpo.study.arms import COURSE, course_folders
from attnpo.study.cells import Cell, Experiment, cells_of, choose_cells
from attnpo.study.estimate import cell_minutes
from attnpo.study.reproducing import reproduce
from attnpo.study.sizes import Sizes
from attnpo.study.suite import load_suite
from attnpo.study.worlds import GSM, TINYWORLD, UNSEEN
from attnpo.tinyworld.problems import generate_problems

SUITE = load_suite(suite="frontier")
ON_GSM = load_suite(world=GSM, suite="frontier")
ROOT = Path(__file__).parents[2]
BENCHMARKS, RESULTS = ROOT / "benchmarks", ROOT / "docs" / "results"
HYPOTHESES = load_suite(BENCHMARKS / "hypotheses" / "suite.yaml", suite="frontier")
FURTHER = {
    name: load_suite(BENCHMARKS / f"{name}_suite.yaml", suite="frontier")
    for name in (
        "pressure",
        "pressure_greedy",
        "pressure_dense",
        "pressure_split",
        "merged",
        "merged_price",
        "greedy",
        "sas",
    )
}
SMALL = """
defaults: {seeds: [5, 6], num_eval: 30}
frontier: {against: [tlmre], at_tokens: [115], primary: 115, margin: 0.05}
pilot_seeds: [1, 2]
rows:
  - {name: tlmre, method: tlmre, group: main, dial: alpha_len, strengths: [0.1, 0.4]}
  - {name: alp, method: alp, group: main, dial: beta, strengths: [0.001, 0.003]}
"""


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


@pytest.mark.parametrize(
    ("world", "row"),
    [
        (world, row)
        for world, suite in (
            (TINYWORLD, SUITE),
            (TINYWORLD, HYPOTHESES),
            *((TINYWORLD, suite) for suite in FURTHER.values()),
            (GSM, ON_GSM),
        )
        for row in suite.rows
    ],
    ids=lambda value: value.name,
)
def test_every_row_can_be_trained_under_the_limit_of_its_world(world, row):
    row.build(world.limit(world.sizes), world.group_size)
    assert row.heads == "chosen" or row.needs_heads


@pytest.mark.parametrize("suite", [SUITE, HYPOTHESES, FURTHER["pressure"], ON_GSM])
def test_curves_have_five_strengths_and_controls_those_of_what_they_control(suite):
    for name, rows in suite.curves.items():
        assert len(rows) >= 5 or name == "rloo"
        assert len({row.strength for row in rows}) == len(rows)
        for row in rows:
            if row.control_of:
                assert row.strength in {other.strength for other in suite.curves[row.control_of]}
    assert set(suite.frontier.against) <= set(suite.family)
    assert "attnpo" in suite.family
    assert not {"rloo", "mean-gamma", "oracle"} & set(suite.family)


def test_cells_of_the_frontier_serve_other_suites():
    """Copied from folder to folder, so rows, seeds and measurements are the same."""
    for name in ("rloo", "tlmre", "attnpo", "oracle"):
        assert [r.model_dump() for r in HYPOTHESES.curves[name]] == [r.model_dump() for r in SUITE.curves[name]]
    assert (HYPOTHESES.defaults, HYPOTHESES.evaluation) == (SUITE.defaults, SUITE.evaluation)
    assert HYPOTHESES.frontier.target == SUITE.frontier.target
    told = {"differs"}
    for row in (row for name in ("truncation", "sas") for row in FURTHER["sas"].curves[name]):
        assert row.model_dump(exclude=told) == SUITE[row.name].model_dump(exclude=told)
    assert (FURTHER["sas"].defaults, FURTHER["sas"].evaluation) == (SUITE.defaults, SUITE.evaluation)


def test_bounds_measure_every_response():
    causal = [row for row in HYPOTHESES.rows if "causal" in row.method]
    assert len(causal) == 10
    assert {row.settings["measured_share"] for row in causal} == {1.0}


def test_a_dial_makes_a_row_a_strength(small):
    suite = load_suite(small)
    assert [row.name for row in suite.rows] == ["tlmre-0.1", "tlmre-0.4", "alp-0.001", "alp-0.003"]
    assert suite["tlmre-0.4"].settings == {"alpha_len": 0.4}
    assert (suite["tlmre-0.4"].curve, suite["tlmre-0.4"].strength) == ("tlmre", "0.4")
    assert [row.name for row in suite.choose("all", ["alp", "tlmre-0.1"])] == ["tlmre-0.1", "alp-0.001", "alp-0.003"]
    cells = cells_of(suite.rows, [5, 6])
    assert [cell.name for cell in choose_cells(cells, ["alp"])] == [
        "alp-0.001/5", "alp-0.003/5", "alp-0.001/6", "alp-0.003/6",
    ]  # fmt: skip
    assert [cell.name for cell in choose_cells(cells, ["alp/6", "tlmre-0.1/5"])] == [
        "tlmre-0.1/5", "alp-0.001/6", "alp-0.003/6",
    ]  # fmt: skip


def test_runs_are_not_held_against_a_single_strength(small):
    one = SMALL.replace("strengths: [0.1, 0.4]", "strengths: [0.1]")
    small.write_text(one)
    load_suite(small)
    small.write_text(one.replace("margin: 0.05", "margin: 0.05, by_run: true"))
    with pytest.raises(ConfigError, match="frontier: by_run: tlmre is a row of one strength"):
        load_suite(small)


@pytest.mark.parametrize(
    ("archive", "suite"),
    [
        ("frontier/cells", SUITE),
        ("hypotheses/cells", HYPOTHESES),
        ("pressure_greedy/split", FURTHER["pressure_split"]),
        ("merged/price", FURTHER["merged_price"]),
        *((f"{name}/cells", FURTHER[name]) for name in ("greedy", "merged", "pressure", "pressure_greedy")),
    ],
)
def test_packed_cells_go_on_under_the_plan_as_it_is(archive, suite):
    with tarfile.open(RESULTS / f"{archive}.tar.xz") as packed:
        kept = json.loads(packed.extractfile("frontier.settings.json").read())
    assert kept == json.loads(json.dumps(suite.planned(suite.defaults["seeds"])))


def test_defaults_give_way_to_what_is_given(small):
    suite = load_suite(small)
    sizes, seeds = suite.meant(Sizes(), [1, 2, 3], set())
    assert (sizes, seeds) == (Sizes(num_eval=30), [5, 6])
    assert suite.meant(Sizes(num_eval=70), [9], {"num_eval", "seeds"}) == (Sizes(num_eval=70), [9])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("strengths: [0.1, 0.4]", "strengths: 0.1"), "row tlmre: give dial, the name of a setting, and strengths"),
        (("dial: beta, ", ""), "row alp: give dial"),
        (("primary: 115", "primary: 110"), "primary 110 is none of at_tokens"),
        (("against: [tlmre]", "against: [truncation]"), "against: no curve is called truncation"),
        (("group: main, dial: beta", "group: main, control_of: x, dial: beta"), "control_of: no curve is called x"),
        (("margin: 0.05", "margin: 5"), "frontier: margin"),
        (("margin: 0.05", "margin: 0.05, equal: [x]"), "frontier: equal: no curve is called x"),
        (("margin: 0.05", "margin: 0.05, equal: [tlmre]"), "equal: tlmre is not among the curves that are tested"),
    ],
)
def test_mistakes_in_a_suite_of_curves(small, change, message):
    small.write_text(SMALL.replace(*change))
    with pytest.raises(ConfigError) as error:
        load_suite(small)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_default_is_refused(small):
    small.write_text(SMALL.replace("num_eval: 30", "num_evals: 30"))
    with pytest.raises(ConfigError, match="defaults: num_evals is no setting"):
        load_suite(small).meant(Sizes(), [1], set())


def test_a_world_without_curves():
    with pytest.raises(ConfigError, match="--suite frontier: none ships for gsm"):
        load_suite(world=replace(GSM, curve_file=None), suite="frontier")


def test_measurements_take_further_flags(small, tmp_path):
    sizes = Sizes(num_eval=30, evaluation=["counter=attnpo.tinyworld:count_shortcuts"])
    experiment = Experiment(tmp_path / "runs", sizes, TINYWORLD.measured_with(sizes.further_evaluation))
    measure(experiment.output_dir / "base", "base", 0)
    suite = load_suite(small)
    write_cell(experiment, Cell(suite["tlmre-0.1"], 5))
    stored = json.loads((experiment.output_dir / "tlmre-0.1" / "seed-5" / "cell.settings.json").read_text())
    assert stored["evaluate"]["counter"] == "attnpo.tinyworld:count_shortcuts"
    reproduce(suite, suite.rows, [5, 6], sizes, experiment.output_dir, run=False)
    with pytest.raises(OutputError, match="counter"):
        reproduce(suite, suite.rows, [5, 6], Sizes(num_eval=30), experiment.output_dir, run=False)
    with pytest.raises(ConfigError, match="--evaluation counter: give NAME=VALUE"):
        Sizes(evaluation=["counter"])
    with pytest.raises(ConfigError, match="--evaluation num_problems=5: every measurement has its own num_problems"):
        Sizes(evaluation=["num_problems=5"])
    assert Sizes(evaluation=["max_new_tokens=384"]).further_evaluation == {"max_new_tokens": 384}


def test_models_on_the_way_are_kept_and_measured(tmp_path):
    head_sets(tmp_path / "heads")
    sizes = Sizes(num_course=40)
    experiment, cell = Experiment(tmp_path, sizes), Cell(SUITE["tlmre-0.1"], 21)
    train, evaluate, *course = experiment.arm(cell).commands
    assert train.settings["keep_models"] == COURSE
    assert [c.settings["model"] for c in course] == course_folders(cell.folder(tmp_path))
    assert {c.settings["num_problems"] for c in course} == {40}
    assert course[0].done == tmp_path / "tlmre-0.1" / "seed-21" / "course" / "1" / "evaluation.json"
    assert evaluate.settings["num_problems"] == 500
    settings = experiment.settings(cell)
    assert settings["course"]["num_problems"] == 40
    plain = Experiment(tmp_path, Sizes()).settings(cell)
    assert {**settings, "course": None} == {**plain, "course": None}  # what was trained is the same
    assert cell_minutes(sizes) > cell_minutes(Sizes())
    with pytest.raises(ConfigError, match="--num_course 40: goes by --max_sampled_tokens"):
        TINYWORLD.check(Sizes(num_course=40, max_sampled_tokens=0))
    given, _ = ON_GSM.meant(replace(GSM.sizes, num_course=200), [1], {"num_course"})
    GSM.check(given)  # the suite's own budget


def test_pilots_never_stand_beside_others(small, tmp_path):
    suite = load_suite(small)
    assert suite.is_pilot([1, 2])
    assert not suite.is_pilot([5, 6])
    with pytest.raises(ConfigError, match="--seeds 1: was a pilot's"):
        suite.is_pilot([1, 5])
    sizes = Sizes(num_eval=30)
    experiment = Experiment(tmp_path / "runs", sizes)
    measure(experiment.output_dir / "base", "base", 0)
    for row in suite.rows:
        for seed in (1, 5, 6):
            write_cell(experiment, Cell(row, seed), shorter=10 + 20 * (row.strength in ("0.4", "0.003")))
    done = reproduce(suite, suite.rows, [5, 6], sizes, experiment.output_dir, run=False)
    before = {file: file.read_bytes() for file in done.files}
    assert {file.name for file in done.files} >= {"curves.md", "curves.json", "frontier.png", "results.md"}
    content = json.loads((experiment.output_dir / "curves.json").read_text())
    assert content["curves"]["alp"]["seeds"] == [5, 6]
    assert json.loads((experiment.output_dir / "table.json").read_text())["rows"]["alp-0.001"]["seeds"] == [5, 6]
    text = (experiment.output_dir / "results.md").read_text()
    assert text.index("Primary: accuracy at 115 tokens") < text.index("### All rows")
    page = (experiment.output_dir / "report.html").read_text()
    assert 'id="curves"' in page
    assert "Accuracy at equal length less that of tlmre, points" in page
    # A pilot takes a folder of its own, and there has a table and no comparison.
    with pytest.raises(OutputError, match=r"pilot \(there None, asked True\); choose another output folder"):
        reproduce(suite, suite.rows, [1], sizes, experiment.output_dir, run=False)
    assert before == {file: file.read_bytes() for file in done.files}
    apart = replace(experiment, output_dir=tmp_path / "pilot")
    measure(apart.output_dir / "base", "base", 0)
    write_cell(apart, Cell(suite["alp-0.001"], 1))
    pilot = reproduce(suite, suite.rows, [1], sizes, apart.output_dir, run=False)
    assert "curves.md" not in {file.name for file in pilot.files}
    assert json.loads((apart.output_dir / "table.json").read_text())["rows"]["alp-0.001"]["seeds"] == [1]
    with pytest.raises(OutputError, match=r"pilot \(there True, asked None\)"):
        reproduce(suite, suite.rows, [5, 6], sizes, apart.output_dir, run=False)


def gradients_file(path, method, settings):
    """Write credits as `attnpo gradients` does: one of a method, of no curve's height."""
    rows = [
        CreditRow(
            name=f"{method} {number}", family=method, strength=1.0, beside="accuracy", method=method, settings=own,
            measures={"plain": {name: Known(value=0.1, error=0.1, df=5) for name in FORETOLD}}, cosines={},
        )
        for number, own in enumerate(settings)
    ]  # fmt: skip
    known = {"model": "tiny", "source": "data", "batches": 8, "problems_per_batch": 2, "group_size": 8, "accuracy": 0.5}
    more = {"tokens": 100.0, "parameters": 9, "sketch": None, "heads": [], "progress_step": 0, "left_out": {}}
    GradientsResult(**known, **more, rows=rows).save(path)
    return path


@pytest.mark.parametrize(
    ("method", "settings", "seeds", "said"),
    [
        (
            "alp",
            [{"beta": 0.002}],
            [5, 6],
            r"no credit has the method, settings and signal of a row other than tlmre's; g",
        ),
        (
            "tlmre",
            [{"alpha_len": 0.1}],
            [5, 6],
            r"no credit has the method, settings and signal of a row other than tlmre",
        ),
        ("alp", [{"beta": 0.001}], [1, 2], r"is held against curves, and a pilot has none; leave it out"),
    ],
)
def test_gradients_that_fit_no_curve_are_refused_before_anything_runs(
    small, tmp_path, monkeypatch, method, settings, seeds, said
):
    monkeypatch.setattr("attnpo.study.reproducing.run_cells", None)
    suite, file = load_suite(small), gradients_file(tmp_path / "gradients.json", method, settings)
    with pytest.raises(ConfigError, match=rf"^--gradients {file}: {said}"):
        reproduce(suite, suite.rows, seeds, Sizes(num_eval=30), tmp_path / "runs", gradients=file)
    assert not (tmp_path / "runs").exists()


def test_gradients_too_old_to_rank_by_are_refused_before_anything_runs(small, tmp_path, monkeypatch):
    monkeypatch.setattr("attnpo.study.reproducing.run_cells", None)
    suite, file = load_suite(small), gradients_file(tmp_path / "gradients.json", "alp", [{"beta": 0.001}])
    written = json.loads(file.read_text())
    del written["rows"][0]["measures"]["plain"]["signal_to_noise_beside_curve"]
    file.write_text(json.dumps(written))
    said = rf"^--gradients {file}: .* without signal_to_noise_beside_curve; run `attnpo gradients` again$"
    with pytest.raises(ConfigError, match=said):
        reproduce(suite, suite.rows, [5, 6], Sizes(num_eval=30), tmp_path / "runs", gradients=file)
    assert not (tmp_path / "runs").exists()


def test_gradients_wait_for_curves_that_are_not_there_yet(small, tmp_path):
    suite, sizes = load_suite(small), Sizes(num_eval=30)
    experiment = Experiment(tmp_path / "runs", sizes)
    file = gradients_file(tmp_path / "gradients.json", "alp", [{"beta": 0.003}])

    def written(row, shorter, part=""):
        for seed in (5, 6):
            folder = write_cell(experiment, Cell(suite[row], seed), shorter=shorter)
            measure(folder / UNSEEN, row, seed, 0.2, shorter)
        reproduce(suite, suite.rows, [5, 6], sizes, experiment.output_dir, run=False, gradients=file)
        return json.loads((experiment.output_dir / part / "curves.json").read_text())

    measure(experiment.output_dir / "base", "base", 0)
    measure(experiment.output_dir / "base" / UNSEEN, "base", 0)
    early = written("tlmre-0.1", 10)
    assert early["ranking"] == []
    assert (
        early["caveats"][-1] == "Gradients are not held against the curves: no curve that is there yet has a gradient."
    )
    for row, shorter in (("tlmre-0.4", 30), ("alp-0.001", 10)):
        written(row, shorter)
    for part in ("", UNSEEN):  # templates never seen have curves of their own
        late = written("alp-0.003", 30, part)
        assert late["ranking"][0]["accuracy"]["curves"] == []  # of two strengths one has a gradient
        assert late["caveats"][-1] == "alp: no gradient has the settings of alp-0.001."


@pytest.mark.parametrize(
    ("change", "seeds", "said"),
    [
        (("margin: 0.05", "margin: 0.1"), [5, 6], r"plan\.margin \(there 0\.05, asked 0\.1\)"),
        (("", ""), [5], r"seeds \(there \[5, 6\], asked \[5\]\)"),
        (("0.001, 0.003", "0.001, 0.004"), [5, 6], r"curves\.alp\.alp-0\.003 \(there"),
        (("margin: 0.05", "margin: 0.05, by_run: true"), [5, 6], r"plan\.by_run \(there None, asked True\)"),
        (("method: alp", "method: alp, settings: {x: 1}"), [5, 6], r"curves\.alp\.alp-0\.001\.settings"),
    ],
)
def test_what_was_planned_stays(small, tmp_path, change, seeds, said):
    suite, folder = load_suite(small), tmp_path / "runs"
    Experiment(folder, Sizes()).output_dir.mkdir()
    Experiment(folder, Sizes()).claim_plan(suite.planned([6, 5]))
    Experiment(folder, Sizes()).claim_plan(suite.planned([5, 6]))
    small.write_text(SMALL.replace(*change))
    with pytest.raises(OutputError, match=said):
        Experiment(folder, Sizes()).claim_plan(load_suite(small).planned(seeds))


def test_pilots_of_every_suite_are_known():
    assert load_suite().is_pilot([11, 12])
    assert not load_suite().is_pilot([1, 2, 3])
    with pytest.raises(ConfigError, match="--seeds 11: was a pilot's"):
        load_suite().is_pilot([1, 11])


def test_models_are_measured_on_problems_that_no_pilot_saw():
    pilots = {problem.question for problem in generate_problems("heldout", 1000)}
    world = TINYWORLD.measured_with(SUITE.evaluation)
    seed, number = world.evaluation["problems_seed"], SUITE.defaults["num_eval"]
    assert not pilots & {problem.question for problem in generate_problems("heldout", number, seed)}
    base, *_ = Experiment(Path("x"), Sizes(num_eval=number, num_course=9), world).shared_arms([])
    cell = Experiment(Path("x"), Sizes(num_eval=number, num_course=9), world).arm(Cell(SUITE["tlmre-0.1"], 21))
    asked = [c.settings for c in (*base.commands, *cell.commands) if c.name == "evaluate"]
    assert [settings["problems_seed"] for settings in asked] == [seed] * 5


def test_the_list_of_the_suite_takes_its_defaults(capsys):
    main(["reproduce", "--suite", "frontier", "--list", "--rows", "tlmre"])
    assert "6 rows x 5 seeds, 160,000 sampled tokens each" in capsys.readouterr().out


def test_sizes_of_a_suite_are_whole(tmp_path):
    sizes, seeds = SUITE.meant(Sizes(), [1], set())
    assert sizes == replace(Sizes(), num_eval=2000, num_course=500)
    assert not set(seeds) & set(SUITE.pilot_seeds)


@pytest.mark.parametrize("file", sorted((RESULTS / "gradients").glob("*.json.xz")), ids=lambda file: file.name)
def test_kept_gradients_name_methods_that_are_here(file):
    """Else `--gradients` matches less than it could."""
    with lzma.open(file) as stream:
        rows = json.load(stream)["rows"]
    named = [row for row in rows if row.get("method")]
    assert len(named) > 10
    for row in named:
        build_method(row["method"], row["settings"])
