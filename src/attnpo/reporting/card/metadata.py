"""The card's head for the Hub: base model, data set, results. The license stays the user's to choose."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from attnpo.reporting.card.facts import BeforeAfter, CardFacts

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
KEPT = ("license", "license_name", "license_link", "language", "thumbnail")
"""What a user may have written into the card's head and stays when the card is made anew."""


def card_data(facts: CardFacts, written: dict[str, Any] | None = None) -> ModelCardData:
    """Return the metadata.

    Args:
        facts: what the folder holds.
        written: metadata of the card that is there already; fields of `KEPT` and further tags stay.
    """
    record, written = facts.record, written or {}
    dataset = hub_id((record.data or "").partition(":")[0])
    return ModelCardData(
        base_model=hub_id(record.model),
        datasets=[dataset] if dataset else None,
        library_name="peft" if record.adapter else "transformers",
        pipeline_tag="text-generation",
        tags=list(dict.fromkeys([*record.tags, *(written.get("tags") or [])])),
        model_name=record.name,
        eval_results=[result for measured in facts.measured for result in _results(measured)] or None,
        ignore_metadata_errors=False,
        **{name: written[name] for name in KEPT if name in written},
    )


def hub_id(name: str | None) -> str | None:
    """Return a name that can be an id of the Hub and is no local path; None otherwise."""
    return name if name and HUB_ID.fullmatch(name) and not Path(name).exists() else None


def _results(measured: BeforeAfter) -> list[EvalResult]:
    after = measured.after
    about = after.benchmark or {}
    source = str(about.get("dataset") or after.dataset)
    values = (
        ("accuracy", "Accuracy, %", 100 * after.overall.accuracy.value),
        ("response_tokens", "Mean response length, tokens", after.overall.response_tokens.value),
    )
    return [
        EvalResult(
            task_type="text-generation",
            task_name="Reasoning",
            dataset_type=source,
            dataset_name=measured.title,
            dataset_revision=about.get("revision"),
            metric_type=kind,
            metric_name=name,
            metric_value=round(value, 2),
        )
        for kind, name, value in values
    ]
