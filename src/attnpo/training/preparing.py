"""What was measured of the untrained policy before the first step, kept so that an interruption loses none of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from accelerate.utils import gather_object
from tqdm.auto import tqdm

from attnpo.collecting import model_fingerprint
from attnpo.credit import Requests
from attnpo.errors import OutputError
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
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.settings = json.loads(json.dumps(settings))

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
        except (ValueError, KeyError, TypeError) as error:
            raise OutputError(f"{self.path}: malformed ({error}); remove it, then it is measured again") from error
        if settings != self.settings:
            logger.warning("%s: of another model or other settings; measured again", self.path)
            return None
        return state, tokens

    def save(self, state: Mapping[str, Any], tokens: TokenCount) -> None:
        """Keep a state and the tokens that it took."""
        content = {"settings": self.settings, "state": state, "tokens": vars(tokens)}
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
    rows = _reachable_rows(trainer)
    file = _prepared_file(trainer)
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


def _reachable_rows(trainer: Any) -> dict[int, dict[str, Any]]:
    """By its number, each distinct row of this process that training's steps can ask, in training's order.

    By number, so that draws do not depend on the processes.
    """
    args, accelerator = trainer.args, trainer.accelerator
    generations = trainer.state.max_steps * args.gradient_accumulation_steps
    most = -(-generations // args.steps_per_generation) * (args.generation_batch_size // trainer.num_generations)
    rows = list(enumerate(trainer.train_dataset[index] for index in trainer.prompt_order()[:most]))
    return dict(rows[accelerator.process_index :: accelerator.num_processes])


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


def _prepared_file(trainer: Any) -> PreparedFile:
    with trainer.policy_sampler.draws([], []) as draws:
        fingerprint, params = model_fingerprint(draws.sampler.model), draws.params.as_settings()
    settings = {
        "model": fingerprint,
        "method": trainer.credit.name,
        "method_settings": asdict(trainer.credit.settings),
        "sampling": params,
        "verifier": trainer.args.verifier,
        "max_completion_length": trainer.max_completion_length,
    }
    return PreparedFile(trainer.own_file("prepared.json"), settings)
