"""Sampling from the policy that is being trained, in evaluation mode, with sharded parameters put together."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

from attnpo.credit import Continuation, Policy
from attnpo.credit.seeding import stream
from attnpo.sampling import SampledResponse, TransformersSampler
from attnpo.training.budget import TokenCount
from attnpo.training.policy import PolicyDraws, build_policy, sampling_params
from attnpo.training.resampling import MOST_TRIES, DrawnAgain, settle
from attnpo.training.rounds import Round, problem_key
from attnpo.training.sharding import model_to_sample


class PolicySampler:
    """Draws responses from a trainer's policy (`group_sampler`), for the run and for its method.

    Args:
        trainer: the `AttnPOTrainer`; its `drawn_tokens` count what is drawn.
        tokenizer: the model's.
    """

    def __init__(self, trainer: Any, tokenizer: Any) -> None:
        self.trainer, self.tokenizer = trainer, tokenizer

    @contextmanager
    def draws(
        self,
        prompt_ids: Sequence[Sequence[int]],
        group_ids: Sequence[int],
        *,
        extra: bool = False,
        call: int = 0,
        model: Any = None,
    ) -> Iterator[PolicyDraws]:
        """Draw from the policy.

        Args:
            prompt_ids: what the model reads, a row each.
            group_ids: number of each row's group within the run.
            extra: whether what is drawn goes beyond the responses that are trained on.
            call: how often these groups were drawn from before.
            model: what `model_to_sample` gave, where that is entered already.
        """
        trainer = self.trainer
        training = trainer.model.training or model is not None  # entered before, it is in evaluation mode
        longest = trainer.max_completion_length
        limit = trainer.credit.response_limit(trainer.state.global_step) if training else None
        params = sampling_params(trainer, min(longest, limit or longest))
        count = trainer.drawn_tokens if training else TokenCount()
        attention, rows = trainer.args.sampler_attn_implementation, max(128, len(prompt_ids))
        with self._model() if model is None else nullcontext(model) as ready:
            sampler = TransformersSampler(ready, self.tokenizer, rows=rows, attn_implementation=attention)
            yield PolicyDraws(sampler, params, prompt_ids, group_ids, count, extra, call)

    @contextmanager
    def policy(
        self, prompt_ids: Sequence[Sequence[int]], group_ids: Sequence[int], *, extra: bool = False
    ) -> Iterator[Policy]:
        """Give a method the policy; arguments as of `draws`."""
        with self.draws(prompt_ids, group_ids, extra=extra) as draws:
            yield self._policy(draws)

    def draw_free(self, prompt_ids: Sequence[Sequence[int]], first: int, group_size: int) -> list[list[int]]:
        """Return the ids of a free response to each prompt, the first being response `first` of the run."""
        numbers = range(first, first + len(prompt_ids))
        with self.draws(prompt_ids, [number // group_size for number in numbers]) as draws:
            limit = draws.params.max_new_tokens
            free = [Continuation(i, limit, sample=number % group_size) for i, number in enumerate(numbers)]
            return [response.ids for response in draws(free)]

    def draw_round(
        self, round_: Round, prompt_ids: list[list[int]], attempt: int = 0, model: Any = None
    ) -> list[SampledResponse]:
        """Let a round draw its responses; `attempt` says how often its groups were drawn before."""
        with self.draws(prompt_ids, round_.group_ids, call=attempt, model=model) as draws:
            if not self.trainer.credit.overrides("sample"):  # other methods go on from what they draw first
                draws.on_ended = lambda item, response: round_.ended(item.row, response.ids)
            return round_.draw(self._policy(draws), prompt_ids, draws.params.max_new_tokens)

    def settle(self, round_: Round) -> DrawnAgain:
        """Draw a round, groups without advantage again (`attnpo.training.resampling`); turns the trainer to each.

        Sharded parameters are put together once: processes draw again as often as each has to.
        """
        trainer = self.trainer

        def draw(model: Any, drawn: Round, attempt: int) -> None:
            trainer.turn_to(drawn)
            prompt_ids = trainer.prompt_ids([row["prompt"] for row in drawn.rows])
            drawn.take(prompt_ids, [response.ids for response in self.draw_round(drawn, prompt_ids, attempt, model)])

        def other_row(group_id: int, attempt: int, taken: Collection[str]) -> dict[str, Any] | None:
            rng, size = stream("resample", trainer.args.seed, group_id, attempt), len(trainer.train_dataset)
            rows = (dict(trainer.train_dataset[rng.randrange(size)]) for _ in range(MOST_TRIES))
            return next((row for row in rows if problem_key(row) not in taken), None)

        with self._model() as model:
            return settle(round_, partial(draw, model), other_row, trainer.credit.settings.resample_groups)

    def _model(self) -> Any:
        return model_to_sample(self.trainer.model_wrapped, self.trainer.accelerator, self.trainer.args)

    def _policy(self, draws: PolicyDraws) -> Policy:
        trainer = self.trainer
        return build_policy(draws, trainer.segmenter, trainer.verifier.verify, trainer.args.per_device_train_batch_size)
