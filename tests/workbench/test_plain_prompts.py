"""Prompts of plain text: a chat model is asked them as the user's message, and reads them raw when told to."""

from __future__ import annotations

import json
import logging
import shutil

import pytest
from transformers import AutoTokenizer

from attnpo.cli import evaluate as evaluate_command
from attnpo.cli import inspect as inspect_command
from attnpo.errors import ConfigError, HeadSetError, OutputError
from attnpo.rollouts import read_rollouts
from attnpo.sampling import SampleRequest, SamplingParams, TransformersSampler
from attnpo.sampling.prompts import give_template_settings, render_prompt
from attnpo.sampling.server_requests import DIALECTS, request_body
from attnpo.tinyworld import checkpoint_path
from attnpo.training import AdapterSettings, AttnPOConfig
from attnpo.training.checks import Findings
from attnpo.training.estimate import Layout
from attnpo.workbench.arguments import DataArguments, ProbeArguments, TrainArguments
from attnpo.workbench.planning import plan_run

SMALL = {"model": "tinyworld", "device": "cpu", "max_new_tokens": 6, "verifier": "exact", "prompt_column": "question"}
MESSAGES = ({"role": "user", "content": "What is 1 + 1?"},)


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "problems.jsonl"
    path.write_text(json.dumps({"question": "What is 1 + 1?", "solution": "2"}) + "\n")
    return path


def command(run, **settings) -> None:
    run([part for name, value in {**SMALL, **settings}.items() for part in (f"--{name}", str(value))])


@pytest.mark.parametrize(
    ("settings", "prompt", "said"),
    [
        ({}, MESSAGES, "prompts of plain text are asked as the user's message (raw_prompts true: as they stand)"),
        ({"raw_prompts": "true"}, "What is 1 + 1?", "prompts are read as plain text, past the chat template"),
        ({"template": None}, "What is 1 + 1?", "prompts are read as plain text; the tokenizer has no chat template"),
    ],
)
def test_what_a_model_is_asked(data, tmp_path, caplog, settings, prompt, said):
    caplog.set_level(logging.INFO, "attnpo")
    settings = dict(settings)
    if "template" in settings:
        del settings["template"]
        shutil.copytree(checkpoint_path(), tmp_path / "base")
        (tmp_path / "base" / "chat_template.jinja").unlink()
        settings["model"] = tmp_path / "base"
    command(
        evaluate_command.run, data=data, samples_per_problem=1, resamples=10, output_dir=tmp_path / "out", **settings
    )
    (row,) = read_rollouts(tmp_path / "out" / "rollouts.jsonl")
    asked = row.prompt if isinstance(row.prompt, str) else tuple(row.prompt)
    assert asked == prompt
    assert caplog.messages[0].startswith(said)


@pytest.mark.parametrize(("raw", "prompt"), [(False, list(MESSAGES)), (True, "What is 1 + 1?")])
def test_training_asks_the_same(data, tmp_path, raw, prompt):
    arguments = DataArguments(data=str(data), prompt_column="question", raw_prompts=raw)
    args = AttnPOConfig(str(tmp_path / "out"), heads="0.1", use_cpu=True, bf16=False, report_to="none")
    findings, train = Findings(), TrainArguments(model="tinyworld")
    run = plan_run(train, arguments, ProbeArguments(), AdapterSettings(), args, Layout(), True, findings)
    assert run.problems[0].prompt == prompt
    assert any(("past the chat template" if raw else "as the user's message") in note for note in findings.notes)


def test_inspect_samples_one_response_and_its_bar_moves_by_tokens(data, monkeypatch, capsys):
    drawn, moved = [], []
    whole = TransformersSampler.sample

    def sample(self, requests, params):
        drawn.extend(requests)
        advance = self.on_tokens
        self.on_tokens = lambda tokens: (moved.append(tokens), advance(tokens))
        return whole(self, requests, params)

    monkeypatch.setattr(TransformersSampler, "sample", sample)
    command(inspect_command.run, data=data, heads="0.1")
    assert (len(drawn), set(moved)) == (1, {1})
    assert 1 <= len(moved) <= SMALL["max_new_tokens"]
    shown = " ".join(capsys.readouterr().out.split())
    assert "sampling, in tokens" in shown
    assert "one response has no group" in shown
    plain = drawn[0].prompt_ids
    drawn.clear()
    command(inspect_command.run, data=data, heads="0.1", sample=2, opening="So,\\n")
    assert len(drawn) == 3
    behind = AutoTokenizer.from_pretrained(checkpoint_path())("So,\n")["input_ids"]
    assert {request.prompt_ids for request in drawn} == {(*plain, *behind)}
    drawn.clear()
    for refused, error in (({}, ConfigError), ({"heads": "9.0"}, HeadSetError)):
        with pytest.raises(error, match="head"):
            command(inspect_command.run, data=data, **refused)
    assert drawn == []


THINKING = "{% if enable_thinking is defined and enable_thinking is false %}no thinking {% endif %}"


@pytest.fixture
def switched(tmp_path):
    """A model whose chat template knows Qwen3's switch."""
    shutil.copytree(checkpoint_path(), tmp_path / "switched")
    template = tmp_path / "switched" / "chat_template.jinja"
    template.write_text(THINKING + template.read_text())
    return tmp_path / "switched"


def test_what_the_chat_template_is_given_reaches_it_and_is_bound_to_the_results(data, tmp_path, switched, monkeypatch):
    asked = []
    whole = TransformersSampler.sample

    def sample(self, requests, params):
        asked.append(self.tokenizer.decode(requests[0].prompt_ids))
        return whole(self, requests, params)

    monkeypatch.setattr(TransformersSampler, "sample", sample)
    settings = {"data": data, "model": switched, "samples_per_problem": 1, "resamples": 10}
    off = {"chat_template_kwargs": '{"enable_thinking": false}'}
    command(evaluate_command.run, **settings, output_dir=tmp_path / "on")
    command(evaluate_command.run, **settings, output_dir=tmp_path / "off", **off)
    command(inspect_command.run, data=data, model=switched, heads="0.1", **off)
    assert asked[1] == asked[2] != asked[0]
    with pytest.raises(OutputError, match=r"chat_template_kwargs \(there None, asked \{'enable_thinking': False\}\)"):
        command(evaluate_command.run, **settings, output_dir=tmp_path / "on", **off)
    with pytest.raises(ConfigError, match="chat_template_kwargs: 'off' is not JSON"):
        command(evaluate_command.run, **settings, output_dir=tmp_path / "x", chat_template_kwargs="off")


def test_training_gives_its_chat_template_the_same(data, tmp_path, switched):
    off = '{"enable_thinking": false}'
    lengths = []
    for given in (None, off):
        args = AttnPOConfig(
            str(tmp_path / "out"),
            heads="0.1",
            use_cpu=True,
            bf16=False,
            report_to="none",
            chat_template_kwargs=given,
        )
        arguments, train = DataArguments(data=str(data), prompt_column="question"), TrainArguments(model=str(switched))
        run = plan_run(train, arguments, ProbeArguments(), AdapterSettings(), args, Layout(), True, Findings())
        lengths.append(len(render_prompt(run.parts.tokenizer, run.problems[0].prompt)))
    assert lengths[1] > lengths[0]


def test_a_chat_server_is_given_it_too():
    tokenizer = AutoTokenizer.from_pretrained(checkpoint_path())
    give_template_settings(tokenizer, {"enable_thinking": False})
    request, params = SampleRequest(MESSAGES, (1, 2), 0, 0), SamplingParams(4)
    extended, plain = DIALECTS["chat"][0], DIALECTS["chat"][2]
    body = request_body(extended, "chat", tokenizer, request, params)
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    with pytest.raises(ConfigError, match="chat_template_kwargs: this server"):
        request_body(plain, "chat", tokenizer, request, params)
