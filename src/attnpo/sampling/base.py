"""One interface over every engine that samples responses."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Protocol

from attnpo.ranges import AtLeast1, Count, Positive, PositiveShare, Seed, Share, Temperature, check_settings
from attnpo.rollouts import Prompt


@dataclass(frozen=True)
class SamplingParams:
    """How responses are drawn.

    Attributes:
        max_new_tokens: limit on the response, in tokens, end token included.
        temperature: softmax temperature; 0 takes the most likely token.
        top_p: nucleus: smallest set of tokens whose probability reaches it; 1 keeps all.
        top_k: how many of the most likely tokens to keep; 0 keeps all.
        seed: a response depends on the seed, its prompt's key and its sample number only, not on how requests are
            batched.
        min_p: tokens less likely than this share of the most likely one are left out; 0 keeps all.
        repetition_penalty: divides the logits of tokens that prompt or response hold already; 1 changes nothing.
        extra: further settings by transformers' names; `honoured.KWARGS` says which engine takes which.
    """

    max_new_tokens: AtLeast1
    temperature: Temperature = 1.0
    top_p: PositiveShare = 1.0
    top_k: Count = 0
    seed: Seed = 0
    min_p: Share = 0.0
    repetition_penalty: Positive = 1.0
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_settings(self)

    @classmethod
    def of(cls, settings: Any) -> SamplingParams:
        """Return those that settings hold under the same names."""
        return cls(**{entry.name: getattr(settings, entry.name) for entry in fields(cls) if entry.name != "extra"})

    def own(self) -> dict[str, Any]:
        """Return the settings that the run gives by name, for `honoured.check_own`."""
        names = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
        return {name: getattr(self, name) for name in names}

    def as_settings(self) -> dict[str, Any]:
        """Return the settings as JSON values for results; those of which most runs know nothing only where they act."""
        off = {"min_p": 0.0, "repetition_penalty": 1.0, "extra": {}}
        return {name: value for name, value in asdict(self).items() if name not in off or value != off[name]}


def request_key(name: str) -> int:
    """Return the `key` of what is drawn under a name, such as a problem's id: 63 bits of a hash of it."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


@dataclass(frozen=True)
class SampleRequest:
    """One response asked of an engine.

    Attributes:
        prompt: the prompt as the data set gives it.
        prompt_ids: the token ids the model reads, as `render_prompt` makes them.
        key: a stable number of the prompt: with the seed and `sample` it decides what is drawn.
        sample: index of the response among those to this prompt.
    """

    prompt: Prompt
    prompt_ids: tuple[int, ...]
    key: int
    sample: int


@dataclass(frozen=True)
class SampledResponse:
    """One response.

    Attributes:
        ids: the sampled token ids, the end token included where one was sampled. An engine that reports text alone
            gives the ids its tokenizer makes of the text.
        finished: True when the model ended the response itself, False when a limit cut it.
        exact_ids: False where `ids` were made from text that the engine reported.
        in_think: whether the response begins inside a think part, where the engine knows better than its prompt tells
            (a server that reports an answer without reasoning); None leaves it to the prompt.
        failure: why there is no response of use, where asking again would change nothing (a content filter); it counts
            as wrong.
        tokens: how many tokens the engine counts, where the ids were made from text; None leaves it to them.
    """

    ids: list[int]
    finished: bool
    exact_ids: bool = True
    in_think: bool | None = None
    failure: str | None = None
    tokens: int | None = field(default=None, compare=False)

    @property
    def n_tokens(self) -> int:
        """Number of sampled tokens, as far as it is known."""
        return len(self.ids) if self.tokens is None else self.tokens


class Sampler(Protocol):
    """An engine that draws responses."""

    def sample(
        self, requests: Sequence[SampleRequest], params: SamplingParams
    ) -> Iterator[tuple[int, SampledResponse]]:
        """Yield `(index of the request, its response)`, each as soon as it is finished, in any order.

        Requests to the same prompt stand next to one another. What was drawn for a request does not depend on which
        other requests are made with it, where the engine allows that (servers may not keep a seed).

        Args:
            requests: the responses wanted.
            params: how to draw.

        Raises:
            EngineError: the engine is gone and stays so.
        """
        ...

    def close(self) -> None:
        """Give back what is held: an engine's memory, connections; nothing where a model is another's.

        A sampler that is closed is not asked again.
        """
        ...
