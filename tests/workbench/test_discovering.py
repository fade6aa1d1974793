"""What a discovery looks at before anything is sampled."""

from __future__ import annotations

import pytest

from attnpo.discovery import DiscoverySettings
from attnpo.errors import ConfigError, DataError
from attnpo.labeling.causal import CausalSettings
from attnpo.labeling.judge import JudgeSettings
from attnpo.sampling import EngineSettings
from attnpo.workbench.arguments import DataArguments, DiscoverArguments, ModelArguments, StepArguments
from attnpo.workbench.discovering import Discovering
from attnpo.workbench.problems import load_data


def discovering(folder, data: DataArguments, **asked) -> Discovering:
    return Discovering(
        DiscoverArguments(output_dir=str(folder), **asked),
        ModelArguments(model="tinyworld", device="cpu"),
        data,
        StepArguments(labeler="attnpo.tinyworld:label_steps", verifier="exact", segmentation="paragraphs"),
        DiscoverySettings(max_new_tokens=64),
        EngineSettings(),
        JudgeSettings(),
        CausalSettings(),
    )


def test_heads_are_looked_for_on_other_problems_than_models_are_measured_on(tmp_path):
    data = DataArguments(data="tinyworld", num_problems=5)
    asked = {problem.problem_id for problem in discovering(tmp_path, data).session.problems}
    trained_on, measured_on = (
        {problem.problem_id for problem in load_data(data, "solution", split)} for split in ("train", "heldout")
    )
    assert asked == trained_on
    assert not asked & measured_on
    assert discovering(tmp_path, data).dataset_name == "attnpo.tinyworld:train_dataset"


def test_a_split_of_a_room_is_its_own_or_refused():
    pytest.importorskip("reasoning_gym", reason="the problems are reasoning-gym's")
    unseen = load_data(DataArguments(data="gsmworld", split="unseen", num_problems=9), "solution", "train")
    assert unseen == load_data(
        DataArguments(data="attnpo.gsmworld:unseen_dataset", num_problems=9), "solution", "train"
    )
    with pytest.raises(ConfigError, match=r"^--split unsen: --data gsmworld has train, heldout, unseen; did you mean"):
        load_data(DataArguments(data="gsmworld", split="unsen"), "solution", "train")


def test_a_split_that_nothing_reads_is_refused(tmp_path):
    (tmp_path / "problems.jsonl").write_text('{"prompt": "1+1?", "solution": "2"}\n')
    with pytest.raises(DataError, match=r"problems.jsonl: files have no splits, and split 'test' is asked for"):
        load_data(DataArguments(data=str(tmp_path / "problems.jsonl"), split="test"), "solution", "train")


def test_a_grouping_that_the_problems_do_not_state_is_refused(tmp_path):
    (tmp_path / "problems.jsonl").write_text('{"prompt": "1+1?", "solution": "2"}\n')
    data = DataArguments(data=str(tmp_path / "problems.jsonl"))
    with pytest.raises(DataError, match="has no difficulty; name the data set's column, or group by"):
        discovering(tmp_path / "out", data, transfer="difficulty")
    discovering(tmp_path / "out", data, transfer="pass_rate")
