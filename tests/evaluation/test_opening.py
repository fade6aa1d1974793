"""A text behind the generation prompt: rendered in one place, read by the model, kept beside the results."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from measured import evaluation, rollout
from transformers import AutoModelForCausalLM, AutoTokenizer

from attnpo.cli import evaluate as evaluate_command
from attnpo.errors import ConfigError, DataError, OutputError
from attnpo.evaluation import EvaluationResult, EvaluationSettings, evaluate
from attnpo.evaluation.conditions import check_comparable
from attnpo.rollouts import Rollout, read_rollouts
from attnpo.sampling import render_prompt
from attnpo.segmentation import Segmenter, build_strategy
from attnpo.signals import score_steps
from attnpo.think import ThinkOpening
from attnpo.tinyworld import checkpoint_path

SETTINGS = EvaluationSettings(samples_per_problem=2, max_new_tokens=60, resamples=50)
CHAT = [{"role": "user", "content": "How many coins?"}]


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(checkpoint_path())


class Letters:
    """A token is a character."""

    pad_token_id, eos_token_id = 0, 1

    def __call__(self, text, add_special_tokens=True):
        return {"input_ids": [ord(c) for c in text]}

    def decode(self, ids, **options):
        return "".join(map(chr, ids))


def run(toy, output_dir, sampler=None, opening="0"):
    sampler = sampler or toy.Sampler()
    settings = replace(SETTINGS, opening=opening)
    return evaluate(
        "a", Letters(), toy.problems(6), sampler, toy.segmenter, toy.verifier, None, settings, output_dir
    )  # fmt: skip


def test_it_stands_behind_the_generation_prompt(tokenizer):
    plain = render_prompt(tokenizer, CHAT)
    opened = render_prompt(tokenizer, CHAT, "...\n")
    assert opened[: len(plain)] == plain
    assert tokenizer.decode(opened).endswith("<think>\n...\n")
    # Special tokens of the tokenizer's own are not added, tags become tokens.
    assert render_prompt(tokenizer, CHAT, "</think>")[len(plain) :] == [tokenizer.convert_tokens_to_ids("</think>")]
    assert render_prompt(tokenizer, "1 + 1 =", " Thus") == [
        *render_prompt(tokenizer, "1 + 1 ="),
        *tokenizer(" Thus")["input_ids"],
    ]


def test_whether_a_prompt_opens_the_think_part(tokenizer):
    opens_think = ThinkOpening(tokenizer)
    ids = render_prompt(tokenizer, CHAT)
    assert opens_think(ids)
    assert opens_think(ids[:-1])
    assert not opens_think(ids[:-2])
    assert opens_think(render_prompt(tokenizer, CHAT, "...\n"))
    assert not opens_think(render_prompt(tokenizer, CHAT, "</think>\n"))


def test_the_model_reads_it_and_rows_carry_it(toy, tmp_path):
    sampler = toy.Sampler()
    result = run(toy, tmp_path, sampler)
    assert sorted(sampler.sampled) == sorted((f"{p.prompt}0", j) for p in toy.problems(6) for j in range(2))
    rollouts = list(read_rollouts(tmp_path / "rollouts.jsonl"))
    assert {r.opening for r in rollouts} == {"0"}
    assert [r.prompt for r in rollouts[:2]] == [p.prompt for p in toy.problems(1)] * 2
    # Problem 5 is read as 50, so only 0 is ever right.
    assert {r.problem_id for r in rollouts if r.correct} == {"p0"}
    assert result.settings["opening"] == "0"
    assert EvaluationResult.load(tmp_path / "evaluation.json").settings["opening"] == "0"


@pytest.mark.parametrize(("first", "second"), [("0", ""), ("", "0"), ("0", "00")])
def test_openings_are_not_mixed_in_one_folder(toy, tmp_path, first, second):
    run(toy, tmp_path, opening=first)
    with pytest.raises(OutputError, match="holds results of other settings: opening"):
        run(toy, tmp_path, opening=second)
    again = toy.Sampler()
    run(toy, tmp_path, again, opening=first)
    assert again.sampled == []


def test_without_one_nothing_is_recorded_so_older_results_stay_readable(toy, tmp_path):
    assert "opening" not in run(toy, tmp_path, opening="").settings
    lines = (tmp_path / "rollouts.jsonl").read_text().splitlines()
    assert all("opening" not in json.loads(line) for line in lines)
    assert Rollout.from_json(lines[0]).opening == ""


def test_a_row_with_an_opening_goes_through_json():
    row = Rollout("p", CHAT, "2", 0, (1,), "2", True, opening="...\n")
    assert Rollout.from_json(row.to_json()) == row


def test_a_line_break_can_be_typed_in_a_shell():
    assert EvaluationSettings(opening=r"...\n").opening == "...\n"
    assert EvaluationSettings(opening="...\n").opening == "...\n"


def test_runs_with_other_openings_are_compared_only_where_that_is_said():
    rows = [rollout(p, right, 20, sample=j) for p in ("a", "b") for j, right in enumerate((True, False))]
    base, other = evaluation("base", rows), evaluation("auto", rows, settings={"opening": "...\n"})
    runs = {"base": base, "auto": other}
    with pytest.raises(DataError) as error:
        check_comparable(runs)
    assert r'opening (text behind the generation prompt) is not recorded in base, "...\n" in auto' in str(error.value)
    (said,) = check_comparable(runs, allow=["opening"])
    assert said.startswith("opening ")


def test_a_chat_server_cannot_be_given_one(tmp_path):
    flags = ["--model", "tinyworld", "--data", "tinyworld", "--engine", "server", "--base_url", "http://127.0.0.1:9/v1"]
    with pytest.raises(ConfigError, match=r"^--opening: a chat server renders prompts itself"):
        evaluate_command.run([*flags, "--api", "chat", "--opening", "...", "--output_dir", str(tmp_path)])


@pytest.mark.slow
def test_the_command_measures_under_it_and_scores_what_was_read(tmp_path, tokenizer, capsys):
    flags = {
        "model": "tinyworld", "data": "tinyworld", "device": "cpu", "num_problems": 2, "samples_per_problem": 1,
        "max_new_tokens": 40, "verifier": "exact", "segmentation": "paragraphs", "resamples": 50,
        "heads": "2.0", "annotate_problems": 1, "annotate_samples": 1, "output_dir": tmp_path,
    }  # fmt: skip
    argv = [part for name, value in flags.items() for part in (f"--{name}", str(value))]
    # Right behind the end of the think part every response is an answer.
    evaluate_command.run([*argv, "--opening", r"\n</think>\n\n"])
    rows = [*read_rollouts(tmp_path / "rollouts.jsonl"), *read_rollouts(tmp_path / "annotated.jsonl")]
    assert len(rows) == 3
    assert {row.opening for row in rows} == {"\n</think>\n\n"}
    assert all(row.response.startswith("So ") for row in rows)
    # The console wraps a long path.
    assert "evaluation.json" in capsys.readouterr().out.replace("\n", "")


def test_step_scores_are_read_behind_it(tokenizer):
    model = AutoModelForCausalLM.from_pretrained(checkpoint_path(), dtype=torch.float32).eval()
    text = "We know that Kim has 3+2=5.\n\nWait, let me verify. 5-2=3, yes.\n</think>\n\nSo Kim has 5."
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    cut = Segmenter(tokenizer, build_strategy("paragraphs"))(ids)
    row = Rollout("p", CHAT, "5", 0, tuple(ids), text, True).with_segmentation(cut)
    opened = replace(row, opening="Therefore, we know that.\n")
    spelled_out = replace(row, prompt=tokenizer.decode(render_prompt(tokenizer, CHAT)) + opened.opening)
    plain, behind, wanted = score_steps(model, tokenizer, [row, opened, spelled_out], [(2, 0), (1, 1)], batch_size=1)
    assert behind.shape == (2, 2)
    assert (behind == wanted).all()
    assert not (behind == plain).any()
