"""The report of a run folder: what it says, that it is one safe file, and what it does when pieces are missing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from html_pages import Page, assert_self_contained

from attnpo.errors import DataError, OutputError
from attnpo.evaluation.metrics import group_order
from attnpo.reporting import write_report
from attnpo.reporting.curves import thinned
from attnpo.reporting.run_folder import load_run_folder


def report(run_dir: Path) -> tuple[str, Page]:
    text = write_report(run_dir).read_text(encoding="utf-8")
    return text, Page(text)


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_report_says_the_result(run_dir: Path) -> None:
    _, page = report(run_dir)
    assert (
        "AttnPO answers 93.5 % of 400 held-out problems right with 83 tokens a response, "
        "where the model it started from needed 129 for 56.0 %." in page.words
    )
    assert "Against TLMRE (length penalty alone): shorter responses" in page.words
    assert "no measurable difference in accuracy" in page.words
    assert "+40.5 points" in page.words
    assert "from 129 −36 %" in page.words.replace("−36", " −36").replace("  ", " ")


def test_every_section_has_its_figures(run_dir: Path) -> None:
    text, page = report(run_dir)
    for name in ("frontier", "difficulty", "training", "heads", "traces", "how"):
        assert name in page.sections
    assert not page.with_class("omitted")
    drawings = page.drawings
    assert all(drawings)
    assert sum(d.startswith("Accuracy against tokens") for d in drawings) == 2
    assert "AttnPO, 93.5\u00a0% right (91.1–95.9), 83.1 tokens a response (79.4–86.8)" in drawings[0]
    starts = (
        "Answered right by difficulty",
        "Response length over training",
        "Steps attenuated over training",
        "Steps protected over training",
        "Confused phrases over training",
        "SRA on the held-out half",
        "SRA of the ensemble against number of heads",
        "shorter first: all pairs 0.590",
        "redundant tokens attenuated",
    )
    for start in starts:
        assert any(d.startswith(start) for d in drawings), start
    assert "layer 2, head 0\nSRA 0.898" in text
    assert len(page.with_class("chosen")) == 2 * 3 + 1
    assert "Proven: heads (2, 0), (2, 3), (3, 1)" in page.words
    assert "0.944 0.93–0.96" in page.words
    assert "attnpo quickstart --output_dir runs/quickstart --seed 0" in page.words


def test_traces_stand_side_by_side(run_dir: Path) -> None:
    _, page = report(run_dir)
    assert len(page.with_class("case")) == 4
    assert len(page.with_class("column")) == 4 * 3
    steps = page.with_class("step")
    assert len(steps) == 4 * (8 + 4 + 3)
    marks = {name: [s for s in steps if name in (s["class"] or "").split()] for name in ("attenuated", "protected")}
    assert len(page.with_class("badge")) == sum(map(len, marks.values())) + 2
    assert marks["attenuated"]
    tip = re.compile(r"score .*\n.* × baseline\nγ 0\.00 · protected")
    assert all(tip.search(s["data-tip"] or "") for s in marks["protected"])
    assert all(s["tabindex"] == "0" for s in steps)


def test_page_is_self_contained_and_small(run_dir: Path) -> None:
    text, _ = report(run_dir)
    assert len(text.encode()) < 2_000_000
    assert_self_contained(text, {"https://arxiv.org/abs/2602.09953"})


def test_hostile_text_stays_text(run_dir: Path) -> None:
    hostile = '<script>alert("x")</script><img src=x onerror=alert(1)>'
    path = run_dir / "attnpo" / "annotated.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        start, end = row["steps"][0]["chars"]
        row["response"] = row["response"][:start] + hostile[: end - start].ljust(end - start) + row["response"][end:]
        row["response"] += hostile + "\ud83d"
        row["prompt"] = [{"role": "user", "content": hostile}]
        row["solution"] = hostile
    path.write_text("\n".join(map(json.dumps, rows)))
    edit(run_dir / "discovery.json", verdict=hostile, model=hostile, labeler=hostile)
    edit(run_dir / "run.json", command=hostile, settings={hostile: {hostile: hostile}})
    (run_dir / "tlmre").rename(run_dir / '"><script>1<')
    text, page = report(run_dir)
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert not any(tag == "img" for tag, _ in page.elements)
    assert not any(name.startswith("on") for _, attrs in page.elements for name in attrs)
    assert "&lt;script&gt;alert(&#34;x&#34;)" in text
    assert Page(write_report(run_dir, title=hostile).read_text()).words


def test_deltas_that_hold_zero_are_marked(run_dir: Path) -> None:
    _, page = report(run_dir)
    cells = page.with_class("delta")
    measured = [c for c in cells if "unmeasured" not in (c["class"] or "").split()]
    # Base differs in both, TLMRE in tokens only, AttnPO has nothing to differ from itself.
    assert (len(cells), len(measured)) == (6, 3)


def test_without_discovery(run_dir: Path) -> None:
    (run_dir / "discovery.json").unlink()
    _, page = report(run_dir)
    assert "no discovery.json, so there is nothing to say about heads" in page.words
    assert not page.with_class("heat")
    assert "AttnPO answers 93.5 %" in page.words


def test_with_discovery_alone(tmp_path: Path, run_dir: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    (run_dir / "discovery.json").rename(alone / "discovery.json")
    _, page = report(alone)
    assert "3 heads of tinyworld-1m rank 90.1 % of pairs of an essential and a redundant step right" in page.words
    assert page.sections == ["heads", "labels", "proof", "how"]
    # Only that no proof was made, and that the command is not known, is said to be missing.
    assert len(page.with_class("omitted")) == 2
    assert len(page.with_class("heat")) == 2


def test_one_arm_alone(run_dir: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    (run_dir / "base").rename(alone / "base")
    _, page = report(alone)
    assert "The starting model answers 56.0 % of 400 held-out problems right with 129 tokens a response." in page.words
    assert "Nothing has been trained yet." in page.words
    assert not page.with_class("delta")
    assert not page.with_class("tile")
    assert "No arm has a trainer_state.json" in page.words


def test_without_trainer_state(run_dir: Path) -> None:
    (run_dir / "tlmre" / "trainer_state.json").unlink()
    _, page = report(run_dir)
    assert "No curves for TLMRE: no trainer_state.json in the arm's folder." in page.words
    (run_dir / "attnpo" / "trainer_state.json").unlink()
    _, page = report(run_dir)
    assert "No arm has a trainer_state.json" in page.words


def test_without_labels(run_dir: Path) -> None:
    for arm in ("base", "tlmre", "attnpo"):
        path = run_dir / arm / "evaluation.json"
        content = json.loads(path.read_text())
        for summary in (content["overall"], *content["by_difficulty"].values()):
            for name in ("essential_steps", "redundant_steps", "undecided_steps", "redundant_token_share"):
                summary[name] = None
        path.write_text(json.dumps(content))
        rows = (run_dir / arm / "annotated.jsonl").read_text()
        (run_dir / arm / "annotated.jsonl").write_text(re.sub(r'"label": "\w+"', '"label": null', rows))
    edit(run_dir / "discovery.json", credit_accuracy={}, chosen_sra_length_matched=None)
    _, page = report(run_dir)
    assert "redundant steps" not in page.words.split("Training")[0]
    assert not page.with_class("label")
    assert not page.with_class("judged")
    assert "redundant tokens attenuated" not in page.words


def test_without_difficulty_traces_rollouts_or_run_json(run_dir: Path) -> None:
    (run_dir / "run.json").unlink()
    for arm in ("base", "tlmre", "attnpo"):
        edit(run_dir / arm / "evaluation.json", by_difficulty={})
        (run_dir / arm / "annotated.jsonl").unlink()
        (run_dir / arm / "rollouts.jsonl").unlink()
    _, page = report(run_dir)
    assert "fewer than two difficulties" in page.words
    assert "No arm has an annotated.jsonl" in page.words
    assert "no run.json with the command" in page.words
    assert "Differences set the two intervals against each other" in page.words


def test_scores_missing_from_traces(run_dir: Path) -> None:
    for arm in ("base", "tlmre", "attnpo"):
        path = run_dir / arm / "annotated.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for row in rows:
            row |= {"pass_rate": None, "advantage": None, "correct": None}
            row["steps"] = [step | {"score": None, "gamma": None, "label": None} for step in row["steps"]]
        path.write_text("\n".join(map(json.dumps, rows)))
    _, page = report(run_dir)
    assert "not verified" in page.words
    assert all("untouched" in (s["class"] or "") for s in page.with_class("step"))


def test_large_model_and_long_traces_stay_below_the_limit(run_dir: Path) -> None:
    layers, heads = 64, 64
    grid = [[(i * heads + j) / (layers * heads) for j in range(heads)] for i in range(layers)]
    edit(
        run_dir / "discovery.json",
        num_layers=layers, num_heads=heads, sra_select=grid, sra_report=grid, relative_attention=grid,
        chosen=[[63, 63]],
    )  # fmt: skip
    for arm in ("tlmre", "attnpo"):
        path = run_dir / arm / "trainer_state.json"
        history = json.loads(path.read_text())["log_history"][:60]
        edit(path, log_history=[entry | {"step": 60 * i + entry["step"]} for i in range(50) for entry in history])
        rows = [json.loads(line) for line in (run_dir / arm / "annotated.jsonl").read_text().splitlines()]
        for row in rows:
            row["response"] += " long answer" * 8000
        (run_dir / arm / "annotated.jsonl").write_text("\n".join(map(json.dumps, rows)))
    text, page = report(run_dir)
    assert len(text.encode()) < 2_000_000
    assert "annotated problems in annotated.jsonl are not shown" in page.words


def test_extreme_values_draw(run_dir: Path) -> None:
    for arm in ("base", "tlmre", "attnpo"):
        content = json.loads((run_dir / arm / "evaluation.json").read_text())
        for name in ("accuracy", "response_tokens", "confused_phrases", "redundant_steps"):
            content["overall"][name] = {"value": 0.0, "low": 0.0, "high": 0.0}
        edit(run_dir / arm / "evaluation.json", **content)
        (run_dir / arm / "rollouts.jsonl").unlink()
    edit(run_dir / "attnpo" / "trainer_state.json",
         log_history=[{"step": 1, "attnpo/accuracy": float("nan")}, {"step": 2, "attnpo/accuracy": 1.0},
                      {"step": 3, "attnpo/accuracy": 1.0}, {"step": 3}])  # fmt: skip
    edit(run_dir / "discovery.json", greedy=[], top=[], trivial={})
    text, page = report(run_dir)
    assert "no measurable difference from the model it started from: 0.0 % against 0.0 %" in page.words
    assert not re.search(r'="-?(nan|inf)', text)


def test_output_and_title(run_dir: Path, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "er" / "page.html"
    assert write_report(run_dir, output=target, title="My run") == target
    assert "<title>My run</title>" in target.read_text()
    assert not (run_dir / "report.html").exists()
    assert write_report(run_dir).name == "report.html"


def test_unwritable_output(run_dir: Path) -> None:
    (run_dir / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write the report"):
        write_report(run_dir, output=run_dir / "file" / "report.html")


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such run folder"):
        write_report(tmp_path / "none")
    (tmp_path / "arm").mkdir()
    with pytest.raises(DataError, match=r"nothing to report .*`attnpo quickstart`"):
        write_report(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("discovery.json", "{", r"discovery\.json"),
        ("discovery.json", "[]", r"discovery\.json"),
        ("base/evaluation.json", '{"name": "base"}', r"base/evaluation\.json: .*attnpo evaluate"),
        ("base/evaluation.json", "not json", r"base/evaluation\.json: .*attnpo evaluate"),
        ("attnpo/trainer_state.json", "{]", r"attnpo/trainer_state\.json: not valid JSON"),
        ("attnpo/trainer_state.json", "[]", r"attnpo/trainer_state\.json: expected a JSON object, found list"),
        ("attnpo/trainer_state.json", '{"log_history": 3}', r"attnpo/trainer_state\.json: field log_history"),
        ("attnpo/rollouts.jsonl", '\n{"problem_id": "a"}', r"attnpo/rollouts\.jsonl, row 2: .*attnpo evaluate"),
        ("attnpo/rollouts.jsonl", "3", r"attnpo/rollouts\.jsonl, row 1"),
        ("attnpo/annotated.jsonl", "{}", r"attnpo/annotated\.jsonl, row 1"),
        ("run.json", "{", r"run\.json: not valid JSON"),
    ],
)
def test_malformed_files_are_named_with_the_fix(run_dir: Path, name: str, content: str, message: str) -> None:
    (run_dir / name).write_text(content)
    with pytest.raises(DataError, match=message):
        write_report(run_dir)


def test_grid_of_a_wrong_shape_is_refused(run_dir: Path) -> None:
    edit(run_dir / "discovery.json", num_heads=5)
    with pytest.raises(DataError, match="sra_select: expected 4 layers x 5 heads"):
        write_report(run_dir)


def test_chosen_head_outside_the_grid_is_refused(run_dir: Path) -> None:
    edit(run_dir / "discovery.json", chosen=[[4, 0]])
    with pytest.raises(DataError, match=r"chosen: head \(4, 0\) does not exist"):
        write_report(run_dir)


def test_sums_are_over_a_problems_verified_responses(run_dir: Path) -> None:
    rows = [("a", True, 4), ("a", False, 8), ("b", True, 3), ("c", None, 9)]
    (run_dir / "base" / "rollouts.jsonl").write_text(
        "\n".join(json.dumps({"problem_id": p, "correct": c, "response_ids": [0] * n}) for p, c, n in rows)
    )
    found = load_run_folder(run_dir).arms[0].evaluation
    assert found is not None
    assert found.problems is not None
    assert found.problems.problem_id == ["a", "b"]
    assert found.problems.columns == {"responses": [2, 1], "correct": [1, 1], "response_tokens": [12, 3]}


def test_arms_come_in_the_order_of_the_story(run_dir: Path) -> None:
    (run_dir / "attnpo_shuffled").mkdir()
    (run_dir / "tlmre" / "evaluation.json").rename(run_dir / "attnpo_shuffled" / "evaluation.json")
    assert [arm.name for arm in load_run_folder(run_dir).arms] == ["base", "tlmre", "attnpo", "attnpo_shuffled"]


def test_difficulties_in_the_order_of_numbers() -> None:
    assert group_order(["10", "hard", "9", "easy", "9"]) == ["9", "10", "easy", "hard"]


def test_long_logs_are_thinned_to_means() -> None:
    xs, ys = thinned([1, 2, 3, 4, 5], [1, 3, 5, 7, 9], most=3)
    assert (xs, ys) == ([2, 4, 5], [2, 6, 9])
    assert thinned([1, 2], [3, 4], most=2) == ([1, 2], [3, 4])
