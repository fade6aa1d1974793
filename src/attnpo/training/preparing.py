"""What was measured of the untrained policy before the first step, kept so that an interruption loses none of it."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from accelerate.utils import gather_object
from tqdm.auto import tqdm

from attnpo.collecting import model_fingerprint
from attnpo.credit import Requests
from attnpo.errors import ConfigError, OutputError
from attnpo.output import write_atomically
from attnpo.training.budget import TokenCount
from attnpo.training.callbacks import join_states
from attnpo.training.rounds import problem_key

AT_ONCE = 64
"""Problems that are measured, and kept, together."""

logger = logging.getLogger(__name__)


class PreparedFile:
    """`prepared.json`: a method's state as far as it was prepared, and what it depends on.

    Args:
        path: the file, one a process.
        settings: everything the state depends on, as JSON values.
        problems: digest of what each problem asks, by its name. Others may be in the file, of a run of another length.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], problems: Mapping[str, str]) -> None:
        self.path = path
        self.settings = json.loads(json.dumps(settings))
        self.problems = dict(problems)

    def load(self) -> tuple[dict[str, Any], TokenCount] | None:
        """Return what was kept and the tokens it took; None where there is nothing, or it is of another run.

        Raises:
            OutputError: the file is malformed.
        """
        if not self.path.is_file():
            return None
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            settings, state, tokens = found["settings"], dict(found["state"]), TokenCount(**found["tokens"])
            problems = dict(found.get("problems", {}))
        except (ValueError, KeyError, TypeError) as error:
            raise OutputError(f"{self.path}: malformed ({error}); remove it, then it is measured again") from error
        if settings != self.settings:
            logger.warning("%s: of another model or other settings; measured again", self.path)
            return None
        if any(problems.get(key, digest) != digest for key, digest in self.problems.items()):
            logger.warning("%s: of other prompts or solutions; measured again", self.path)
            return None
        return state, tokens

    def save(self, state: Mapping[str, Any], tokens: TokenCount) -> None:
        """Keep a state and the tokens that it took."""
        content = {"settings": self.settings, "problems": self.problems, "state": state, "tokens": vars(tokens)}
        write_atomically(self.path, json.dumps(content, ensure_ascii=False) + "\n")


def prepare_method(trainer: Any) -> None:
    """Let a method measure the untrained policy on the problems that training can reach, `AT_ONCE` at a time.

    Args:
        trainer: the `AttnPOTrainer`, before its first step.

    Raises:
        TrainingInterrupted: a signal was received; what was measured is kept.
    """
    method, drawn = trainer.credit, trainer.drawn_tokens
    trainer.model.train()
    accelerator = trainer.accelerator
    rows = dict(list(reachable_rows(trainer).items())[accelerator.process_index :: accelerator.num_processes])
    file = _prepared_file(trainer, rows)
    kept, count = file.load() or (None, TokenCount())
    drawn.take(count)
    lacking = method.begin_preparing([problem_key(row) for row in rows.values()], kept)
    numbers = [number for number, row in rows.items() if problem_key(row) in lacking]
    # Sharded parameters are put together and signals agreed on by all processes, however little each has to do.
    rounds = max(gather_object([-(-len(numbers) // AT_ONCE)]))
    silent = trainer.args.disable_tqdm or not trainer.accelerator.is_local_main_process
    with tqdm(total=len(rows), initial=len(rows) - len(numbers), desc="before training", disable=silent) as bar:
        for place in range(rounds):
            part = numbers[place * AT_ONCE : (place + 1) * AT_ONCE]
            before = replace(drawn)
            requests = _requests(trainer, {number: rows[number] for number in part})
            with trainer.policy_sampler.policy(requests.prompt_ids, part, extra=True) as policy:
                if part:
                    method.prepare(requests, policy)
            count.take(drawn.since(before))
            file.save(method.state_dict(), count)
            bar.update(len(part))
            done = len(rows) - max(0, len(numbers) - (place + 1) * AT_ONCE)
            measured = f"{done} of {len(rows)} problems are measured in {file.path}"
            trainer.long_run.interrupts.stop_before_training(measured)
    states = gather_object([method.state_dict()])
    if len(states) > 1:
        method.load_state_dict(join_states(states))


def check_prepared(trainer: Any) -> None:
    """Check that a run that goes on from a checkpoint knows of all problems that it reaches what was measured.

    Args:
        trainer: the `AttnPOTrainer`, its method's state read from the checkpoint.

    Raises:
        ConfigError: it does not know some, and the policy that it would measure is trained.
    """
    method = trainer.credit
    if not method.overrides("begin_preparing"):  # then it does not say what it knows
        return
    keys = list(dict.fromkeys(problem_key(row) for row in reachable_rows(trainer).values()))
    unknown = method.begin_preparing(keys, method.state_dict())
    lacking = [key for key in keys if key in unknown]
    if lacking:
        given = "reference_rollouts" in method.own_settings()
        raise ConfigError(
            f"resume_from_checkpoint: of {len(keys)} problems that the run reaches, {len(lacking)} were not measured "
            f"before its first step (the first: {lacking[0][:60]!r}), and the policy is trained by now; go on with the "
            "data, max_steps and num_train_epochs that it was started with"
            + (", or give the untrained model's responses to them with reference_rollouts" if given else "")
        )


def reachable_rows(trainer: Any) -> dict[int, dict[str, Any]]:
    """Return by its number each distinct row that training's steps can ask, in the order in which they ask first.

    The number is the place in that order, so draws depend neither on the processes nor on the run's length.
    """
    args, steps, size = trainer.args, trainer.state.max_steps, len(trainer.train_dataset)
    a_batch = args.generation_batch_size // trainer.num_generations
    span = args.steps_per_generation * trainer.num_iterations
    left = a_batch * batches_asked(steps, size // a_batch, span, args.gradient_accumulation_steps)
    indices: dict[int, None] = {}
    for order in trainer.prompt_orders():
        indices.update(dict.fromkeys(order[:left]))
        left -= len(order)
        if left <= 0 or len(indices) == size:
            break
    return dict(enumerate(trainer.train_dataset[index] for index in indices))


def batches_asked(steps: int, an_epoch: int, span: int, accumulation: int) -> int:
    """Return how many batches of prompts so many optimizer steps ask.

    Args:
        steps: optimizer steps.
        an_epoch: batches of prompts in an epoch.
        span: micro-batches that the responses to one of them serve.
        accumulation: micro-batches of an optimizer step; the last of an epoch takes what is left.
    """
    epochs, rest = divmod(steps, max(1, -(-an_epoch * span // accumulation)))
    return epochs * an_epoch + -(-rest * accumulation // span)


def _requests(trainer: Any, rows: Mapping[int, dict[str, Any]]) -> Requests:
    prompts = [row["prompt"] for row in rows.values()]
    return Requests(
        prompt_ids=[tuple(ids) for ids in trainer.prompt_ids(prompts)] if prompts else [],
        solutions=[str(row[trainer.args.solution_column]) for row in rows.values()],
        group_ids=list(rows),
        samples=[0] * len(rows),
        max_new_tokens=trainer.max_completion_length,
        keys=[problem_key(row) for row in rows.values()],
    )


def _prepared_file(trainer: Any, rows: Mapping[int, dict[str, Any]]) -> PreparedFile:
    with trainer.policy_sampler.draws([], []) as draws:
        fingerprint, params = model_fingerprint(draws.sampler.model), draws.params.as_settings()
    settings = {
        "model": fingerprint,
        "method": trainer.credit.name,
        "method_settings": asdict(trainer.credit.settings),
        "sampling": params,
        "verifier": trainer.args.verifier,
        "opening": trainer.args.opening,
        "chat_template_kwargs": trainer.args.chat_template_kwargs,
        "solution_column": trainer.args.solution_column,
        "max_completion_length": trainer.max_completion_length,
    }
    asked = _requests(trainer, rows)
    each = zip(asked.keys, asked.prompt_ids, asked.solutions, strict=True)
    problems = {key: _digest(prompt_ids, solution) for key, prompt_ids, solution in each}
    return PreparedFile(trainer.own_file("prepared.json"), settings, problems)


def _digest(prompt_ids: Sequence[int], solution: str) -> str:
    return hashlib.sha256(json.dumps([list(prompt_ids), solution]).encode()).hexdigest()[:16]
