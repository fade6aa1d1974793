"""What the card says of accuracy and tokens, before and after."""

from __future__ import annotations

from collections.abc import Sequence

from attnpo.evaluation.result import EvaluationResult
from attnpo.metrics import METRICS
from attnpo.reporting.card.facts import BeforeAfter
from attnpo.reporting.wording import plural
from attnpo.tables import Table, number_of

METRICS_SHOWN = ("accuracy", "response_tokens", "think_tokens", "steps", "redundant_steps", "truncated")


def results_section(measured: Sequence[BeforeAfter]) -> str:
    """Return the section on results, in Markdown."""
    if not measured:
        return (
            "**Missing:** this model has not been evaluated. `attnpo evaluate --model THIS_FOLDER --output_dir "
            "THIS_FOLDER …` measures it, `attnpo card THIS_FOLDER` then writes this card anew."
        )
    return "\n\n".join(_one(each) for each in measured) + (
        "\n\nValues with 95 % intervals by bootstrap over problems; one training run, so how far another seed would "
        "move them is not in the intervals."
    )


def _one(measured: BeforeAfter) -> str:
    after, before, difference = measured.after, measured.before, measured.difference
    problems = plural(after.num_problems, "problem")
    limit = after.sampling.get("max_new_tokens")
    lines = [
        f"### {measured.title}",
        "",
        f"{problems}, {plural(after.samples_per_problem, 'response')} each, temperature "
        f"{after.sampling.get('temperature', '?')}, at most {limit} tokens."
        + ("" if after.complete else " **Not complete: the engine went away.**"),
        "",
    ]
    rows = []
    for name in METRICS_SHOWN:
        now = getattr(after.overall, name)
        then = None if before is None else getattr(before.overall, name)
        change = None if difference is None else difference.differences.get(name)
        if now is not None:
            rows.append((METRICS[name].row, *(number_of(name, value) for value in (then, now, change))))
    lines.append(Table.of("", ("", "before", "after", "difference"), rows).markdown())
    said = []
    if difference is not None:
        if difference.response_tokens_saved is not None:
            said.append(f"Tokens saved: {difference.response_tokens_saved.format(1, 100)} %.")
        if difference.efficiency is not None:
            said.append(f"Accuracy–Efficiency Score: {difference.efficiency.format(2)}.")
    if before is None:
        said.append(
            "**Missing:** the model that training started from was not measured on these problems; `attnpo card "
            "THIS_FOLDER --base ITS_EVALUATION` adds it."
        )
    elif difference is None:
        said.append(f"**No difference:** {measured.why_not}.")
    if not _exact(after, before):
        said.append("Lengths are those of the text tokenized again, not of the sampled tokens.")
    for name, result in (("after", after), ("before", before)):
        if result is not None and result.failures_said:
            said.append(f"Of the model {name} training, {result.failures_said}.")
    return "\n".join([*lines, "", " ".join(said)]).rstrip()


def _exact(*results: EvaluationResult | None) -> bool:
    return all(result is None or result.exact_token_counts for result in results)
