"""`--markers`: what a model writes around its thinking holds wherever a command opens, cuts, judges and records."""

from __future__ import annotations

import json
import shutil

import pytest
from byte_tokenizer import byte_tokenizer
from fake_server import FakeServer, completion

from attnpo.cli import evaluate as evaluate_command
from attnpo.errors import OutputError
from attnpo.evaluation import EvaluationResult
from attnpo.markers import FAMILIES, markers_of
from attnpo.rollouts import read_rollouts
from attnpo.sampling import render_prompt
from attnpo.tinyworld import checkpoint_path
from attnpo.training import AdapterSettings, AttnPOConfig
from attnpo.training.checks import Findings
from attnpo.training.estimate import Layout
from attnpo.workbench.arguments import DataArguments, ProbeArguments, TrainArguments
from attnpo.workbench.planning import plan_run

CLOSED, OPEN = "What is 3 + 4?", "What is 4 + 3?"
RESPONSES = {
    CLOSED: "Six and one.\n\nSo seven.\n[/THINK]\n\nThe answer is \\boxed{7}.",
    OPEN: "Six and one.\n\nThe answer is \\boxed{7}.",
}
"""Of a model whose prompt has opened its thinking: one that closes it and one that never does."""


@pytest.fixture
def model(tmp_path):
    shutil.copytree(checkpoint_path(), tmp_path / "model")
    byte_tokenizer().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "problems.jsonl"
    path.write_text("".join(json.dumps({"prompt": question, "solution": "7"}) + "\n" for question in RESPONSES))
    return path


def test_an_evaluation_opens_cuts_and_judges_by_them(model, data, tmp_path):
    tokenizer = byte_tokenizer()

    def reply(request):
        prompt = request.body["prompt"]
        text = tokenizer.decode(prompt)
        return completion(next(RESPONSES[each] for each in RESPONSES if each in text), prompt_tokens=len(prompt))

    given = {"model": model, "data": data, "verifier": "exact", "segmentation": "paragraphs", "opening": "<think>\\n"}
    given |= {"engine": "server", "samples_per_problem": 1, "max_new_tokens": 200, "resamples": 10}

    def rows(folder, **settings):
        with FakeServer(reply) as server:
            own = {
                **given,
                "base_url": server.base_url,
                "served_model": "m",
                "output_dir": tmp_path / folder,
                **settings,
            }
            evaluate_command.run([part for name, value in own.items() for part in (f"--{name}", str(value))])
        found = {row.prompt[0]["content"]: row for row in read_rollouts(tmp_path / folder / "rollouts.jsonl")}
        return found, [request.body["prompt"] for request in server.requests[1:]]

    found, asked = rows("marked", markers="magistral")
    behind = [render_prompt(tokenizer, [{"role": "user", "content": each}], "[THINK]\n") for each in RESPONSES]
    assert sorted(asked) == sorted(behind)
    assert {question: row.correct for question, row in found.items()} == {CLOSED: True, OPEN: False}
    texts = [found[CLOSED].response[slice(*step.chars)].strip() for step in found[CLOSED].steps]
    assert texts == ["Six and one.", "So seven."]
    assert "[" not in found[CLOSED].response
    assert EvaluationResult.load(tmp_path / "marked" / "evaluation.json").settings["markers"] == "magistral"
    with pytest.raises(OutputError, match=r"markers \(there 'magistral', asked None\)"):
        rows("marked")
    found, _ = rows("plain")  # by other marks neither response leaves its thinking
    assert [row.correct for row in found.values()] == [False, False]


def test_training_is_given_them(model, data, tmp_path):
    args = AttnPOConfig(str(tmp_path / "out"), heads="0.1", use_cpu=True, bf16=False, report_to="none")
    arguments, train = DataArguments(data=str(data)), TrainArguments(model=str(model), markers="seed")
    run = plan_run(train, arguments, ProbeArguments(), AdapterSettings(), args, Layout(), True, Findings())
    assert markers_of(run.parts.tokenizer) == FAMILIES["seed"]
