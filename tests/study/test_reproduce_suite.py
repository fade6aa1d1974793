"""The rows that ship: complete, buildable on the small world, chosen by suite or name."""

from __future__ import annotations

import pytest

from attnpo.cli.row_list import rows_table
from attnpo.credit import METHODS, PRESETS
from attnpo.credit.methods import find_preset
from attnpo.errors import ConfigError
from attnpo.study.estimate import cell_minutes
from attnpo.study.sizes import Sizes
from attnpo.study.suite import REFERENCES, SUITES, load_suite
from attnpo.study.worlds import TINYWORLD
from attnpo.study.writing import about_row

SUITE = load_suite()


@pytest.mark.parametrize("row", SUITE.rows, ids=lambda row: row.name)
def test_every_row_can_be_trained_under_the_limit_of_the_small_world(row):
    method = row.build(TINYWORLD.limit(Sizes()), TINYWORLD.group_size)
    for name, value in row.settings.items():
        stored = getattr(method.settings, name)
        assert (list(stored) if isinstance(stored, tuple) else stored) == value
    assert row.heads == "chosen" or row.needs_heads


def test_a_row_may_name_another_signal():
    row = SUITE["attnpo"]
    assert row.needs_heads
    assert not row.model_copy(update={"training": {"signal": "log_prob"}}).needs_heads
    assert row.model_copy(update={"training": {"signal": "heads_ranked"}}).needs_heads
    with pytest.raises(ConfigError, match="signal: 'entropy' is unknown"):
        _ = row.model_copy(update={"training": {"signal": "entropy"}}).needs_heads


def test_every_method_and_every_preset_has_a_row():
    asked = {row.method for row in SUITE.rows}
    behind = {preset.method for name in asked if (preset := find_preset(name)) is not None}
    assert set(METHODS) <= asked | behind
    assert set(PRESETS) <= asked


def test_suites():
    names = {suite: [row.name for row in SUITE.choose(suite)] for suite in SUITES}
    assert set(names["main"]) | set(names["ablations"]) == set(names["all"])
    assert set(names["all"]) | set(names["newer"]) == {row.name for row in SUITE.rows}
    assert {"dler", "gfpo"} <= set(names["newer"])
    assert "dler" not in names["all"]
    assert all(set(REFERENCES) <= set(chosen) for chosen in names.values())
    assert "attnpo-oracle" not in names["main"]
    assert "laser" not in names["ablations"]


def test_rows_by_name_come_in_the_order_of_the_table():
    assert [row.name for row in SUITE.choose("main", ["attnpo", "rloo", "attnpo"])] == ["rloo", "attnpo"]
    with pytest.raises(ConfigError, match="row 'atnpo': there is none; there are rloo, grpo"):
        SUITE.choose("main", ["atnpo"])
    with pytest.raises(ConfigError, match="--suite most: there is none; there are main, ablations, all, newer"):
        SUITE.choose("most")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rows: [", "not valid YAML"),
        ("rows: []", "rows: Tuple should have at least 1 item"),
        ("rows: [{name: a, method: rloo}]", "row a: group: Field required"),
        ("rows: [{name: a, method: rloo, group: main, seed: 1}]", "row a: seed: Extra inputs are not permitted"),
        ("rows: [{method: rloo, group: main}]", "row number 1: name: Field required"),
        ("rows: [{name: a/b, method: rloo, group: main}]", "row a/b: name: String should match pattern"),
        ("rows: [{name: base, method: rloo, group: main}]", "row base: the name is taken"),
        (
            "rows: [{name: a, method: rloo, group: main}, {name: a, method: rloo, group: main}]",
            "row a is there twice; give the second one another name",
        ),
    ],
)
def test_a_suite_file_with_a_mistake(tmp_path, text, message):
    path = tmp_path / "rows.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_suite(path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_suite_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="no such suite file"):
        load_suite(tmp_path / "gone.yaml")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{name: a, method: rlo, group: main}", "row a: method: 'rlo' is unknown"),
        ("{name: a, method: laser, group: main, settings: {target: 96}}", "row a: target: method 'laser' has no such"),
        ("{name: a, method: laser, group: main, settings: {target_length: 512}}", "row a: target_length"),
    ],
)
def test_a_row_that_cannot_be_trained(tmp_path, row, message):
    path = tmp_path / "rows.yaml"
    path.write_text(f"rows: [{row}]")
    with pytest.raises(ConfigError) as error:
        load_suite(path)["a"].build(256, 8)
    assert message in str(error.value)


def test_the_list_says_what_it_will_cost():
    sizes = Sizes(max_sampled_tokens=250_000)
    assert cell_minutes(Sizes(max_sampled_tokens=500_000)) > 1.5 * cell_minutes(sizes)
    table = rows_table(SUITE.rows, sizes, 3)
    assert table.row_count == len(SUITE.rows)
    assert f"{len(SUITE.rows)} rows x 3 seeds, 250,000 sampled tokens each" in str(table.title)


def test_rows_of_ones_own_methods_tell_their_paper_and_heads():
    row = SUITE["attnpo"].model_copy(update={"method": "benchmarks.hypotheses.split:SplitCredit", "settings": {}})
    assert about_row(row)["paper"] == "split credit, arXiv 2602.09953"
    assert about_row(row)["heads"] == "chosen"
    assert about_row(SUITE["tlmre"])["heads"] is None


def test_rows_whose_method_is_not_here_say_why():
    row = SUITE["attnpo"].model_copy(update={"method": "nowhere_at_all:Credit"})
    (said,) = rows_table([row], Sizes(), 1).columns[2].cells
    assert "module 'nowhere_at_all' cannot be imported" in str(said)
