"""The trainer's side of what a method asks, draws, prepares and probes; it knows no credit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from accelerate.utils import gather_object

from attnpo.credit import Method, Policy, Slots
from attnpo.rollouts import Rollout
from attnpo.sampling import SampledResponse
from attnpo.segmentation import Segmenter
from attnpo.training.batches import STEP_VALUE
from attnpo.training.callbacks import join_states
from attnpo.training.drawing import PolicyDraws, build_policy
from attnpo.training.layout import ResponseLayout, lay_out_values
from attnpo.training.packing import TOKEN_VALUE
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
        self._target_lengths: list[int | None] = []
        self._method_facts: list[str] = []
        self._openings: list[str] = []
        super().__init__(*args, **kwargs)

    def asked_rows(self, rows: list[dict[str, Any]], row_ids: Sequence[int]) -> list[dict[str, Any]]:
        """Ask what the method asks, and remember the requested lengths."""
        size, step = self.num_generations, self.state.global_step
        asks = [
            self.credit.ask(row["prompt"], row_id // size, row_id % size, step)
            for row, row_id in zip(rows, row_ids, strict=True)
        ]
        self._target_lengths = [ask.target_length for ask in asks]
        self._openings = [ask.opening for ask in asks]
        return [{**row, "prompt": ask.prompt} for row, ask in zip(rows, asks, strict=True)]

    def response_limit(self) -> int | None:
        """Return the method's limit on a response at this optimizer step."""
        return self.credit.response_limit(self.state.global_step)

    def openings(self, prompts: Sequence[Any]) -> list[str]:
        """Return what the method puts behind the generation prompt."""
        if self._round is not None:
            return self._openings
        step = self.state.global_step
        return [self.credit.ask(prompt, group_id=0, sample=0, progress_step=step).opening for prompt in prompts]

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
        if type(self.credit).sample is Method.sample:  # other methods go on from what they draw first
            draws.on_ended = lambda item, response: self.on_ended(round_, item.row, response.ids)
        drawn = self.credit.sample(slots, self._policy(draws))
        round_.facts.update({name: list(map(float, values)) for name, values in drawn.facts.items()})
        self._method_facts = list(drawn.facts)
        round_.sampling_log_probs = drawn.sampling_log_probs
        return drawn.responses

    def prepare_method(self) -> None:
        """Let the method measure the untrained policy on the rows that training can reach."""
        rows, rank, world = self._reachable_rows(), self.accelerator.process_index, self.accelerator.num_processes
        own, numbers = rows[rank::world], range(rank, len(rows), world)
        prompt_ids = [tuple(ids) for ids in self._tokenize_prompts([row["prompt"] for row in own])[0]] if own else []
        self.model.train()
        slots = Slots(
            prompt_ids=prompt_ids,
            solutions=[str(row[self.args.solution_column]) for row in own],
            group_ids=list(numbers),
            samples=[0] * len(own),
            max_new_tokens=self.max_completion_length,
            keys=[problem_key(row) for row in own],
        )
        with self.policy_draws(prompt_ids, numbers, extra=True) as draws:
            self.credit.prepare(slots, self._policy(draws))
        if world > 1:
            self.credit.load_state_dict(join_states(gather_object([self.credit.state_dict()])))

    def _reachable_rows(self) -> list[dict[str, Any]]:
        """Distinct rows of the data set in training's order, as many as its steps can ask."""
        prompts_a_step = self.args.generation_batch_size // self.num_generations
        generations = self.state.max_steps * self.args.gradient_accumulation_steps
        most = -(-generations // self.args.steps_per_generation) * prompts_a_step
        indices = dict.fromkeys(iter(self._get_train_sampler()))
        return [self.train_dataset[index] for index in islice(indices, most)]

    def _policy(self, draws: PolicyDraws) -> Policy:
        return build_policy(draws, self.segmenter, self.verifier.verify, self.args.per_device_train_batch_size)

    def _probe(self, round_: GenerationRound, layout: ResponseLayout) -> None:
        """Let the method find out more about the responses, which are verified before."""
        assert self._rollouts is not None
        self._verify([rollout.solution for rollout in self._rollouts])
        prompt_ids = [tuple(ids) for ids in round_.prompt_ids]
        groups = [row_id // self.num_generations for row_id in round_.row_ids]
        with self.policy_draws(prompt_ids, groups, extra=True) as draws:
            probed = self.credit.probe(self._rollouts, prompt_ids, self._policy(draws), self.state.global_step)
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
