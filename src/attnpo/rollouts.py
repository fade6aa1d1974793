"""What travels through every room: a problem, a sampled response, its steps, its verdict; and its JSON Lines form.

One row of the JSON Lines form is one response. `discover`, `train`, `evaluate` and `inspect` read and write it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from attnpo.errors import DataError
from attnpo.files import UserFile, whole_characters
from attnpo.think import full_text, has_think_part

ROLLOUTS_FILE = "rollouts.jsonl"
"""Responses that an evaluation is of."""
ANNOTATED_FILE = "annotated.jsonl"
"""Traces with their step scores, beside an evaluation."""

StepLabel = Literal["essential", "redundant", "undecided"]
StepFamily = Literal["confused", "progression", "summary", "final", "plain"]
Prompt = str | list[dict[str, str]]
"""A prompt: plain text, or chat messages with `role` and `content`."""
Span = tuple[int, int]
"""Half-open range `[start, end)`."""
_TokenId = Annotated[int, Field(ge=0, lt=2**31)]
# Rows of a file hold these fields, in these types, and no others.
_AS_STATED = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True)
class Step:
    """One reasoning step of a response.

    Attributes:
        chars: span of characters in the response text.
        tokens: span of positions in `response_ids`; empty when no token starts inside the step.
        family: which phrase family opened it (`plain` when none did).
        label: whether the answer needed it, where known.
        score: step score S(s_k) (AttnPO, Eq. 2), where computed.
        gamma: factor on the advantage (AttnPO, Eq. 5), where computed.
        signals: scores of rival step signals by name, on the scale of `score`, where computed.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _AS_STATED

    chars: Span
    tokens: Span
    family: StepFamily = "plain"
    label: StepLabel | None = None
    score: float | None = None
    gamma: float | None = None
    signals: Mapping[str, float] | None = None


@dataclass(frozen=True)
class SegmentedResponse:
    """A response cut into steps and final answer.

    Attributes:
        text: decoded text of the response ids, special end tokens left out.
        n_tokens: number of sampled ids, the end token included.
        steps: the steps; their character spans tile `think_chars` exactly.
        think_chars: span of the think part in `text` (without its tags); empty where there is none.
        answer_chars: span of the final answer F in `text`; empty where the think part was never closed, all of it where
            there is none.
        answer_tokens: the final answer's span in the response ids; end and padding tokens excluded.
        closed: whether `</think>` was found.
        in_think: whether the prompt left a think part open, so that the response begins inside it.
    """

    text: str
    n_tokens: int
    steps: tuple[Step, ...]
    think_chars: Span
    answer_chars: Span
    answer_tokens: Span
    closed: bool
    in_think: bool = True

    @property
    def full_text(self) -> str:
        """The text with the `<think>` that the prompt opened: what verifiers read."""
        return full_text(self.text, self.in_think)


@dataclass(frozen=True)
class Rollout:
    """One sampled response to one problem, with everything later rooms learn about it.

    Attributes:
        problem_id: id of the problem; responses with the same id are one group.
        prompt: the prompt as given in the data set.
        solution: the reference answer.
        sample: index of the response within its group.
        response_ids: the sampled token ids, end token included where one was sampled.
        response: decoded text of `response_ids`.
        finished: True when the model ended the response itself, False when the token limit cut it.
        correct: the verdict, None before verification.
        steps: the reasoning steps.
        answer_tokens: span of the final answer F in `response_ids`.
        difficulty: difficulty or level of the problem, where the data set has one.
        subject: subject of the problem, where the data set has one.
        answer: the answer the verifier read out of the response, in a normal form that equal answers share; None where
            there is none.
        pass_rate: share of the group that is correct, where known.
        advantage: the response's outcome advantage A_i (AttnPO, Eq. 4), where known.
        extra: further columns of the data set row that labellers may need.
        opening: text that stood behind the generation prompt, as part of the prompt.
        in_think: whether prompt and opening left a think part open, so that the response begins inside it.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _AS_STATED

    problem_id: str
    prompt: Prompt
    solution: str
    sample: Annotated[int, Field(ge=0)]
    response_ids: tuple[_TokenId, ...]
    response: str
    finished: bool
    correct: bool | None = None
    steps: tuple[Step, ...] = ()
    answer_tokens: Span = (0, 0)
    difficulty: str | None = None
    subject: str | None = None
    answer: str | None = None
    pass_rate: Annotated[float, Field(ge=0, le=1)] | None = None
    advantage: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    opening: str = ""
    in_think: bool = True

    @property
    def full_text(self) -> str:
        """The response with the `<think>` that its prompt opened: what verifiers read."""
        return full_text(self.response, self.in_think)

    @property
    def has_think_part(self) -> bool:
        """Whether any of the response is thinking."""
        return has_think_part(self.response, self.in_think)

    @property
    def n_tokens(self) -> int:
        """Response length |o| in tokens, end token included."""
        return len(self.response_ids)

    def with_segmentation(self, segmented: SegmentedResponse) -> Rollout:
        """Return a copy that carries the steps and answer span of `segmented`."""
        return replace(
            self,
            response=segmented.text,
            steps=segmented.steps,
            answer_tokens=segmented.answer_tokens,
            in_think=segmented.in_think,
        )

    def to_json(self) -> str:
        """Return the row as one line of JSON."""
        row = asdict(self)
        for step in row["steps"]:
            if step["signals"] is None:
                del step["signals"]
        if not self.opening:
            del row["opening"]
        if self.in_think:
            del row["in_think"]
        # What a caller's prompt, a verifier's answer or a server's reason may hold half a character of.
        return whole_characters(json.dumps(row, ensure_ascii=False))

    @classmethod
    def from_json(cls, line: str, where: str = "rollout") -> Rollout:
        """Parse one line of JSON.

        Args:
            line: the line.
            where: name of file and row for the error message.

        Raises:
            DataError: the line is not JSON, lacks a field, has an unknown one or one of another type, or its spans do
                not lie one behind the other in the response.
        """
        try:
            rollout = _ROW.validate_json(_whole_line(line))
        except ValidationError as error:
            problem: str | None = _first_problem(error)
        else:
            problem = _misfit(rollout)
        if problem is not None:
            raise DataError(f"{where}: not a rollout row ({problem}); write it with `attnpo evaluate` or `discover`")
        return rollout


_ROW = TypeAdapter(Rollout)
_MAYBE_HALF = re.compile(r"\\u[dD][89a-fA-F]")


def _whole_line(line: str) -> str:
    """Return a line of JSON with U+FFFD for half a character, which Python's JSON writes and others do not read."""
    if not _MAYBE_HALF.search(line):
        return line
    try:
        return whole_characters(json.dumps(json.loads(line), ensure_ascii=False))
    except (ValueError, RecursionError):
        return line


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    message = " ".join(first["msg"].split())
    if "recursion limit" in message:
        message = "nested too deeply"
    elif first["type"] == "unexpected_keyword_argument":
        message = "there is no such field"
    elif first["type"] not in ("json_invalid", "missing", "missing_argument"):
        message += f", is {first['input']!r:.60}"
    return ": ".join([*filter(None, [".".join(map(str, first["loc"]))]), message])


def _misfit(rollout: Rollout) -> str | None:
    """Return what of a row contradicts the rest of it, None where nothing does."""
    if not isinstance(rollout.prompt, str) and not all({"role", "content"} <= part.keys() for part in rollout.prompt):
        return "prompt: a message lacks role or content"
    steps, n_tokens = rollout.steps, rollout.n_tokens
    problem = _misplaced("chars", [step.chars for step in steps], len(rollout.response), "characters")
    problem = problem or _misplaced("tokens", [step.tokens for step in steps], n_tokens, "tokens")
    if problem is not None:
        return problem
    start, end = rollout.answer_tokens
    if not 0 <= start <= end <= n_tokens:
        return f"answer_tokens: [{start}, {end}] is no span of the response's {n_tokens} tokens"
    if start < end and steps and start < steps[-1].tokens[1]:
        return f"answer_tokens: [{start}, {end}] overlaps the last step's tokens {list(steps[-1].tokens)}"
    return None


def _misplaced(name: str, spans: Sequence[Span], length: int, unit: str) -> str | None:
    before = 0
    for number, (start, end) in enumerate(spans):
        if not 0 <= start <= end <= length:
            return f"steps.{number}.{name}: [{start}, {end}] is no span of the response's {length} {unit}"
        if start < before:
            return f"steps.{number}.{name}: [{start}, {end}] begins before the end of step {number - 1}, {before}"
        before = end
    return None


def prompt_text(prompt: Prompt) -> str:
    """Return the prompt as one text: itself, or the contents of its messages joined by blank lines."""
    return prompt if isinstance(prompt, str) else "\n\n".join(message["content"] for message in prompt)


def check_token_ids(rollouts: Iterable[Rollout], vocabulary: int) -> None:
    """Check that a model knows the tokens of responses, before it is given them.

    Args:
        rollouts: the responses.
        vocabulary: how many tokens the model knows.

    Raises:
        DataError: an id is beyond them; names the response.
    """
    for rollout in rollouts:
        largest = max(rollout.response_ids, default=0)
        if largest >= vocabulary:
            raise DataError(
                f"response_ids of problem {rollout.problem_id!r}, sample {rollout.sample}: {largest} is no token of "
                f"this model, which has {vocabulary:,}; give the model that the responses were sampled with"
            )


def write_rollouts(path: Path, rollouts: Iterable[Rollout], append: bool = False) -> None:
    """Write rollouts as JSON Lines, one a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a" if append else "w", encoding="utf-8") as file:
        for rollout in rollouts:
            file.write(rollout.to_json() + "\n")


def read_rollouts(path: Path) -> Iterator[Rollout]:
    """Yield the rollouts of a JSON Lines file.

    Raises:
        DataError: the file is missing, a row is malformed, or holds the same response as another: of one problem, with
            one sample number, and of one training step where rows name theirs (the message names row and field).
    """
    return (rollout for _, rollout in placed_rollouts(path))


def placed_rollouts(path: Path) -> Iterator[tuple[str, Rollout]]:
    """Yield `(file and row, rollout)` of each row of a JSON Lines file; errors as in `read_rollouts`."""
    seen: dict[tuple[str, int, Any], str] = {}
    for where, line in UserFile(path, "rollouts file").lines():
        rollout = Rollout.from_json(line, where)
        # Training meets a problem again in later steps.
        key = (rollout.problem_id, rollout.sample, str(rollout.extra.get("train_step")))
        if (first := seen.setdefault(key, where)) != where:
            raise DataError(
                f"{where}: problem_id {rollout.problem_id!r} and sample {rollout.sample} are those of "
                f"{first.rpartition(', ')[2]}; remove one of the rows"
            )
        yield where, rollout
