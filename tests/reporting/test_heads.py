"""What the page says of heads: maps with holes, trivial rules, ensembles, gates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from html_pages import Page
from run_folders import discovery, interval, write_json

from attnpo.discovery.result import DiscoveryResult
from attnpo.errors import DataError
from attnpo.reporting import write_report
from attnpo.reporting.heads import ensemble_panel, gate_table, rule_table
from attnpo.reporting.heads_section import ranked_heads
from attnpo.reporting.heat import heat_map, unreadable_layers

GRID = [[0.25, None], [None, None], [0.996, 0.5]]


def result(**more: Any) -> DiscoveryResult:
    return DiscoveryResult.model_validate(discovery(**more))


def drawn(**more: Any) -> Page:
    arguments = {"grid": GRID, "chosen": [(2, 0)], "title": "SRA"} | more
    return Page(str(heat_map(**arguments)))


def test_layers_without_attention_are_hatched_and_said() -> None:
    assert unreadable_layers(GRID) == [1]
    page = drawn()
    assert len(page.with_class("hatch")) == 3
    assert "layer 1, head 0\nno softmax attention to read" in page.tips
    said = page.drawings[0]
    assert said.startswith("SRA. 3 layers by 2 heads. Chosen: layer 2 head 0 1.00. Highest: layer 2 head 0 1.00.")
    assert said.endswith("Without readable attention: layer 1.")


def test_numbers_are_rounded_before_they_are_cut() -> None:
    texts = " ".join(drawn().text)
    assert ".25" in texts
    assert "1.0" in texts  # 0.996, not ".00"


def test_tips_hold_interval_mass_and_rank() -> None:
    low, high = [[0.2, None], [None, None], [0.9, 0.4]], [[0.3, None], [None, None], [1.0, 0.6]]
    page = drawn(bounds=(low, high), mass=[[1.5, None], [None, None], [0.25, 2.0]])
    assert "layer 0, head 0\nSRA 0.250 (0.200–0.300)\n1.50 × even attention" in page.tips
    assert "layer 2, head 0\nSRA 0.996 (0.900–1.000)\n0.25 × even attention\nchosen, number 1" in page.tips
    assert "layer 2, head 0\nSRA 0.996\nchosen, number 1" in drawn().tips


def test_profile_gives_best_and_mean_of_every_readable_layer() -> None:
    page = drawn(profile=True)
    assert "layer 2\nbest head 0.996\nmean of its heads 0.748" in page.tips
    assert "layer 0\nbest head 0.250\nmean of its heads 0.250" in page.tips
    assert not any(tip.startswith("layer 1\n") for tip in page.tips)


def test_small_cells_name_chosen_heads_beside_the_map() -> None:
    grid = [[0.5] * 24 for _ in range(30)]
    page = drawn(grid=grid, chosen=[(16, 2), (20, 9), (16, 12)])
    names = [text for text in page.text if "." in text]
    assert names == ["16.2, 16.12", "20.9"]
    assert not page.with_class("cell")


def test_rules_that_are_not_clearly_beaten_are_marked() -> None:
    rule = {"sra": interval(0.7, 0.01), "sra_length_matched": interval(0.93, 0.01)}
    uniform = {"sra": interval(0.5, 0.0), "sra_length_matched": interval(0.5, 0.0)}
    none = {"sra": interval(0.99, 0.0), "sra_length_matched": None}
    trivial = {"close": rule, "uniform attention": uniform, "unmatched": none}
    rows = {
        row.head: row
        for row in rule_table(result(trivial=trivial, chosen_sra_length_matched=interval(0.95, 0.012))).rows
    }
    assert [name for name, row in rows.items() if row.css == "unbeaten"] == ["close"]
    assert [name for name, row in rows.items() if "not clearly beaten" in row.note] == ["close"]
    assert rows["uniform attention"].note == "every token looks back evenly"
    assert rows["chosen heads (3)"].note == "2.0, 2.3, 3.1"
    assert rows["unmatched"].cells[1].interval is None


def test_ensemble_panel_marks_the_chosen_set_and_says_what_each_head_added() -> None:
    panel = ensemble_panel(result())
    assert panel is not None
    page = Page(str(panel.svg))
    assert "greedy, reported half: 1 0.896" in page.drawings[0]
    ring = [tip for tip in page.tips if tip.startswith("chosen by greedy selection: 2.0, 2.3, 3.1")]
    assert ring == ["chosen by greedy selection: 2.0, 2.3, 3.1\nSRA 0.901 (0.89–0.91)"]
    assert sum("added: 2.1" in tip for tip in page.tips) == 1
    assert ensemble_panel(result(greedy=[], top=[])) is None
    assert len(Page(str(ensemble_panel(result(chosen_by="top")).svg)).with_class("chosen")) == 1  # type: ignore[union-attr]


def test_gates_add_up_and_empty_ones_are_left_out() -> None:
    rows = gate_table(result()).rows
    counted = [Page(str(row.cells[1])).words.replace("\u00a0", " ") for row in rows]
    numbers = [int(text.split(" ")[0].replace(",", "")) for text in counted]
    assert sum(numbers) == 2048
    assert rows[-1].head == "kept"
    assert all(numbers)
    assert counted[0].endswith(" 38.6 %")


def test_best_heads_skip_what_could_not_be_read() -> None:
    found = result(num_layers=3, num_heads=2, sra_select=GRID, sra_report=GRID, relative_attention=[], chosen=[(2, 0)])
    rows = [(row.head, row.cells[-1].html()[0]) for row in ranked_heads(found).rows]
    assert rows == [("2.0", "0.996"), ("2.1", "0.500"), ("0.0", "0.250")]


def test_page_with_holes_intervals_and_ties(tmp_path: Path) -> None:
    more = {"num_layers": 3, "num_heads": 2, "sra_select": GRID, "sra_report": GRID, "relative_attention": [],
            "sra_report_low": GRID, "sra_report_high": GRID, "chosen": [(2, 0)], "unreadable_layers": [1],
            "ties": 0.0123}  # fmt: skip
    write_json(tmp_path / "discovery.json", discovery(**more))
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert "Hatched: layer 1 without softmax attention that could be read." in page.words
    assert "scores 1.2 % of the pairs alike; a tie counts ½" in page.words
    assert "SRA 0.250 (0.250–0.250)" in " ".join(page.tips)


@pytest.mark.parametrize("name", ["sra_report_low", "sra_report_high", "relative_attention"])
def test_maps_of_another_shape_are_refused(tmp_path: Path, name: str) -> None:
    write_json(tmp_path / "discovery.json", discovery(**{name: [[0.5]]}))
    with pytest.raises(DataError, match=f"{name}: expected 4 layers x 4 heads"):
        write_report(tmp_path)
