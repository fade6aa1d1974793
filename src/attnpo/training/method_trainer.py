"""The trainer's side of what a method asks, draws, prepares and probes; it knows no credit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from accelerate.utils import gather_object
from tqdm.auto import tqdm

from attnpo.collecting import model_fingerprint
from attnpo.credit import Ask, Method, Policy, Sampled, Slots
from attnpo.rollouts import Rollout
from attnpo.sampling import SampledResponse
from attnpo.segmentation import Segmenter
from attnpo.training.batches import STEP_VALUE
from attnpo.training.budget import TokenCount
from attnpo.training.callbacks import join_states
from attnpo.training.drawing import PolicyDraws, build_policy
from attnpo.training.layout import ResponseLayout, lay_out_values
from attnpo.training.packing import TOKEN_VALUE
from attnpo.training.preparing import AT_ONCE, PreparedFile
from attnpo.training.rounds import GenerationRound
from attnpo.training.sharing import SharingTrainer
from attnpo.verification import Verifier


class MethodTrainer(SharingTrainer):
    """Lends the policy to the method of `credit`, and carries what the method noted to where credit is given.

    Attributes:
        credit: the method.
        verifier: decides correctness.
        segmenter: cuts responses into steps.
    """

    credit: Method
    verifier: Verifier
    segmenter: Segmenter
    _rollouts: list[Rollout] | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._method_facts: list[str] = []
        self._asks: list[Ask] = []
        super().__init__(*args, **kwargs)

    def asked_rows(self, rows: list[dict[str, Any]], row_ids: Sequence[int]) -> list[dict[str, Any]]:
        """Ask what the method asks, and remember it."""
        size, step = self.num_generations, self.state.global_step
        self._asks = [
            self.credit.ask(row["prompt"], row_id // size, row_id % size, step)
            for row, row_id in zip(rows, row_ids, strict=True)
        ]
        return [{**row, "prompt": ask.prompt} for row, ask in zip(rows, self._asks, strict=True)]

    def response_limit(self) -> int | None:
        """Return the method's limit on a response at this optimizer step."""
        return self.credit.response_limit(self.state.global_step)

    def openings(self, prompts: Sequence[Any]) -> list[str]:
        """Return what the run and the method put behind the generation prompt."""
        step, asks = self.state.global_step, self._asks
        if self._round is None:
            asks = [self.credit.ask(prompt, group_id=0, sample=0, progress_step=step) for prompt in prompts]
        return [self.args.opening + ask.opening for ask in asks]

    def draw_responses(self, round_: GenerationRound, draws: PolicyDraws) -> list[SampledResponse]:
        """Draw what the method wants drawn."""
        size = self.num_generations
        slots = Slots(
            prompt_ids=[tuple(ids) for ids in round_.prompt_ids],
            solutions=[str(row[self.args.solution_column]) for row in round_.rows],
            group_ids=list(draws.group_ids),
            samples=[row_id % size for row_id in round_.row_ids],
            max_new_tokens=draws.params.max_new_tokens,
            progress_step=self.state.global_step,
            keys=[problem_key(row) for row in round_.rows],
        )
        if not self.credit.overrides("sample"):  # other methods go on from what they draw first
            draws.on_ended = lambda item, response: self.on_ended(round_, item.row, response.ids)
        drawn = self.credit.sample(slots, self._policy(draws))
        round_.facts.update({name: list(map(float, values)) for name, values in drawn.facts.items()})
        self._method_facts = list(drawn.facts)
        round_.sampling_log_probs = drawn.sampling_log_probs
        return drawn.responses

    def prepare_method(self) -> None:
        """Let the method measure the untrained policy on the rows that training can reach, some at a time.

        Raises:
            TrainingInterrupted: a signal was received; what was measured is kept.
        """
        rows, rank, world = self._reachable_rows(), self.accelerator.process_index, self.accelerator.num_processes
        own = dict(list(enumerate(rows))[rank::world])  # by number, so that draws do not depend on the processes
        self.model.train()
        file = self._prepared_file()
        kept, count = file.load() or (None, TokenCount())
        self.drawn_tokens.take(count)
        lacking = self.credit.begin_preparing([problem_key(row) for row in own.values()], kept)
        numbers = [number for number, row in own.items() if problem_key(row) in lacking]
        # Sharded parameters are put together and signals agreed on by all processes, however little each has to do.
        rounds = max(gather_object([-(-len(numbers) // AT_ONCE)]))
        silent = self.args.disable_tqdm or not self.accelerator.is_local_main_process
        with tqdm(total=len(own), initial=len(own) - len(numbers), desc="before training", disable=silent) as bar:
            for place in range(rounds):
                part = numbers[place * AT_ONCE : (place + 1) * AT_ONCE]
                before = replace(self.drawn_tokens)
                self._prepare_part({number: own[number] for number in part})
                count.take(self.drawn_tokens.since(before))
                file.save(self.credit.state_dict(), count)
                bar.update(len(part))
                done = len(own) - max(0, len(numbers) - (place + 1) * AT_ONCE)
                self._signals.stop_before_training(f"{done} of {len(own)} problems are measured in {file.path}")
        if world > 1:
            self.credit.load_state_dict(join_states(gather_object([self.credit.state_dict()])))

    def _prepare_part(self, rows: Mapping[int, dict[str, Any]]) -> None:
        prompts = [row["prompt"] for row in rows.values()]
        prompt_ids = [tuple(ids) for ids in self._tokenize_prompts(prompts)[0]] if prompts else []
        slots = Slots(
            prompt_ids=prompt_ids,
            solutions=[str(row[self.args.solution_column]) for row in rows.values()],
            group_ids=list(rows),
            samples=[0] * len(rows),
            max_new_tokens=self.max_completion_length,
            keys=[problem_key(row) for row in rows.values()],
        )
        with self.policy_draws(prompt_ids, list(rows), extra=True) as draws:
            if rows:
                self.credit.prepare(slots, self._policy(draws))

    def _prepared_file(self) -> PreparedFile:
        with self.policy_draws([], []) as draws:
            fingerprint = model_fingerprint(draws.sampler.model)
            params = draws.params.as_settings()
        settings = {
            "model": fingerprint,
            "method": self.credit.name,
            "method_settings": asdict(self.credit.settings),
            "sampling": params,
            "verifier": self.args.verifier,
            "max_completion_length": self.max_completion_length,
        }
        return PreparedFile(self._own_file("prepared.json"), settings)

    def _reachable_rows(self) -> list[dict[str, Any]]:
        """Distinct rows of the data set in training's order, as many as its steps can ask."""
        prompts_a_step = self.args.generation_batch_size // self.num_generations
        generations = self.state.max_steps * self.args.gradient_accumulation_steps
        most = -(-generations // self.args.steps_per_generation) * prompts_a_step
        return [self.train_dataset[index] for index in self.prompt_order()[:most]]

    def _own_file(self, name: str) -> Path:
        """Return this process's file of a name in the output folder."""
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        path = Path(self.args.output_dir) / name
        return path if world == 1 else path.with_name(f"{path.stem}-{rank:05d}{path.suffix}")

    def _policy(self, draws: PolicyDraws) -> Policy:
        return build_policy(draws, self.segmenter, self.verifier.verify, self.args.per_device_train_batch_size)

    def _probe(self, round_: GenerationRound, layout: ResponseLayout) -> None:
        """Let the method find out more about the responses, which are verified before."""
        assert self._rollouts is not None
        self._verify([rollout.solution for rollout in self._rollouts])
        prompt_ids = [tuple(ids) for ids in round_.prompt_ids]
        groups = [row_id // self.num_generations for row_id in round_.row_ids]
        with self.policy_draws(prompt_ids, groups, extra=True) as draws:
            probed = self.credit.probe(Sampled(self._rollouts, prompt_ids, self.state.global_step), self._policy(draws))
        round_.facts.update({name: list(map(float, values)) for name, values in probed.facts.items()})
        self._method_facts += [name for name in probed.facts if name not in self._method_facts]
        num_steps, device = layout.step_mask_BK.size(1), self.accelerator.device
        for name, values in probed.step_values.items():
            round_.tensors[f"{STEP_VALUE}{name}"] = lay_out_values(values, num_steps, device)
        width = layout.step_index_BT.size(1)
        for name, values in probed.token_values.items():
            round_.tensors[f"{TOKEN_VALUE}{name}"] = lay_out_values(values, width, device)


def problem_key(row: Mapping[str, Any]) -> str:
    """Return the name by which a problem is remembered: its `problem_id`, else its prompt."""
    return str(row["problem_id"] if row.get("problem_id") is not None else row["prompt"])
