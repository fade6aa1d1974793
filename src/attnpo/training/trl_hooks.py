"""Every private hook of TRL's `GRPOTrainer` that step credit relies on, behind four plain methods.

`tests/training/test_trl_contract.py` fails loudly when TRL changes one of them.

Where each thing happens in TRL's step:

1. `_generate` returns the sampled ids: the responses are segmented here (`on_responses`).
2. TRL may then make a pass of its own under the sampling policy (vLLM correction, several updates a batch,
   micro-batches of an older policy). If it does, step scores are read inside that pass.
3. `_calculate_rewards` gathers rewards over processes; groups can span processes, so everything that is
   relative to a group is computed here, on gathered values (`outcome_advantages`).
4. `_compute_loss` makes the pass whose gradient is taken. If step 2 made no pass, this one *is* the sampling
   policy's, and the scores are read inside it, just before TRL reads `inputs["advantages"]`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from accelerate.utils import gather
from trl import GRPOTrainer
from trl.models import unwrap_model_for_generation

from attnpo.attention import Head, read_step_scores
from attnpo.credit import Continuation
from attnpo.errors import ConfigError
from attnpo.sampling import SampledResponse, SamplingParams, TransformersSampler, render_prompt
from attnpo.sampling.prompts import continues, one_start
from attnpo.training.budget import TokenCount, TokenCountCallback, token_schedule
from attnpo.training.callbacks import BeginCallback
from attnpo.training.config import AttnPOConfig
from attnpo.training.drawing import PolicyDraws
from attnpo.training.layout import lay_out_log_probs
from attnpo.training.packing import PREFIX, SAMPLING_LOGPS, pack_micro_batches, rows_with_signal, trim_padding
from attnpo.training.rounds import GatheredOutcome, GenerationRound
from attnpo.training.sharding import whole_parameters


class StepCreditTrainer(GRPOTrainer):
    """`GRPOTrainer` whose subclass decides one advantage a token from attention read inside TRL's own passes.

    Attributes:
        credit_heads: heads to read; empty when the method reads none.
        token_count: tokens that the run sampled so far, over all processes.
        drawn_tokens: those of this process that are not in it yet.
    """

    args: AttnPOConfig
    credit_heads: Sequence[Head] = ()
    token_count: TokenCount
    drawn_tokens: TokenCount
    lr_scheduler: Any
    _train_sampler: Any = None
    _step_began: int = 0
    """TRL's count of micro-batches at the beginning of this optimizer step."""
    _round: GenerationRound | None = None
    _loss_inputs: dict[str, Any] | None = None
    _buffered_inputs: list[dict[str, Any]] | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.token_count, self.drawn_tokens = TokenCount(), TokenCount()
        super().__init__(*args, **kwargs)
        self.add_callback(TokenCountCallback(self.token_count, self.args.max_sampled_tokens))
        self.add_callback(BeginCallback(self._begin_epoch, self._begin_step))

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        self._train_sampler = super()._get_train_sampler(dataset)
        return self._train_sampler

    def prompt_order(self) -> list[int]:
        """Return the rows of the data set in the order in which the first epoch asks them, without the last few."""
        return list(dict.fromkeys(GRPOTrainer._get_train_sampler(self)))

    def _begin_epoch(self, epoch: int) -> None:
        rewind(self._train_sampler, epoch)

    def _begin_step(self) -> None:
        self._step_began = self._step

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> Any:
        """Let the learning rate follow the tokens where the run's length is counted in them."""
        budget = self.args.max_sampled_tokens
        if budget is None or self.lr_scheduler is not None:
            return super().create_scheduler(num_training_steps, optimizer)
        self.lr_scheduler = token_schedule(
            optimizer if optimizer is not None else self.optimizer,
            self.args.lr_scheduler_type,
            lambda: self.token_count.sampled / budget,
            self.args.get_warmup_steps(num_training_steps),
            self.args.lr_scheduler_kwargs,
        )
        self._created_lr_scheduler = True
        return self.lr_scheduler

    def asked_rows(self, rows: list[dict[str, Any]], row_ids: Sequence[int]) -> list[dict[str, Any]]:
        """Return the rows whose `prompt` is sampled from in place of the data set's; the rows of a group alike."""
        return rows

    def response_limit(self) -> int | None:
        """Return a limit on the next responses below `max_completion_length`, None where there is none."""
        return None

    def openings(self, prompts: Sequence[Any]) -> list[str]:
        """Return for each prompt the text behind its generation prompt."""
        return [""] * len(prompts)

    def draw_responses(self, round_: GenerationRound, draws: PolicyDraws) -> list[SampledResponse]:
        """Return the responses to the round's prompts: here free ones."""
        limit = draws.params.max_new_tokens
        size = self.num_generations
        return draws([Continuation(i, limit, sample=row_id % size) for i, row_id in enumerate(round_.row_ids)])

    def on_ended(self, round_: GenerationRound, row: int, response_ids: Sequence[int]) -> None:
        """Take note of a response as soon as it has ended; may be called again once all have."""

    @abstractmethod
    def on_responses(self, round_: GenerationRound, width: int) -> None:
        """Segment the responses and fill `round_.tensors` and `round_.facts`.

        Required keys: `step_index` (B, T) and `answer_mask` (B, T); `width` is T.
        """

    @abstractmethod
    def outcome_advantages(self, outcome: GatheredOutcome) -> dict[str, torch.Tensor]:
        """Return tensors over the gathered batch, one row a response; `advantages` (B,) is required."""

    @abstractmethod
    def step_advantages(
        self, tensors: dict[str, torch.Tensor], advantages_B: torch.Tensor, scores_BKN: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the advantage of every token, (B, T) (AttnPO, Eq. 5)."""

    @abstractmethod
    def flush_metrics(self) -> dict[str, float]:
        """Return the means gathered since the last call; called on every process at each log line."""

    def _first_row_id(self, local_rows: int) -> int:
        """Number of this process's first response of a generation batch within the run.

        Depends on the optimizer step and on the place in the global batch only, so it is the same after a resume
        and however the batch is split over processes.
        """
        # Counted from the step's beginning: an epoch's last step may have fewer micro-batches than the others.
        batches_before = self.state.global_step * self.args.gradient_accumulation_steps + self._step - self._step_began
        return batches_before * self.args.generation_batch_size + self.accelerator.process_index * local_rows

    def ends_itself(self, response_ids: Sequence[int]) -> bool:
        """Whether the model ended the response, by TRL's rule: its last token is an end or padding token."""
        return bool(response_ids) and response_ids[-1] in {*self.eos_token_ids, self._tokenizer.pad_token_id}

    def makes_sampling_policy_pass(self) -> bool:
        """Whether TRL makes a pass of its own under the sampling policy (its `old_per_token_logps`)."""
        generate_every = self.args.steps_per_generation * self.num_iterations
        return self.args.gradient_accumulation_steps % generate_every != 0 or (
            self.use_vllm and self.args.vllm_importance_sampling_correction
        )

    def _generate(self, prompts: list[Any]) -> Any:
        output = super()._generate(prompts)
        if self._round is not None:
            self._round.prompt_ids, self._round.response_ids = list(output[0]), list(output[1])
            for row, ids in enumerate(self._round.response_ids):
                self.on_ended(self._round, row, ids)
        return output

    def _tokenize_prompts(self, prompts: list[Any]) -> Any:
        prompt_ids, images, fields = super()._tokenize_prompts(prompts)
        # TRL closes an assistant's last message, and lets tokenizers begin a rendered text a second time.
        prompt_ids = [
            render_prompt(self._tokenizer, prompt) if continues(prompt) else one_start(self._tokenizer, list(ids))
            for prompt, ids in zip(prompts, prompt_ids, strict=True)
        ]
        encode = partial(self._tokenizer.encode, add_special_tokens=False)
        opened = [
            [*ids, *encode(opening)] if opening else ids
            for ids, opening in zip(prompt_ids, self.openings(prompts), strict=True)
        ]
        return opened, images, fields

    def _generate_single_turn(
        self,
        prompt_ids: list[list[int]],
        images: Any,
        multimodal_fields: dict[str, Any],
        num_generations: int,
        **kwargs: Any,
    ) -> tuple[list[list[int]], Any]:
        if not self.args.group_sampler:
            return super()._generate_single_turn(prompt_ids, images, multimodal_fields, num_generations, **kwargs)
        with self.policy_draws(prompt_ids, self._group_ids(len(prompt_ids), num_generations)) as draws:
            if self._round is not None:
                self._round.prompt_ids = prompt_ids
                responses = self.draw_responses(self._round, draws)
            else:
                first = self._first_row_id(len(prompt_ids))
                limit = draws.params.max_new_tokens
                responses = draws(
                    [Continuation(i, limit, sample=(first + i) % num_generations) for i in range(len(prompt_ids))]
                )
        return [response.ids for response in responses], None

    @contextmanager
    def policy_draws(
        self, prompt_ids: Sequence[Sequence[int]], group_ids: Sequence[int], *, extra: bool = False
    ) -> Iterator[PolicyDraws]:
        """Lend draws from the policy, in evaluation mode.

        Args:
            prompt_ids: what the model reads, a row each.
            group_ids: number of each row's group within the run.
            extra: whether what is drawn goes beyond the responses that are trained on.
        """
        limit = self.response_limit() if self.model.training else None
        params = SamplingParams(
            max_new_tokens=min(self.max_completion_length, limit or self.max_completion_length),
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k or 0,
            seed=self.args.seed,
            min_p=self.min_p or 0.0,
            repetition_penalty=self.repetition_penalty,
            extra=self.args.generation_kwargs or {},
        )
        count = self.drawn_tokens if self.model.training else TokenCount()
        unwrapped = unwrap_model_for_generation(
            self.model_wrapped,
            self.accelerator,
            gather_deepspeed3_params=self.args.ds3_gather_for_generation,
            gradient_checkpointing_kwargs=self.args.gradient_checkpointing_kwargs,
        )
        with unwrapped as model, whole_parameters(model):
            was_training = model.training
            model.eval()
            try:
                attention = self.args.sampler_attn_implementation
                rows = max(128, len(prompt_ids))
                sampler = TransformersSampler(model, self._tokenizer, rows=rows, attn_implementation=attention)
                yield PolicyDraws(sampler, params, prompt_ids, group_ids, count, extra)
            finally:
                model.train(was_training)

    def _group_ids(self, local_rows: int, num_generations: int) -> list[int]:
        """Number of each row's group within the run, by its place in the global batch."""
        first = self._first_row_id(local_rows)
        return [(first + offset) // num_generations for offset in range(local_rows)]

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        if not self.model.training:
            return super()._generate_and_score_completions(inputs)
        first = self._first_row_id(len(inputs))
        row_ids = [first + i for i in range(len(inputs))]
        rows = self.asked_rows(list(inputs), row_ids)
        self._round = GenerationRound(rows=rows, row_ids=row_ids)
        try:
            output = super()._generate_and_score_completions(rows)
            tensors, scores_BKN = self._round.tensors, self._round.scores_BKN
            if self._round.sampling_log_probs is not None:
                width = output["completion_ids"].size(1)
                output[SAMPLING_LOGPS] = lay_out_log_probs(
                    self._round.sampling_log_probs, width, self.accelerator.device
                )
        finally:
            self._round = None
        advantages_B = tensors.pop("advantages")
        if self.credit_heads and scores_BKN is None:
            output["advantages"] = advantages_B
            output.update({PREFIX + name: tensor for name, tensor in tensors.items()})
        else:
            output["advantages"] = self.step_advantages(tensors, advantages_B, scores_BKN)
        return output

    def _calculate_rewards(
        self, inputs: Any, prompts: list[Any], completions: list[Any], completion_ids_list: list[list[int]]
    ) -> torch.Tensor:
        if self._round is None:
            return super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        self._ensure_layout(self._padded_width(completion_ids_list))
        rewards_BF = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        facts = self._round.facts
        if not self.args.group_sampler:  # else every draw was counted where it was made
            self.drawn_tokens.add(sum(len(ids) for ids in completion_ids_list))
        self._count_tokens()
        columns = [
            [len(ids) for ids in completion_ids_list],
            [int(self.ends_itself(ids)) for ids in completion_ids_list],
            self._round.row_ids,
            *facts.values(),
        ]
        table = torch.tensor(columns, dtype=torch.float64, device=self.accelerator.device)
        gathered = gather(table.T.contiguous()).T
        outcome = GatheredOutcome(
            rewards_BF,
            lengths_B=gathered[0].long(),
            finished_B=gathered[1].bool(),
            row_ids_B=gathered[2].long(),
            group_size=self.num_generations,
            facts=dict(zip(facts, gathered[3:], strict=True)),
        )
        first = self.accelerator.process_index * len(prompts)
        for name, tensor in self.outcome_advantages(outcome).items():
            self._round.tensors[name] = tensor[first : first + len(prompts)]
        return rewards_BF

    def _count_tokens(self) -> None:
        """Add what all processes have drawn since the last time to the run's count."""
        fresh = self.drawn_tokens
        totals = torch.tensor([fresh.sampled, fresh.extra, fresh.passed], device=self.accelerator.device)
        sampled, extra, passed = self.accelerator.reduce(totals, reduction="sum").tolist()
        self.token_count.take(TokenCount(sampled, extra, passed))
        self.drawn_tokens = TokenCount()

    def _padded_width(self, completion_ids_list: list[list[int]]) -> int:
        width = max(len(ids) for ids in completion_ids_list)
        multiple = self.pad_to_multiple_of
        return width if not multiple else -(-width // multiple) * multiple

    def _ensure_layout(self, width: int) -> None:
        assert self._round is not None
        if not self._round.tensors:
            self.on_responses(self._round, width)

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        plain = super()._get_per_token_logps_and_entropies
        if self._loss_inputs is not None and SAMPLING_LOGPS in self._loss_inputs:
            plain = partial(self._note_sampling_log_probs, plain)
        if not self.credit_heads:
            return plain(model, input_ids, attention_mask, logits_to_keep, batch_size=batch_size, **kwargs)
        if self._loss_inputs is not None:
            tensors = {k.removeprefix(PREFIX): v for k, v in self._loss_inputs.items() if k.startswith(PREFIX)}
            with self._reading(model, tensors, slice(None), input_ids, attention_mask) as reading:
                output = plain(model, input_ids, attention_mask, logits_to_keep, batch_size=batch_size, **kwargs)
            self._loss_inputs["advantages"] = self.step_advantages(
                tensors, self._loss_inputs["advantages"], reading.scores_BKN
            )
            return output
        # With a PEFT policy the reference pass also runs on `self.model`, but only after the policy's own.
        is_sampling_pass = (
            self._round is not None
            and self._round.scores_BKN is None
            and model is self.model
            and self.makes_sampling_policy_pass()
        )
        if not is_sampling_pass:
            return plain(model, input_ids, attention_mask, logits_to_keep, batch_size=batch_size, **kwargs)
        if any(value is not None for name, value in kwargs.items() if not name.startswith("compute_")):
            raise ConfigError("data set: step credit reads text only; remove the image columns")
        assert self._round is not None
        self._ensure_layout(logits_to_keep)
        scores, parts = [], []
        for start in range(0, input_ids.size(0), batch_size or input_ids.size(0)):
            rows = slice(start, start + (batch_size or input_ids.size(0)))
            with self._reading(model, self._round.tensors, rows, input_ids, attention_mask) as reading:
                parts.append(plain(model, input_ids[rows], attention_mask[rows], logits_to_keep, **kwargs))
            scores.append(reading.scores_BKN)
        self._round.scores_BKN = torch.cat(scores)
        logps, entropies, aux_losses = zip(*parts, strict=True)
        return (
            torch.cat(logps),
            None if entropies[0] is None else torch.cat(entropies),
            None if aux_losses[0] is None else torch.stack(aux_losses).mean(),
        )

    def _note_sampling_log_probs(self, plain: Any, *args: Any, **kwargs: Any) -> Any:
        """Put the log-probabilities of forced tokens in place of the policy's own, before TRL takes the ratio."""
        output = plain(*args, **kwargs)
        assert self._loss_inputs is not None
        known_BT = self._loss_inputs[SAMPLING_LOGPS]
        old_BT = self._loss_inputs.get("old_per_token_logps")
        old_BT = output[0].detach() if old_BT is None else old_BT
        self._loss_inputs["old_per_token_logps"] = torch.where(known_BT.isnan(), old_BT, known_BT.to(old_BT.dtype))
        return output

    def _reading(
        self,
        model: Any,
        tensors: dict[str, torch.Tensor],
        rows: slice,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
    ) -> Any:
        step_index_BT, answer_mask_BT = tensors["step_index"][rows], tensors["answer_mask"][rows]
        prompt_width = input_ids.size(1) - step_index_BT.size(1)
        return read_step_scores(
            model,
            self.credit_heads,
            torch.nn.functional.pad(step_index_BT, (prompt_width, 0), value=-1),
            torch.nn.functional.pad(answer_mask_BT, (prompt_width, 0), value=False),
            attention_mask_BL=attention_mask[rows],
            num_steps=tensors["step_mask"].size(1),
            answer_chunk=self.args.answer_chunk,
        )

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        buffered = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        is_new = self.model.training and self._buffered_inputs is not buffered
        if self._buffered_inputs is None or not is_new:
            return inputs
        if not (self.args.pack_micro_batches and self._one_update_a_batch()):
            return inputs
        # Nothing but the advantage may carry a gradient for a row of zero advantage to be worth nothing.
        keep = None
        if self.beta == 0.0 and not self._entropy_bonus_enabled and not self.aux_loss_enabled:
            # TRL gathers statistics row by row, so every process keeps as many rows as the one that needs most.
            local = torch.tensor([rows_with_signal(self._buffered_inputs)], device=self.accelerator.device)
            keep = int(gather(local).max())
        self._buffered_inputs = pack_micro_batches(self._buffered_inputs, keep)
        return self._buffered_inputs[self._step % self.args.steps_per_generation]

    def _one_update_a_batch(self) -> bool:
        """Whether all micro-batches of a generation batch go into one optimizer step under a token-mean loss."""
        return (
            self.num_iterations == 1
            and self.args.gradient_accumulation_steps % self.args.steps_per_generation == 0
            and self.loss_type in ("dapo", "cispo")
            and self.top_entropy_quantile == 1.0
        )

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        inputs = trim_padding(inputs) if self.args.pack_micro_batches else dict(inputs)
        if f"{PREFIX}step_index" not in inputs and SAMPLING_LOGPS not in inputs:
            return super()._compute_loss(model, inputs)
        self._loss_inputs = inputs
        try:
            return super()._compute_loss(model, inputs)
        finally:
            self._loss_inputs = None

    def add_metrics(self, metrics: Mapping[str, float]) -> None:
        """Add values to the next training log line (their means, where several are added before it)."""
        for name, value in metrics.items():
            self._metrics["train"][name].append(value)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log TRL's metrics and the method's."""
        if self.model.training:
            for name, value in self.flush_metrics().items():
                self._metrics["train"][f"attnpo/{name}"].append(value)
            for name, tokens in (
                ("sampled_tokens", self.token_count.sampled),
                ("extra_tokens", self.token_count.extra),
                ("extra_pass_tokens", self.token_count.passed),
            ):
                self._metrics["train"][f"attnpo/{name}"].append(float(tokens))
        super().log(logs, start_time)


def rewind(sampler: Any, epoch: int) -> None:
    """Put TRL's sampler where it is after so many epochs: it draws each order from the generator of the last one."""
    if not sampler.shuffle:
        return
    sampler.generator.manual_seed(sampler.seed)
    for _ in range(epoch):
        torch.randperm(sampler.num_samples, generator=sampler.generator)
