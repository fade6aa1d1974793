from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

pytest.importorskip("reasoning_gym", reason="the problems are reasoning-gym's")
pytest.importorskip("peft", reason="adapters are peft's")

from gsm_stand_in import random_llama

from attnpo.coldstart import ColdStartAdapters, ColdStartConfig
from attnpo.coldstart.equations import QUESTION
from attnpo.errors import AttnPOError, ConfigError, OutputError
from attnpo.models import find_model, load_model, load_tokenizer
from attnpo.workbench.arguments import ColdStartArguments, DataArguments
from attnpo.workbench.coldstart import STARTED_FROM, TRACES, ColdStarted, cold_start

WHOLE_EPOCHS = {"num_train_epochs": 2.0, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 1}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_llama(tmp_path_factory.mktemp("base"))


def start(
    base: Path,
    folder: Path,
    data: DataArguments | None = None,
    arguments: dict[str, Any] | None = None,
    said: list[str] | None = None,
    **settings: Any,
) -> ColdStarted:
    named: dict[str, Any] = {"eval_problems": 0, **(arguments or {})}
    config = ColdStartConfig(output_dir=str(folder), **{"max_length": 2048, "disable_tqdm": True, **settings})
    return cold_start(
        ColdStartArguments(model=str(base), **named),
        data or DataArguments(data="gsmworld", num_problems=12),
        config,
        ColdStartAdapters(lora_r=2),
        note=([] if said is None else said).append,
    )


def test_a_model_learns_traces_and_is_measured_before_and_after(base: Path, tmp_path: Path) -> None:
    said: list[str] = []
    measured = {"eval_problems": 2, "eval_max_new_tokens": 12}
    done = start(base, tmp_path, arguments=measured, said=said, max_steps=2)
    assert done.steps == 2
    assert done.before is not None
    assert done.after is not None
    assert (done.before.name, done.after.name) == ("before", "after")
    for each in (done.before, done.after):
        assert (each.sampling["temperature"], each.sampling["top_p"]) == (1.0, 1.0)
    assert done.before.model_fingerprint != done.after.model_fingerprint
    assert "think_closed" in done.after.overall.counts
    assert {weights.dtype for weights in load_file(tmp_path / "adapter_model.safetensors").values()} == {torch.bfloat16}
    source = find_model(str(tmp_path))
    assert source.weights == str(base)
    load_model(source, device="cpu")
    asked = load_tokenizer(source).apply_chat_template(
        [{"role": "user", "content": "?"}], add_generation_prompt=True, tokenize=False
    )
    assert asked.endswith("<think>\n")
    traces = [json.loads(line) for line in (tmp_path / TRACES).read_text().splitlines()]
    assert len(traces) == 12
    assert all("</think>" in trace["response"] for trace in traces)
    assert any(line.startswith("12 rows of") for line in said)


def test_a_run_that_was_ended_goes_on_with_the_same_weights(base: Path, tmp_path: Path) -> None:
    whole, ended = tmp_path / "whole", tmp_path / "ended"
    assert start(base, whole, save_steps=2, **WHOLE_EPOCHS).steps == 6
    with pytest.raises(OutputError, match=r"holds a run before \(trainer_state.json\); --resume_from_checkpoint true"):
        start(base, whole, save_steps=2, **WHOLE_EPOCHS)
    ended.mkdir()
    (whole / "checkpoint-4").rename(ended / "checkpoint-4")  # as a run that was ended after four steps left it
    (ended / STARTED_FROM).write_text('{"base": "another"}')
    with pytest.raises(OutputError, match=r"other settings: base \(there 'another', asked '"):
        start(base, ended, save_steps=2, resume_from_checkpoint="true", **WHOLE_EPOCHS)
    shutil.copy(whole / STARTED_FROM, ended)
    start(base, ended, save_steps=2, resume_from_checkpoint="true", **WHOLE_EPOCHS)
    one, other = (load_file(folder / "adapter_model.safetensors") for folder in (whole, ended))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_other_problems_are_measured_where_they_are_named_and_in_their_columns(base: Path, tmp_path: Path) -> None:
    row = {"asked": "3 by 2?", "result": "6", "worked_solution": "3*2=6"}
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(row) + "\n")
    data = DataArguments(data=str(file), prompt_column="asked")
    columns = {"solution_column": "result", "eval_problems": 1, "eval_max_new_tokens": 4}
    said: list[str] = []
    assert start(base, tmp_path / "one", data, columns, said, max_steps=1).after is None
    assert "nothing is measured after: --eval_data names problems to measure on" in said
    done = start(base, tmp_path / "other", data, {**columns, "eval_data": str(file)}, max_steps=1)
    assert done.after is not None
    assert done.after.dataset == str(file)


def test_one_column_may_hold_question_answer_and_worked_solution(base: Path, tmp_path: Path) -> None:
    """As GSM8K's do: the prompt is the question, the answer stands behind the worked solution."""
    rows = [
        {
            "question": f"Ann has {n} cups of 7. How many?",
            "answer": f"{n}*7=<<{n}*7={7 * n}>>{7 * n} cups.\n#### {7 * n}",
        }
        for n in range(2, 6)
    ]
    file = tmp_path / "gsm8k.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = DataArguments(data=str(file), prompt_column="question", solution_after="####")
    columns = {"solution_column": "answer", "worked_column": "answer", "question_column": "question"}
    start(base, tmp_path / "run", data, columns, max_steps=1)
    traces = [json.loads(line) for line in (tmp_path / "run" / TRACES).read_text().splitlines()]
    assert [trace["prompt"] for trace in traces] == [row["question"] for row in rows]
    for trace, n in zip(traces, range(2, 6), strict=True):
        assert trace["response"].endswith(f"\\boxed{{{7 * n}}}.")
        assert "<<" not in trace["response"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ('{"question": "3 by 2?", "answer": "3*2=6 in all"}\n', "rows.jsonl, row 1: 'answer' does not contain '####'"),
        ('{"question": "3 by 2?", "answer": "six\\n#### 6"}\n', "no solution reads as true equations"),
        ('{"question": "3 by 2?", "answer": "3*2=6\\n#### 6"}\n{"question": "4 b', "rows.jsonl"),
        ('{"question": "", "answer": "3*2=6\\n#### 6"}\n', "rows.jsonl, row 1: 'question' is empty"),
    ],
)
def test_a_broken_file_of_that_form_is_refused_in_one_line(base: Path, tmp_path: Path, rows: str, said: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(rows)
    data = DataArguments(data=str(file), prompt_column="question", solution_after="####")
    with pytest.raises(AttnPOError) as raised:
        start(base, tmp_path / "run", data, {"solution_column": "answer", "worked_column": "answer"})
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_worked_solutions_may_be_nested(base: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"prompt": "3 by 2?", "solution": "6", "extra": {"worked": "3*2=6"}}) + "\n")
    done = start(base, tmp_path / "run", DataArguments(data=str(file)), {"worked_column": "extra.worked"}, max_steps=1)
    assert done.steps == 1


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (None, "--chat_template: the tokenizer has none; name a file, or chatml"),
        ("{{ raise_exception('no user') }}", "chat template cannot render the messages (no user)"),
        ("{% for m in messages %}{{ m.content }}", "chat template cannot render the messages"),
    ],
)
def test_templates_that_render_nothing_are_refused_in_one_line(
    base: Path, tmp_path: Path, template: str | None, said: str
) -> None:
    arguments = {}
    if template is None:
        base = shutil.copytree(base, tmp_path / "base")
        (base / "chat_template.jinja").unlink(missing_ok=True)
        config = json.loads((base / "tokenizer_config.json").read_text())
        config.pop("chat_template", None)
        (base / "tokenizer_config.json").write_text(json.dumps(config))
    else:
        (tmp_path / "broken.jinja").write_text(template)
        arguments["chat_template"] = str(tmp_path / "broken.jinja")
    with pytest.raises(AttnPOError) as raised:
        start(base, tmp_path / "run", arguments=arguments)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_weights_that_are_held_quantised_are_refused() -> None:
    with pytest.raises(ConfigError, match="load_in_4bit: a cold start learns above whole weights; leave it out"):
        ColdStartAdapters(load_in_4bit=True)


@pytest.mark.parametrize(
    ("row", "arguments", "settings", "said"),
    [
        ({"answer": "3*2=6"}, {}, {}, "no text in column 'worked_solution'; name the worked solution's with --worked_"),
        ({"worked_solution": "3*2=7"}, {}, {}, "no solution reads as true equations that come to the answer"),
        ({"worked_solution": "six"}, {}, {}, "no solution reads as true equations"),
        ({"worked_solution": "3*2=6", "solution": "six"}, {}, {}, "no solution reads as true equations"),
        ({"worked_solution": "3*2=6"}, {"question_column": "question"}, {}, "no text in column 'question'"),
        ({"worked_solution": "3*2=6"}, {"chat_template": "no.jinja"}, {}, "no.jinja"),
        ({"worked_solution": "3*2=6"}, {}, {"max_length": 8}, "max_length: the longest row has"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused_in_one_line(
    base: Path, tmp_path: Path, row: dict[str, str], arguments: dict[str, Any], settings: dict[str, Any], said: str
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"prompt": "3 by 2?", "solution": "6", **row}) + "\n")
    with pytest.raises(AttnPOError) as raised:
        start(base, tmp_path / "run", DataArguments(data=str(file)), arguments, **settings)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_more_plain_rows_than_rows_are_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="plain_rows 13: there are 12 rows"):
        start(base, tmp_path, plain_rows=13)


def test_equations_alone_come_before_the_problems(base: Path, tmp_path: Path) -> None:
    said: list[str] = []
    assert start(base, tmp_path, said=said, equation_rows=3, max_steps=1, per_device_train_batch_size=3).steps == 1
    traces = [json.loads(line) for line in (tmp_path / TRACES).read_text().splitlines()]
    assert [trace["prompt"][0]["content"] == QUESTION for trace in traces] == [True] * 3 + [False] * 12
    assert any(line.startswith("15 rows of") for line in said)
