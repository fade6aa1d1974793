"""What a run is made of, as far as it can be read without its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from attnpo.rollouts import Prompt
from attnpo.training.config import AttnPOConfig
from attnpo.training.estimate import Layout


@dataclass
class RunParts:
    """What is checked; None is what is not known, and what depends on it is not checked.

    Attributes:
        args: the settings.
        layout: processes and what they share out.
        here: whether the run takes place on this machine; what another one lacks cannot be known, and is a note.
        uses_lora: whether adapters are trained.
        rewards: reward functions, the verifier's among them.
        config: the model's configuration.
        model: the model without weights.
        tokenizer: the model's.
        problems: training problems, those left out not counted.
        is_stream: whether problems come one after the other, none of them by its number.
        prompts: their prompts, or some of them.
        has_eval_data: whether there are problems for evaluations while training.
        max_prompt_tokens: prompts above it were left out.
    """

    args: AttnPOConfig
    layout: Layout
    here: bool = True
    uses_lora: bool = False
    rewards: int = 1
    config: Any = None
    model: Any = None
    tokenizer: Any = None
    problems: int | None = None
    is_stream: bool = False
    prompts: Sequence[Prompt] = ()
    has_eval_data: bool = False
    max_prompt_tokens: int | None = None

    @property
    def model_options(self) -> dict[str, Any]:
        """`model_init_kwargs` as values by name."""
        return self.args.model_options()
