"""Training on the CPU with TRL's vLLM, in this process and on a server, against the project's own sampler.

What one needs a GPU for is stood in for by `vllm_on_cpu`.
"""

from __future__ import annotations

import shutil
import threading
import time

import pytest
import torch
from opt_in import only_when_asked_for

only_when_asked_for("vllm")

from engine_servers import EngineServer, beside
from small_training import config
from transformers import AutoModelForCausalLM
from trl.generation.vllm_client import VLLMClient
from vllm_on_cpu import ENVIRONMENT, TAKES_WEIGHTS, colocate, serve, weights_over_files

from attnpo.rollouts import read_rollouts
from attnpo.tinyworld import checkpoint_path, label_steps, train_dataset
from attnpo.training import AttnPOTrainer

SMALL = {
    "group_sampler": False,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "max_completion_length": 160,
    "save_rollouts": True,
}
DIFFERENCE = "sampling/sampling_logp_difference"
"""TRL's metric of what vLLM and the model make of the same tokens."""
SAME = 1e-4
"""Differences below this are rounding; 6.4e-6 at most was seen."""


@pytest.fixture
def patch():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture
def model(tmp_path):
    return shutil.copytree(checkpoint_path(), tmp_path / "model")


def build(folder, model, tokenizer, **settings) -> AttnPOTrainer:
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    problems = train_dataset(32, seed=5, difficulties=(1, 2))
    args = config(folder, **{**SMALL, **settings})
    return AttnPOTrainer(loaded, args, problems, labeler=label_steps, processing_class=tokenizer)


class Draws:
    """What a trainer sampled, call by call: noted down, or given again."""

    def __init__(self, trainer: AttnPOTrainer, given: list | None = None) -> None:
        self.calls: list = []
        plain = trainer._generate_single_turn

        def draw(prompt_ids, *rest, **named):
            if given is None:
                found = plain(prompt_ids, *rest, **named)
            else:
                asked, found = given[len(self.calls)]
                assert asked == prompt_ids
            self.calls.append((prompt_ids, (found[0], None)))
            return found

        trainer._generate_single_turn = draw  # type: ignore[method-assign]


def credits(trainer: AttnPOTrainer, step: int = 0) -> list[tuple]:
    """What one step's responses were given: verdict, advantage, and the score and factor of each reasoning step."""
    found = [r for r in read_rollouts(trainer.rollouts_path) if r.extra["train_step"] == step]
    return [
        (r.problem_id, r.response_ids, r.correct, r.advantage, [(s.tokens, s.label) for s in r.steps],
         [-1.0 if value is None else value for s in r.steps for value in (s.score, s.gamma)])
        for r in found
    ]  # fmt: skip


def assert_same_credit(first: AttnPOTrainer, second: AttnPOTrainer) -> int:
    """Assert that both credited the same, up to rounding; return the number of reasoning steps."""
    ones, others = credits(first), credits(second)
    assert len(ones) == len(others) == 8
    for one, other in zip(ones, others, strict=True):
        assert one[:3] == other[:3]
        assert one[4] == other[4]
        assert one[3] == pytest.approx(other[3], abs=1e-6)
        assert one[5] == pytest.approx(other[5], rel=1e-4, abs=1e-5)
    return sum(len(one[4]) for one in ones)


def differences(trainer: AttnPOTrainer) -> list[float]:
    return [row[f"{DIFFERENCE}/max"] for row in trainer.state.log_history if f"{DIFFERENCE}/max" in row]


def test_colocated_it_credits_and_learns_as_with_our_sampler(model, tokenizer, tmp_path, patch, figure):
    colocate(patch)
    vllm = {"use_vllm": True, "vllm_mode": "colocate", "vllm_gpu_memory_utilization": 0.1, "vllm_max_model_length": 512}
    begin = time.monotonic()
    trained = build(tmp_path / "vllm", model, tokenizer, max_steps=2, **vllm)
    figure(f"vLLM, colocated: trainer ready in {time.monotonic() - begin:.0f} s")
    draws = Draws(trained)
    trained.train()
    ours = build(tmp_path / "ours", model, tokenizer, max_steps=1)
    Draws(ours, [(asked, found) for asked, found in draws.calls])
    ours.train()
    steps = assert_same_credit(trained, ours)
    assert steps > 20
    found = differences(trained)
    assert len(found) == 2
    assert max(found) < SAME  # the second step samples with what the first one learned
    figure(
        f"vLLM, colocated: credit of {steps} steps of 8 responses as without vLLM; largest difference of a token's "
        f"log-probability {found[0]:.1e}, after an update {found[1]:.1e}"
    )


def test_with_a_server_that_is_killed_it_credits_and_learns_as_with_our_sampler(
    model, tokenizer, tmp_path, patch, figure
):
    events = weights_over_files(patch, tmp_path)
    with EngineServer(lambda port: serve(model, port, TAKES_WEIGHTS), tmp_path / "log", ENVIRONMENT) as server:
        vllm = {
            "use_vllm": True,
            "vllm_mode": "server",
            "vllm_server_base_url": server.base_url.removesuffix("/v1"),
            "vllm_server_timeout": 900.0,
        }
        trained = build(tmp_path / "vllm", model, tokenizer, max_steps=3, **vllm)
        draws = Draws(trained)
        plain, asked, killed = VLLMClient.generate, [], threading.Event()

        def generate(self, *args, **named):
            asked.append(args)
            if len(asked) == 3:  # killed with the weights of the third step, before it samples
                server.kill()
                killed.set()
            return plain(self, *args, **named)

        def return_when_killed(over: threading.Event) -> None:
            while not killed.wait(0.1):
                assert not over.is_set(), "the server was not killed"
            server.start()

        patch.setattr(VLLMClient, "generate", generate)
        with beside(return_when_killed):
            trained.train()
        assert len(server.starts) == 2
    ours = build(tmp_path / "ours", model, tokenizer, max_steps=1)
    Draws(ours, draws.calls)
    ours.train()
    steps = assert_same_credit(trained, ours)
    found = differences(trained)
    assert len(found) == 3
    assert max(found) < SAME  # also of the server that was started anew
    assert events == ["open", "send", "send", "send", "close", "open", "send"]
    figure(
        f"vLLM, a server that trains along: credit of {steps} steps of 8 responses as without vLLM; largest "
        f"differences of a token's log-probability {', '.join(f'{value:.1e}' for value in found)}, the last after "
        f"kill -9 and a new start ({', '.join(events)})"
    )
