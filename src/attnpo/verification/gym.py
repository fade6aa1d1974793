"""The scorers of the `reasoning-gym` package as a verifier: `attnpo.verification.gym:is_correct`."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from attnpo.errors import ConfigError, DataError, install_command
from attnpo.think import final_answer
from attnpo.verification.answer import boxed_answer

try:
    import reasoning_gym
except ImportError as error:
    raise ConfigError(f"reasoning-gym is not installed; {install_command('reasoning-gym')}") from error

_TAGGED = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_FULL_SCORE = 1.0 - 1e-9


def is_correct(response: str, solution: str) -> bool:
    r"""Return whether the task's scorer gives the response's answer full marks.

    The answer is what stands in the last `<answer>…</answer>` after the think part, else in the last `\boxed{…}`.

    Args:
        response: the whole response.
        solution: the task and its entry, as `encode_solution` writes them.
    """
    answer = stated_answer(response)
    if answer is None:
        return False
    task, config, entry = decode_solution(solution)
    scorer = _scorer(task, json.dumps(config, sort_keys=True))
    try:
        score = scorer.score_answer(answer, entry)
    except Exception:  # a scorer that chokes on what a model wrote has not found a right answer
        return False
    return bool(score >= _FULL_SCORE)


def stated_answer(response: str) -> str | None:
    """Return the answer that a response states, None where there is none; majority votes count it."""
    text = final_answer(response)
    if text is None:
        return None
    tagged = _TAGGED.findall(text)
    return tagged[-1].strip() if tagged else boxed_answer(text)


def encode_solution(task: str, config: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    """Return a task's entry as JSON text from which `decode_solution` gets the very same values.

    Raises:
        DataError: the entry holds a value of a kind that JSON text cannot stand for.
    """
    try:
        return json.dumps({"task": task, "config": config, "entry": _encode(dict(entry))}, ensure_ascii=False)
    except TypeError as error:
        raise DataError(f"reasoning-gym: an entry of {task} cannot be written as JSON ({error})") from error


def decode_solution(solution: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return task, settings of its generator, and entry."""
    document = json.loads(solution)
    return document["task"], document["config"], _decode(document["entry"])


@lru_cache(maxsize=32)
def _scorer(task: str, config: str) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        return reasoning_gym.create_dataset(task, size=1, seed=0, **json.loads(config))


def _encode(value: Any) -> Any:
    """Scorers tell tuples from lists and number keys from text keys, which plain JSON does not."""
    if isinstance(value, dict):
        if all(type(key) is str for key in value) and not value.keys() & {"$tuple", "$dict"}:
            return {key: _encode(item) for key, item in value.items()}
        return {"$dict": [[_encode(key), _encode(item)] for key, item in value.items()]}
    if isinstance(value, tuple):
        return {"$tuple": [_encode(item) for item in value]}
    if isinstance(value, list):
        return [_encode(item) for item in value]
    # numpy's scalars
    return value.item() if hasattr(value, "item") else value


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "$tuple" in value:
        return tuple(_decode(item) for item in value["$tuple"])
    if "$dict" in value:
        return {_decode(key): _decode(item) for key, item in value["$dict"]}
    return {key: _decode(item) for key, item in value.items()}
