"""`AttnPOTrainer`: outcome rewards shared out over reasoning steps by attention, on TRL's `GRPOTrainer`.

The one class above TRL's, and the only place that touches what is private there; `trl_hooks.py` names all of it.

Where each thing happens in TRL's step:

1. `_generate` returns the sampled ids; a `Round` has asked what the method asks before, and takes them.
2. TRL may then make a pass of its own under the sampling policy (vLLM correction, several updates a batch,
   micro-batches of an older policy). If it does, step scores are read inside that pass.
3. `_calculate_rewards` gathers rewards over processes; groups can span processes, so everything that is
   relative to a group is computed there, on gathered values.
4. `_compute_loss` makes the pass whose gradient is taken. If step 2 made no pass, this one *is* the sampling
   policy's, and the scores are read inside it, just before TRL reads `inputs["advantages"]`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from accelerate.utils import gather
from transformers import PreTrainedTokenizerBase
from trl import GRPOTrainer
from trl.models.utils import disable_gradient_checkpointing

from attnpo.attention import HeadSet, check_readable, resolve_heads
from attnpo.errors import ConfigError
from attnpo.labeling import Labeler
from attnpo.models import load_tokenizer, plain_folder
from attnpo.sampling.prompts import give_template_settings, opened
from attnpo.segmentation import Segmenter, build_strategy
from attnpo.signals import Seen, Signal, build_signal, signal_of
from attnpo.training.budget import CourseCallback, TokenCount, TokenCountCallback, token_schedule
from attnpo.training.callbacks import (
    BeginCallback,
    MethodStateCallback,
    PreparationCallback,
    RolloutsFileCallback,
    make_room,
)
from attnpo.training.components import find_components, given_rewards, reads_no_heads, source_of
from attnpo.training.config import AttnPOConfig
from attnpo.training.data_checks import warn_of_text_prompts, with_text_solutions
from attnpo.training.dropped import DroppedLog
from attnpo.training.kl_cov import with_kl_cov
from attnpo.training.lasting import TRAIN_LOSS, LongRun
from attnpo.training.overlap import BackgroundChecks
from attnpo.training.packing import (
    PREFIX,
    SAMPLING_LOGPS,
    lay_out_log_probs,
    pack_micro_batches,
    rows_to_keep,
    trim_padding,
)
from attnpo.training.paper import PAPER
from attnpo.training.passes import (
    STEP_INDEX,
    HoldTokens,
    Output,
    read_extra_pass,
    read_loss_pass,
    read_sampling_pass,
    signal_reader,
)
from attnpo.training.policy_sampler import PolicySampler
from attnpo.training.preparing import check_prepared, prepare_method
from attnpo.training.reward_guard import RewardFailure, RewardGuard
from attnpo.training.round_log import RoundLog, own_file
from attnpo.training.rounds import Round, RoundParts, plain_verdicts, token_credit
from attnpo.training.run_meter import RunMeter
from attnpo.training.sharding import check_layout
from attnpo.training.sharing import keep_token_out_of_files, save_record
from attnpo.training.trl_hooks import rewind
from attnpo.verification import Verifier


class AttnPOTrainer(GRPOTrainer):
    """Train a reasoning model with step credit (AttnPO, Eq. 1-8), or with a neighbouring method.

    Any data set row with a `prompt` (text or chat messages) and a solution column will do. Text is read as it stands,
    as TRL does; where the tokenizer has a chat template, one line says so.

    Args:
        model: model, or what `--model` takes: folder, Hub id, GGUF file, folder of a PEFT adapter (it is added to its
            base before training), name; must use softmax attention in the layers of `heads`.
        args: the configuration.
        train_dataset: rows with `prompt` and `args.solution_column`.
        eval_dataset: the same, for TRL's evaluation loop.
        processing_class: the tokenizer; loaded from the model's path if absent.
        heads: head set: path, `HeadSet`, or pairs (layer, head); `args.heads` if absent.
        reward_funcs: further reward functions in TRL's form, or one, added to the method's reward.
        verifier: decides correctness; built from `args.verifier` if absent.
        labeler: labels steps where the truth is known; loaded from `args.step_labeler` if absent.
        kwargs: passed on to `GRPOTrainer` (callbacks, optimizers, peft_config, quantization_config).

    Raises:
        ConfigError: settings contradict each other.
        DataError: the data set is empty or lacks a column.
        HeadSetError: the head set does not fit the model.
        UnsupportedModelError: a chosen layer has no softmax attention.

    Attributes:
        credit: the method.
        credit_heads: heads to read; empty when method or signal read none.
        policy_sampler: draws from the policy.
        signal: scores the steps; None when the method reads no scores.
        token_count: tokens that the run sampled so far, over all processes.
        drawn_tokens: those of this process that are not in it yet.
        source: where the model comes from; None where it was given loaded.
        about: what the configuration does not know of the run: `model` and `data` as the user named them, `adapters`.
        card_writer: writes the card from the folder (`attnpo.reporting.card.write_model_card`); TRL's card if absent.
    """

    args: AttnPOConfig
    lr_scheduler: Any
    _tag_names: ClassVar[list[str]] = ["trl", "grpo", "attnpo"]
    _name = "AttnPO"
    _paper: dict[str, str] = PAPER
    _buffered_inputs: list[dict[str, Any]] | None
    _train_sampler: Any = None
    _step_began: int = 0
    """TRL's count of micro-batches at the beginning of this optimizer step."""
    _round: Round | None = None
    _loss_inputs: dict[str, Any] | None = None

    def __init__(
        self,
        model: Any,
        args: AttnPOConfig | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: PreTrainedTokenizerBase | None = None,
        heads: str | Sequence[tuple[int, int]] | HeadSet | None = None,
        reward_funcs: Callable | list[Callable] | None = None,
        verifier: Verifier | None = None,
        labeler: Labeler | None = None,
        **kwargs: Any,
    ) -> None:
        args = args if args is not None else AttnPOConfig("attnpo-output")
        rewards = given_rewards(args, reward_funcs)
        self.source = source = source_of(model, args)
        found = find_components(
            args,
            model if source is None else source,
            train_dataset,
            eval_dataset,
            processing_class,
            heads,
            verifier,
            labeler,
            uses_lora=kwargs.get("peft_config") is not None,
            rewards=1 + len(rewards),
        )
        self.credit, self.labeler, self.verifier = found.method, found.labeler, found.verifier
        self.head_set = self.first_head_set = found.head_set  # others may take its place while training
        self.credit_heads = self.credit.select_heads(self.head_set.heads) if self.head_set is not None else ()
        if args.method != "attnpo":  # the model card names the paper of the method that was used, where it is this one
            self._name, self._paper = args.method, {}
        self.token_count, self.drawn_tokens = TokenCount(), TokenCount()
        self.about: dict[str, Any] = {}
        self.card_writer: Callable[[Path], Any] | None = None
        keep_token_out_of_files(args)
        if source is not None:
            if (lora := kwargs.get("peft_config")) is not None and lora.revision is None:
                lora.revision = args.model_options().get("revision")  # TRL tells PEFT no revision of the base
            model = plain_folder(source)
            if processing_class is None and not source.is_plain:
                processing_class = load_tokenizer(source)
        guard = RewardGuard(args.max_reward_failures, self._note_failures)
        super().__init__(
            model=model,
            reward_funcs=[self.accuracy, *map(guard.wrap, rewards)],
            args=args,
            train_dataset=found.train_dataset,
            eval_dataset=with_text_solutions(eval_dataset, args.solution_column, "eval_dataset"),
            processing_class=processing_class,
            **kwargs,
        )
        give_template_settings(self._tokenizer, args.chat_template_kwargs)
        if self.accelerator.is_main_process:
            warn_of_text_prompts(found.train_dataset, self._tokenizer)
        check_layout(self.accelerator, self.model, args.group_sampler, args.ds3_gather_for_generation)
        self.signal = self._build_signal()
        if self.signal is not None:
            self.signal.check(self.model)
        budget = args.max_sampled_tokens
        self.add_callback(TokenCountCallback(self.token_count, budget))
        if args.keep_models and budget is not None:
            course = Path(str(args.output_dir)) / "course"
            keep = partial(self._keep_model, course)
            self.add_callback(CourseCallback(self.token_count, budget, args.keep_models, keep))
        self.add_callback(BeginCallback(self._begin_epoch, self._begin_step))
        self.long_run = LongRun(
            self, lambda: budget is not None and self.token_count.sampled >= budget, lambda: self._step
        )
        self.updates, self.nan_guard = self.long_run.updates, self.long_run.nan_guard
        if self.credit.overrides("state_dict"):
            self.add_callback(MethodStateCallback(self.credit))
        if self.credit.overrides("prepare"):
            self.add_callback(PreparationCallback(partial(prepare_method, self), partial(check_prepared, self)))
        self.meter = RunMeter(found.phrases, self.accelerator.device)
        self.dropped = DroppedLog(self.own_file("dropped.jsonl"))
        rollouts_path = self.rollouts_path if args.save_rollouts else None
        process = self.accelerator.process_index
        self.round_log = RoundLog(self.meter, self.dropped, rollouts_path, process, self.updates.note_groups)
        self.add_callback(RolloutsFileCallback(*filter(None, (rollouts_path, self.dropped.path))))
        strategy = build_strategy(args.segmentation, args.phrases_file, args.min_step_chars)
        self.segmenter = Segmenter(self._tokenizer, strategy)
        self.policy_sampler = PolicySampler(self, self._tokenizer)
        self.checks = BackgroundChecks(
            lambda ids, in_think: self.segmenter(ids, in_think),
            lambda texts, solutions: self.verifier.verify(texts, solutions),
            lambda: int(getattr(getattr(self.verifier, "pool", None), "interrupted", 0)),
        )
        self._verdicts = guard.wrap(self.round_log.counted(self.checks.verdicts))

    def use_heads(self, heads: str | Sequence[tuple[int, int]] | HeadSet) -> None:
        """Read other heads from the next forward pass on; call it between optimizer steps, on every process.

        Args:
            heads: head set: path, `HeadSet`, or pairs (layer, head).

        Raises:
            ConfigError: no heads are read.
            HeadSetError: the head set does not fit the model.
            UnsupportedModelError: a chosen layer has no softmax attention.
        """
        if self.head_set is None:
            raise ConfigError(f"heads: {reads_no_heads(self.args)}; there are none to exchange")
        head_set = resolve_heads(heads, self.model.config, None if self.source is None else self.source.name)
        check_readable(self.model, head_set.heads)
        self.head_set, self.credit_heads = head_set, self.credit.select_heads(head_set.heads)
        self.signal = self._build_signal()

    def _build_signal(self) -> Signal | None:
        name = signal_of(self.args.method, self.args.signal)
        return None if name is None else build_signal(name, self.credit_heads, self.args.seed)

    def _reads_a_pass(self) -> bool:
        return self.signal is not None and self.signal.is_read_in_a_pass

    def accuracy(self, completions: list[Any], **columns: Any) -> list[float]:
        """TRL reward function: 1 for a correct response, else 0."""
        solutions, round_ = columns[self.args.solution_column], self._round
        if round_ is None:  # TRL's evaluation loop: no credit
            prompt_ids = self.prompt_ids(columns["prompts"])
            return plain_verdicts(self._round_parts(), prompt_ids, columns["completion_ids"], solutions)
        if not self.credit.overrides("probe"):  # else they were verified before
            round_.verify(solutions)
        return [float(bool(rollout.correct)) for rollout in round_.rollouts]

    def on_responses(self, round_: Round, width: int) -> None:
        """Let a round segment its responses, padded to `width` tokens."""
        round_.segment(width)

    def outcome_advantages(self, round_: Round, rewards_BF: torch.Tensor) -> None:
        """Let a round judge its groups, given the rewards of all processes, one column a function."""
        round_.finish(rewards_BF, self.reward_weights.to(rewards_BF.device))

    def step_advantages(
        self, tensors: dict[str, torch.Tensor], advantages_B: torch.Tensor, scores_BK: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the advantage of every token, (B, T) (AttnPO, Eq. 5-8)."""
        return token_credit(self.credit, self.meter, tensors, advantages_B, scores_BK, self.state.global_step)

    def own_file(self, name: str) -> Path:
        """Return this process's file of a name in the output folder."""
        return own_file(self.args.output_dir, name, self.accelerator.process_index, self.accelerator.num_processes)

    @property
    def rollouts_path(self) -> Path:
        """File of this process's training responses (`save_rollouts`)."""
        return self.own_file("training_rollouts.jsonl")

    def _note_failures(self, asked: int, failures: Sequence[RewardFailure]) -> None:
        rollouts = [] if self._round is None else self._round.rollouts
        self.round_log.add_failures(self.state.global_step, rollouts, asked, failures)

    # The order of prompts, and the learning rate

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        self._train_sampler = super()._get_train_sampler(dataset)
        return self._train_sampler

    def prompt_orders(self) -> Iterator[list[int]]:
        """Yield epoch by epoch, without end, the rows of the data set in the order in which they are asked.

        Each epoch leaves out the last few of its order, which fill no batch.
        """
        sampler = GRPOTrainer._get_train_sampler(self)
        while True:
            yield list(dict.fromkeys(sampler))

    def _begin_epoch(self, epoch: int) -> None:
        rewind(self._train_sampler, epoch)
        make_room(self.state, [*self.callback_handler.callbacks, self.control])

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

    # Sampling

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

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        if not self.model.training:
            return super()._generate_and_score_completions(inputs)
        first = self._first_row_id(len(inputs))
        round_ = Round(self._round_parts(), inputs, range(first, first + len(inputs)), self.state.global_step)
        self.turn_to(round_)
        try:
            if self.credit.settings.resample_groups:
                again = self.policy_sampler.settle(round_)
                self.turn_to(round_)
                self.drawn_tokens.extra += again.tokens
                self.meter.count("resampled_groups", again.groups, len(round_.rows) // self.num_generations)
            output = super()._generate_and_score_completions(round_.rows)
        finally:
            self._round = None
        if round_.sampling_log_probs is not None:
            width = output["completion_ids"].size(1)
            output[SAMPLING_LOGPS] = lay_out_log_probs(round_.sampling_log_probs, width, self.accelerator.device)
        tensors, scores_BK = round_.tensors, round_.scores_BK
        advantages_B = tensors.pop("advantages")
        if scores_BK is None and self.signal is not None and not self.signal.is_read_in_a_pass:
            scores_BK = self.signal.credit_scores(Seen.of(tensors))
        if self._reads_a_pass() and scores_BK is None:
            output["advantages"] = advantages_B
            output.update({PREFIX + name: tensor for name, tensor in tensors.items()})
        else:
            output["advantages"] = self.step_advantages(tensors, advantages_B, scores_BK)
        return output

    def turn_to(self, round_: Round) -> None:
        """Let prompts, draws and failures be those of a round from now on."""
        self._round = round_

    def _round_parts(self) -> RoundParts:
        return RoundParts(
            method=self.credit,
            checks=self.checks,
            in_background=self.args.check_in_background,
            opens_think=self.segmenter.opens_think,
            verdicts=self._verdicts,
            labeler=self.labeler,
            meter=self.meter,
            log=self.round_log,
            policy=self.policy_sampler.policy,
            group_size=self.num_generations,
            max_length=self.max_completion_length,
            solution_column=self.args.solution_column,
            opening=self.args.opening,
            ends_itself=self.ends_itself,
            gather=gather,
            process=self.accelerator.process_index,
            device=self.accelerator.device,
        )

    def _tokenize_prompts(self, prompts: list[Any]) -> Any:
        prompt_ids, images, fields = super()._tokenize_prompts(prompts)
        if self._round is None:
            step = self.state.global_step
            asks = [self.credit.ask(prompt, group_id=0, sample=0, progress_step=step) for prompt in prompts]
            openings = [self.args.opening + ask.opening for ask in asks]
        else:
            openings = self._round.openings
        rows = zip(prompts, prompt_ids, openings, strict=True)
        return [opened(self._tokenizer, prompt, ids, opening) for prompt, ids, opening in rows], images, fields

    def prompt_ids(self, prompts: list[Any]) -> list[list[int]]:
        """Return what the model reads of prompts, what the run and the method put behind them included."""
        ids: list[list[int]] = self._tokenize_prompts(prompts)[0]
        return ids

    def _generate(self, prompts: list[Any]) -> Any:
        output = super()._generate(prompts)
        if self._round is not None:
            self._round.take(output[0], output[1])
        return output

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
        if self._round is not None:
            drawn = self._round.drawn or self.policy_sampler.draw_round(self._round, prompt_ids)
            return [response.ids for response in drawn], None
        first = self._first_row_id(len(prompt_ids))  # TRL's evaluation loop
        return self.policy_sampler.draw_free(prompt_ids, first, num_generations), None

    # Rewards

    def _calculate_rewards(
        self, inputs: Any, prompts: list[Any], completions: list[Any], completion_ids_list: list[list[int]]
    ) -> torch.Tensor:
        if self._round is None:
            return super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        width, multiple = max(map(len, completion_ids_list)), self.pad_to_multiple_of
        self._ensure_layout(width if not multiple else -(-width // multiple) * multiple)
        rewards_BF = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        if self.credit.judges_steps and self.signal is not None and self._round.scores_BK is None:
            self._round.scores_BK = self._scores_before_rewards(self._round, self.signal)
        if not self.args.group_sampler:  # else every draw was counted where it was made
            self.drawn_tokens.add(sum(map(len, completion_ids_list)))
        self.token_count.take(self.drawn_tokens.reduced(self._sum, self.accelerator.device))
        self.drawn_tokens = TokenCount()
        self.outcome_advantages(self._round, rewards_BF)
        return rewards_BF

    def _scores_before_rewards(self, round_: Round, signal: Signal) -> torch.Tensor:
        """Return (B, K) step scores, of a pass that is made for them alone where the signal reads one."""
        if not signal.is_read_in_a_pass:
            return signal.credit_scores(Seen.of(round_.tensors))
        self.drawn_tokens.passed += sum(map(len, round_.prompt_ids)) + sum(map(len, round_.response_ids))
        with disable_gradient_checkpointing(self.model, self.args.gradient_checkpointing_kwargs):
            return read_extra_pass(
                self.model,
                signal,
                round_.prompt_ids,
                round_.response_ids,
                round_.tensors,
                self._tokenizer.pad_token_id,
                self.args.per_device_train_batch_size,
                self.args.answer_chunk,
                self.temperature,
            )

    def _ensure_layout(self, width: int) -> None:
        assert self._round is not None
        if not self._round.tensors:
            self.on_responses(self._round, width)

    # Passes and the loss

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        whole_pass = partial(super()._get_per_token_logps_and_entropies, model)

        def make_pass(rows: slice, size: int | None = batch_size, **more: Any) -> Output:
            ids, mask = input_ids[rows], attention_mask[rows]
            output: Output = whole_pass(ids, mask, logits_to_keep, batch_size=size, **{**kwargs, **more})
            return output

        signal = self.signal if self._reads_a_pass() else None
        read = None
        if signal is not None:
            chunk, count = self.args.answer_chunk, self.meter.add_reading
            read = signal_reader(model, signal, attention_mask, chunk, count)
        if self._loss_inputs is not None:
            return read_loss_pass(make_pass, read, self._loss_inputs, self.step_advantages, self._hold_tokens())
        # With a PEFT policy the reference pass also runs on `self.model`, but only after the policy's own.
        round_ = self._round if model is self.model else None
        if signal is None or read is None or round_ is None or round_.scores_BK is not None:
            return make_pass(slice(None))
        if not self.makes_sampling_policy_pass():
            return make_pass(slice(None))
        if any(value is not None for name, value in kwargs.items() if not name.startswith("compute_")):
            raise ConfigError("data set: step credit reads text only; remove the image columns")
        self._ensure_layout(logits_to_keep)
        size = input_ids.size(0)
        more: dict[str, Any] = {"compute_entropy": True} if "entropies" in signal.needs else {}
        output, round_.scores_BK = read_sampling_pass(
            partial(make_pass, size=None, **more), read, round_.tensors, size, batch_size or size
        )
        return output

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
        # That of a response, which is all that is known before its scores are read, may not speak for its tokens.
        speaks = not self.credit.credits_zero or STEP_INDEX not in self._buffered_inputs[0]
        if speaks and self.beta == 0.0 and not self._entropy_bonus_enabled and not self.aux_loss_enabled:
            keep = rows_to_keep(self._buffered_inputs, gather)
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
        if STEP_INDEX not in inputs and SAMPLING_LOGPS not in inputs and self._hold_tokens() is None:
            return super()._compute_loss(model, inputs)
        self._loss_inputs = inputs
        try:
            return super()._compute_loss(model, inputs)
        finally:
            self._loss_inputs = None

    def _hold_tokens(self) -> HoldTokens | None:
        """Return what KL-Cov makes of advantages; None where it is off or nothing is trained."""
        if not (self.args.kl_cov_share and self.model.training):
            return None
        return partial(with_kl_cov, share=self.args.kl_cov_share, weight=self.args.kl_cov_weight)

    # Logs, signals, files

    def add_metrics(self, metrics: Mapping[str, float]) -> None:
        """Add values to the next training log line (their means, where several are added before it)."""
        for name, value in metrics.items():
            self._metrics["train"][name].append(value)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log TRL's metrics and the method's, as means over all processes since the last line."""
        if self.model.training:
            own = (
                self.meter.flush(self._sum)
                | self.credit.metrics()
                | {"skipped_updates": float(self.nan_guard.skipped)}
                | self.token_count.metrics()
            )
            self.add_metrics({f"attnpo/{name}": value for name, value in own.items()})
        super().log(self.long_run.whole_loss(logs) if TRAIN_LOSS in logs else logs, start_time)

    def _sum(self, tensor: torch.Tensor) -> torch.Tensor:
        total: torch.Tensor = self.accelerator.reduce(tensor, reduction="sum")
        return total

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train as a run that may last for days (`LongRun.train`); see transformers' `Trainer.train`."""
        return self.long_run.train(lambda: super(AttnPOTrainer, self).train(*args, **kwargs))

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Make a micro-batch's passes; see transformers' `Trainer.training_step`."""
        loss: torch.Tensor = super().training_step(*args, **kwargs)
        self.long_run.loss_mean.add(loss)
        return loss

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model (`LongRun.save`) and, where it is the run's result, its card."""
        folder = Path(output_dir or str(self.args.output_dir))

        def save() -> None:
            super(AttnPOTrainer, self).save_model(output_dir, _internal_call)
            if self.source is not None and self.is_world_process_zero():
                self.source.name_as_base(folder)

        self.long_run.save(save)
        ours = output_dir is None or Path(output_dir) == Path(self.args.output_dir)
        if ours and not _internal_call and not self.args.push_to_hub:  # an upload writes the card itself
            self.create_model_card()

    def _keep_model(self, folder: Path, number: int) -> None:
        self.save_model(str(folder / str(number)))

    def create_model_card(
        self, model_name: str | None = None, dataset_name: str | None = None, tags: str | list[str] | None = None
    ) -> None:
        """Write `training.json` and the card into `output_dir`; TRL calls it at every checkpoint and upload.

        Args:
            model_name: what to call the model; the folder's or repository's name if absent.
            dataset_name: data set, where `about` names none.
            tags: further tags.
        """
        if not self.is_world_process_zero():
            return
        own_tags = (*self._tag_names, *([tags] if isinstance(tags, str) else tags or []))
        folder = save_record(self, model_name, {"data": dataset_name, **self.about}, own_tags)
        if self.card_writer is None:
            super().create_model_card(model_name, dataset_name, tags)
        elif self.args.push_to_hub or not self.is_in_train:  # pictures at every checkpoint are for nobody
            self.card_writer(folder)
