"""`AttnPOTrainer`: outcome rewards shared out over reasoning steps by attention, on TRL's `GRPOTrainer`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from transformers import PreTrainedTokenizerBase

from attnpo.attention import HeadSet, check_parallelism, check_readable, resolve_heads
from attnpo.collecting import ThinkWatch
from attnpo.errors import ConfigError
from attnpo.labeling import Labeler, label_steps
from attnpo.rollouts import Rollout, SegmentedResponse, write_rollouts
from attnpo.segmentation import PhraseFamilies, Segmenter, build_strategy
from attnpo.training.batches import FACT, group_batch, step_batch
from attnpo.training.callbacks import MethodStateCallback, PreparationCallback, RolloutsFileCallback
from attnpo.training.checks import RunParts, examine
from attnpo.training.components import model_config, needed_heads, needed_labeler
from attnpo.training.config import AttnPOConfig
from attnpo.training.data_checks import check_training_data, with_text_solutions
from attnpo.training.dropped import REWARD_FAILED, DroppedLog, group_reason
from attnpo.training.estimate import launched_layout
from attnpo.training.layout import lay_out
from attnpo.training.method_trainer import MethodTrainer
from attnpo.training.overlap import BackgroundChecks
from attnpo.training.paper import PAPER
from attnpo.training.reward_guard import RewardFailure, RewardGuard
from attnpo.training.rounds import GatheredOutcome, GenerationRound
from attnpo.training.run_meter import RunMeter
from attnpo.training.sharding import check_layout
from attnpo.verification import Verifier, build_verifier


class AttnPOTrainer(MethodTrainer):
    """Train a reasoning model with step credit (AttnPO, Eq. 1-8), or with a neighbouring method.

    Any data set row with a `prompt` (text or chat messages) and a solution column will do.

    Args:
        model: model, path or hub id; must use softmax attention in the layers of `heads`.
        args: the configuration.
        train_dataset: rows with `prompt` and `args.solution_column`.
        eval_dataset: the same, for TRL's evaluation loop.
        processing_class: the tokenizer; loaded from the model's path if absent.
        heads: head set: path, `HeadSet`, or pairs (layer, head); `args.heads` if absent.
        reward_funcs: further reward functions in TRL's form, added to the method's reward.
        verifier: decides correctness; built from `args.verifier` if absent.
        labeler: labels steps where the truth is known; loaded from `args.step_labeler` if absent.
        kwargs: passed on to `GRPOTrainer` (callbacks, optimizers, peft_config, quantization_config).

    Raises:
        ConfigError: settings contradict each other.
        DataError: the data set is empty or lacks a column.
        HeadSetError: the head set does not fit the model.
        UnsupportedModelError: a chosen layer has no softmax attention.
    """

    _tag_names: ClassVar[list[str]] = ["trl", "grpo", "attnpo"]
    _name = "AttnPO"
    _paper: dict[str, str] = PAPER

    def __init__(
        self,
        model: Any,
        args: AttnPOConfig | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: PreTrainedTokenizerBase | None = None,
        heads: str | Sequence[tuple[int, int]] | HeadSet | None = None,
        reward_funcs: list[Callable] | None = None,
        verifier: Verifier | None = None,
        labeler: Labeler | None = None,
        **kwargs: Any,
    ) -> None:
        args = args if args is not None else AttnPOConfig("attnpo-output")
        train_dataset = check_training_data(train_dataset, args.solution_column)
        if eval_dataset is not None:
            for each in eval_dataset.values() if isinstance(eval_dataset, dict) else [eval_dataset]:
                check_training_data(each, args.solution_column, "eval_dataset")
        if not isinstance(model, str):
            check_parallelism(model)
        self.credit = args.build_credit()
        if self.credit.overrides("ask"):  # a prompt of the wrong kind is refused before the model is loaded
            self.credit.ask(next(iter(train_dataset))["prompt"], group_id=0, sample=0, progress_step=0)
        if args.method != "attnpo":  # the model card names the paper of the method that was used, where it is this one
            self._name, self._paper = args.method, {}
        config = model_config(model, args) if isinstance(model, str) else model.config
        self.head_set = needed_heads(self.credit, args.method, heads if heads is not None else args.heads, config)
        self.credit_heads = self.credit.select_heads(self.head_set.heads) if self.head_set is not None else ()
        self.labeler = needed_labeler(self.credit, args, labeler)
        examine(
            RunParts(
                args,
                launched_layout(args.world_size, args.zero_stage()),
                uses_lora=kwargs.get("peft_config") is not None,
                rewards=1 + len(reward_funcs or []),
                config=config,
                tokenizer=processing_class,
                problems=len(train_dataset) if hasattr(train_dataset, "__len__") else None,
                has_eval_data=eval_dataset is not None,
            )
        ).raise_errors()
        self.verifier = verifier or build_verifier(args.verifier, args.verifier_timeout, args.verifier_workers)
        self.meter = RunMeter(PhraseFamilies.load(args.phrases_file) if args.phrases_file else PhraseFamilies.load())
        self._rollouts: list[Rollout] | None = None
        self.think_watch = ThinkWatch()
        guard = RewardGuard(args.max_reward_failures, self._note_failures)
        self._guarded_verdicts = guard.wrap(self._verdicts)
        super().__init__(
            model=model,
            reward_funcs=[self.accuracy, *map(guard.wrap, reward_funcs or [])],
            args=args,
            train_dataset=train_dataset,
            eval_dataset=with_text_solutions(eval_dataset, args.solution_column, "eval_dataset"),
            processing_class=processing_class,
            **kwargs,
        )
        check_layout(self.accelerator, self.model, args.group_sampler, args.ds3_gather_for_generation)
        if self.credit_heads:
            check_readable(self.model, self.credit_heads)
        if self.credit.overrides("state_dict"):
            self.add_callback(MethodStateCallback(self.credit))
        if self.credit.overrides("prepare"):
            self.add_callback(PreparationCallback(self.prepare_method))
        self.dropped = DroppedLog(self._own_file("dropped.jsonl"))
        own_rows = (self.rollouts_path, self.dropped.path) if args.save_rollouts else (self.dropped.path,)
        self.add_callback(RolloutsFileCallback(*own_rows))
        strategy = build_strategy(args.segmentation, args.phrases_file, args.min_step_chars)
        self.segmenter = Segmenter(self._tokenizer, strategy)
        self.checks = BackgroundChecks(
            lambda ids, in_think: self.segmenter(ids, in_think),
            lambda texts, solutions: self.verifier.verify(texts, solutions),
            self._interrupted,
        )

    def use_heads(self, heads: str | Sequence[tuple[int, int]] | HeadSet) -> None:
        """Read other heads from the next forward pass on; call it between optimizer steps, on every process.

        Args:
            heads: head set: path, `HeadSet`, or pairs (layer, head).

        Raises:
            ConfigError: the method reads no attention.
            HeadSetError: the head set does not fit the model.
            UnsupportedModelError: a chosen layer has no softmax attention.
        """
        if not self.credit.needs_scores:
            raise ConfigError(f"heads: method '{self.args.method}' reads no attention; there are none to exchange")
        head_set = resolve_heads(heads, self.model.config)
        check_readable(self.model, head_set.heads)
        self.head_set, self.credit_heads = head_set, self.credit.select_heads(head_set.heads)

    def accuracy(self, completions: list[Any], **columns: Any) -> list[float]:
        """TRL reward function: 1 for a correct response, else 0."""
        solutions = columns[self.args.solution_column]
        if self._rollouts is None:  # TRL's evaluation loop: no credit
            prompt_ids = self._tokenize_prompts(columns["prompts"])[0]
            cut = [
                self.segmenter(ids, self.segmenter.opens_think(prompt))
                for prompt, ids in zip(prompt_ids, columns["completion_ids"], strict=True)
            ]
            texts = [each.full_text for each in cut]
            return [float(ok or 0) for ok in self._guarded_verdicts(completions=texts, solutions=list(solutions))]
        if not self.credit.overrides("probe"):  # else they were verified before
            self._verify(solutions)
        return [float(bool(rollout.correct)) for rollout in self._rollouts]

    def _verify(self, solutions: Sequence[str]) -> None:
        assert self._rollouts is not None
        texts = [rollout.full_text for rollout in self._rollouts]
        verdicts = self._guarded_verdicts(completions=texts, solutions=list(solutions))
        self.checks.forget()
        self._rollouts = [replace(r, correct=bool(ok)) for r, ok in zip(self._rollouts, verdicts, strict=True)]
        if self.labeler is not None:
            self.meter.add_verified(self._rollouts, self.accelerator.device)

    def _verdicts(self, completions: list[str], solutions: list[str]) -> list[float]:
        """1 for a correct response, else 0; what had to be interrupted is wrong and counted."""
        verdicts, interrupted = self.checks.verdicts(completions, solutions)
        self._count("verifier_interrupted", interrupted, len(verdicts))
        return verdicts

    def _interrupted(self) -> int:
        return int(getattr(getattr(self.verifier, "pool", None), "interrupted", 0))

    def _count(self, name: str, count: int, of: int) -> None:
        self.meter.count(name, count, of, self.accelerator.device)

    def _note_failures(self, asked: int, failures: Sequence[RewardFailure]) -> None:
        """Count the responses that the verifier or a reward function failed on, and name their prompts."""
        self._count("reward_failures", len(failures), asked)
        rollouts = self._rollouts or []  # none in TRL's evaluation loop
        for failure in failures if rollouts else ():
            rollout = rollouts[failure.index]
            said = {"sample": rollout.sample, "function": failure.function.lstrip("_"), "error": failure.error}
            self.dropped.add(self.state.global_step, REWARD_FAILED, rollout.problem_id, rollout.prompt, **said)

    def on_ended(self, round_: GenerationRound, row: int, response_ids: Sequence[int]) -> None:
        """Let a response be segmented and verified in the background."""
        if self.args.check_in_background:
            in_think = self.segmenter.opens_think(round_.prompt_ids[row])
            self.checks.submit(response_ids, in_think, round_.rows[row][self.args.solution_column])

    def on_responses(self, round_: GenerationRound, width: int) -> None:
        """Segment the sampled ids, label steps where the truth is known, and lay both out as tensors."""
        segmented = [
            self.checks.segmented(ids, self.segmenter.opens_think(prompt), row[self.args.solution_column])
            for row, prompt, ids in zip(round_.rows, round_.prompt_ids, round_.response_ids, strict=True)
        ]
        self._rollouts = [
            self._rollout(row, row_id, ids, response, self.args.opening + ask.opening)
            for row, row_id, ids, response, ask in zip(
                round_.rows, round_.row_ids, round_.response_ids, segmented, self._asks, strict=True
            )
        ]
        device = self.accelerator.device
        layout = lay_out(self._rollouts, width, device, labelled=self.labeler is not None)
        round_.tensors.update(
            step_index=layout.step_index_BT,
            answer_mask=layout.answer_mask_BT,
            step_lengths=layout.step_lengths_BK,
            step_mask=layout.step_mask_BK,
            answer_lengths=layout.answer_lengths_B,
            prompt_lengths=torch.tensor([len(ids) for ids in round_.prompt_ids], device=device),
            response_lengths=torch.tensor([len(ids) for ids in round_.response_ids], device=device),
            row_ids=torch.tensor(round_.row_ids, device=device),
        )
        if layout.labels_BK is not None:
            round_.tensors["labels"] = layout.labels_BK
        round_.facts["answered"] = [int(r.answer_tokens[1] > r.answer_tokens[0]) for r in self._rollouts]
        noted = [self.credit.facts(rollout, ask) for rollout, ask in zip(self._rollouts, self._asks, strict=True)]
        round_.facts.update({name: [own[name] for own in noted] for name in noted[0]})
        self._method_facts += [name for name in noted[0] if name not in self._method_facts]
        if self.credit.overrides("probe"):
            self._probe(round_, layout)
        for name in self._method_facts:
            fact_B = torch.tensor(round_.facts[name], dtype=torch.float32, device=device)
            round_.tensors[f"{FACT}{name}"] = fact_B
        self.meter.add_responses(self._rollouts, layout)
        self._watch_thinking()

    def _watch_thinking(self) -> None:
        """Say at the first batch what the run lacks; the main process speaks for its own responses."""
        if self.accelerator.is_main_process and self._rollouts is not None and not self.think_watch.responses:
            self.think_watch.add(self._rollouts)
            self.think_watch.end()

    def _rollout(
        self, row: dict[str, Any], row_id: int, ids: list[int], response: SegmentedResponse, opening: str
    ) -> Rollout:
        size = self.num_generations
        rollout = Rollout(
            problem_id=str(row.get("problem_id", row_id // size)),
            prompt=row["prompt"],
            solution=str(row[self.args.solution_column]),
            sample=row_id % size,
            response_ids=tuple(ids),
            response=response.text,
            finished=self.ends_itself(ids),
            steps=response.steps,
            answer_tokens=response.answer_tokens,
            difficulty=None if row.get("difficulty") is None else str(row["difficulty"]),
            extra={"train_step": self.state.global_step},
            opening=opening,
            in_think=response.in_think,
        )
        return rollout if self.labeler is None else label_steps(self.labeler, rollout)

    def outcome_advantages(self, outcome: GatheredOutcome) -> dict[str, torch.Tensor]:
        """Rewards, advantages and pass rates of whole groups (AttnPO, Eq. 3, 4), on gathered values."""
        size = outcome.group_size
        groups = group_batch(outcome, self.state.global_step, self.max_completion_length, self._method_facts)
        self.credit.observe(groups)
        rewards_PG = self.credit.rewards(groups)
        if outcome.rewards_BF.size(1) > 1:
            weights_F = self.reward_weights.to(outcome.rewards_BF.device)
            rewards_PG = rewards_PG + (outcome.rewards_BF * weights_F)[:, 1:].nansum(dim=1).view(-1, size)
        weight = float(self.accelerator.is_main_process)
        self.meter.add_groups(groups, rewards_PG, weight, self.credit.logged_facts)
        pass_rate_B = groups.pass_rate_P.repeat_interleave(size)
        advantages_PG = self.credit.advantages(rewards_PG, groups)
        self._log_dropped(groups.correct_PG, advantages_PG)
        self._save_rollouts(pass_rate_B)
        return {
            "advantages": advantages_PG.reshape(-1),
            "correct": groups.correct_PG.reshape(-1),
            "pass_rate": pass_rate_B,
            **{
                f"{FACT}{name}": fact.flatten(0, 1)
                for name, fact in self.credit.group_facts(rewards_PG, groups).items()
            },
        }

    def step_advantages(
        self, tensors: dict[str, torch.Tensor], advantages_B: torch.Tensor, scores_BKN: torch.Tensor | None
    ) -> torch.Tensor:
        """Advantage of every token (AttnPO, Eq. 5-8), (B, T)."""
        batch = step_batch(tensors, advantages_B, scores_BKN, self.state.global_step)
        gamma_BK = self.credit.gamma(batch)
        self.meter.add_factors(batch, gamma_BK)
        advantages_BT = self.credit.spread(batch, gamma_BK, tensors["step_index"])
        self.meter.add_credit(batch, advantages_BT, tensors["step_index"])
        return advantages_BT

    def _log_dropped(self, correct_PG: torch.Tensor, advantages_PG: torch.Tensor) -> None:
        """Count the groups of zero outcome advantage; the process that holds a group's first response names it."""
        dropped = [group_reason(*each) for each in zip(correct_PG.tolist(), advantages_PG.tolist(), strict=True)]
        self.updates.note_groups(dropped)
        main = self.accelerator.is_main_process
        self._count("dropped_groups", main * sum(reason is not None for reason in dropped), main * len(dropped))
        rollouts = self._rollouts or []
        first = self.accelerator.process_index * len(rollouts)
        for group, reason in enumerate(dropped):
            row = group * self.num_generations - first
            if reason is not None and 0 <= row < len(rollouts):
                self.dropped.add(self.state.global_step, reason, rollouts[row].problem_id, rollouts[row].prompt)

    def _save_rollouts(self, pass_rate_B: torch.Tensor) -> None:
        rollouts, self._rollouts = self._rollouts, None
        if not self.args.save_rollouts or rollouts is None:
            return
        first = self.accelerator.process_index * len(rollouts)
        rates = pass_rate_B[first : first + len(rollouts)].tolist()
        rows = (replace(r, pass_rate=rate) for r, rate in zip(rollouts, rates, strict=True))
        write_rollouts(self.rollouts_path, rows, append=True)

    @property
    def rollouts_path(self) -> Path:
        """File of this process's training responses (`save_rollouts`)."""
        return self._own_file("rollouts.jsonl")

    def flush_metrics(self) -> dict[str, float]:
        """Means over all processes since the last log line."""
        means = self.meter.flush(lambda totals: self.accelerator.reduce(totals, reduction="sum"))
        return means | self.credit.metrics() | {"skipped_updates": float(self.nan_guard.skipped)}
