"""What two runs must have in common before their numbers may be set beside each other."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from attnpo.errors import ConfigError, DataError
from attnpo.evaluation.result import EvaluationResult

FREE = (
    "model",
    "model_fingerprint",
    "revision",
    "weights",
    *(f"served.{fact}" for fact in ("id", "root", "parent", "meta", "model", "model_path", "revision", "weights")),
    "dataset",
    "benchmark",
    "sampling.seed",
    "engine.served_model",
    "engine.seed",
)
"""What may differ: the model is what is compared, whoever tells its weights, seeds are repetitions, and names of a data
set say nothing that the fingerprints of its problems and prompts do not. `engine.seed` only words what the engine
promises of seeds."""
VERSIONS = ("engine.transformers", "engine.torch", "engine.vllm", "served.version")
"""What may differ and is told: other versions of the engine's libraries, or of the server, draw from the same
distribution."""
MEANING = {
    "problems": "ids, prompts and reference answers of the problems",
    "prompts": "the prompts as the model reads them: template or tokenizer",
    "opening": "text behind the generation prompt",
    "samples": "responses a problem",
    "phrases": "the phrase families of --phrases_file",
    "dtype": "the type that the model is computed in, see --dtype",
    "verifier_source": "the file that the verifier is written in",
    "labeler_source": "the file that the labeler is written in",
    "counter": "what counted beyond lengths, steps and phrases",
    "complete": "whether all problems are finished",
    "exact_token_counts": "whether lengths count sampled tokens, or text tokenized again",
}
OPTIONAL = ("counter", "dtype", "verifier_source", "labeler_source")
"""What may be absent beside any value: a run that counted nothing more is measured like one that did, and the others
are not known of evaluations by earlier versions, the type not of servers either."""
_NOT_RECORDED = "not recorded"
_LONGEST = 48


def conditions(result: EvaluationResult) -> dict[str, Any]:
    """Return everything that must not differ between runs, nested settings under dotted names."""
    # A file of version 1 holds no fingerprint of its problems: the name of the data set stands for it.
    settings = result.settings or {
        "problems": f"{result.num_problems} of {result.dataset}",
        "samples": result.samples_per_problem,
        "sampling": result.sampling,
    }
    flat = dict(_flat(settings))
    flat["complete"] = result.complete
    flat["exact_token_counts"] = result.exact_token_counts
    if result.counter is not None:
        flat["counter"] = result.counter
    return {name: value for name, value in flat.items() if not _covers(FREE, name)}


def check_comparable(results: Mapping[str, EvaluationResult], allow: Collection[str] = ()) -> list[str]:
    """Check that runs were made under the same conditions.

    Args:
        results: the runs, by the name an error message should give them; the first is what the others are held against.
        allow: settings that may differ; a name covers what is nested in it (`sampling` covers `sampling.top_p`).

    Returns:
        One sentence for each setting that differs and was allowed to, and for each version of a library that differs.

    Raises:
        DataError: settings differ that may not; the message lists all of them with their values.
        ConfigError: `allow` names a setting that no run has.
    """
    found = {label: conditions(result) for label, result in results.items()}
    names = sorted({name for values in found.values() for name in values})
    _check_allowed(allow, names)
    differing = {name: _say(name, found) for name in names if _differs(found, name)}
    # A run that is not finished is no basis, even where the others are not finished either.
    unfinished = [label for label, values in found.items() if not values["complete"]]
    if unfinished and "complete" not in differing:
        differing["complete"] = f"complete is false in {', '.join(unfinished)}"
    refused = [name for name in differing if not _covers((*allow, *VERSIONS), name)]
    if refused:
        raise DataError(
            f"the runs are not comparable: {'; '.join(differing[name] for name in refused)}; evaluate them alike, or "
            f"accept the difference with --allow {','.join(refused)}"
        )
    return [f"{text}." for text in differing.values()]


def failure_caveats(results: Mapping[str, EvaluationResult]) -> list[str]:
    """Return one sentence for each run that has responses which came to nothing.

    Args:
        results: the runs, by the name a sentence should give them.
    """
    return [f"{label}: {result.failures_said}." for label, result in results.items() if result.failures_said]


def _differs(found: Mapping[str, Mapping[str, Any]], name: str) -> bool:
    texts = {_text(values, name) for values in found.values()}
    return len(texts - {_NOT_RECORDED} if name in OPTIONAL else texts) > 1


def _say(name: str, found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return `samples (responses a problem) is 4 in base, 2 in a and b`."""
    by_value: dict[str, list[str]] = {}
    for label, values in found.items():
        by_value.setdefault(_text(values, name), []).append(label)
    said = ", ".join(f"{_short(value)} in {' and '.join(labels)}" for value, labels in by_value.items())
    meaning = f" ({MEANING[name]})" if name in MEANING else ""
    return f"{name}{meaning} is {said}"


def _text(values: Mapping[str, Any], name: str) -> str:
    return json.dumps(values[name], ensure_ascii=False) if name in values else _NOT_RECORDED


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _covers(names: Collection[str], setting: str) -> bool:
    return any(setting == name or setting.startswith(f"{name}.") for name in names)


def _check_allowed(allow: Collection[str], names: Collection[str]) -> None:
    for name in allow:
        if not any(_covers((name,), setting) for setting in names) and not _covers(FREE, name):
            near = difflib.get_close_matches(name, names, n=3) or sorted(names)
            raise ConfigError(f"--allow {name}: no run has such a setting; there are {', '.join(near)}")
