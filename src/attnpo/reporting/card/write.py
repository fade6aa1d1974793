"""The card as a whole: its parts in order, and the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import ModelCard

from attnpo.attention import HeadSet
from attnpo.credit.methods import find_preset, method_class
from attnpo.errors import DataError, OutputError, one_line
from attnpo.files import UserFile
from attnpo.output import write_atomically
from attnpo.reporting.card.citation import citations
from attnpo.reporting.card.facts import CardFacts, read_facts
from attnpo.reporting.card.figures import draw_figures
from attnpo.reporting.card.heads import heads_section
from attnpo.reporting.card.metadata import card_data, hub_id
from attnpo.reporting.card.results import results_section
from attnpo.reporting.wording import plural
from attnpo.tables import Table
from attnpo.training.record import TrainingRecord

FILE = "README.md"
KEPT_BELOW = "<!-- What you write below this line stays when the card is made anew. -->"
ALTERNATIVES = {
    "frontier": "Accuracy against tokens a response, with 95 % intervals",
    "training": "What training logged against optimizer steps",
    "stability": "SRA of the heads and correlation of their scores with the start, along training",
}


def write_model_card(folder: Path | str, base: Path | str | None = None) -> Path:
    """Write `README.md` and its figures into the folder of a run.

    Args:
        folder: `output_dir` of `attnpo train`.
        base: evaluation folder (or file) of the model that training started from; `base` in or beside the folder if
            absent.

    Raises:
        DataError: the folder is no run's, or a file in it is malformed.
        OutputError: the card or a figure cannot be written.
    """
    folder = Path(folder)
    facts = read_facts(folder, None if base is None else Path(base))
    written, notes = _written(folder / FILE)
    text = model_card_text(facts, draw_figures(facts), written, notes)
    try:
        write_atomically(folder / FILE, text)
    except OSError as error:
        raise OutputError(f"{folder / FILE}: cannot be written ({error.strerror}); choose another folder") from error
    return folder / FILE


def model_card_text(
    facts: CardFacts, figures: Mapping[str, str], written: Mapping[str, Any] | None = None, notes: str = ""
) -> str:
    """Return the card.

    Args:
        facts: what the folder holds.
        figures: name of a figure → its path relative to the card.
        written: metadata of the card that is there already.
        notes: what the user wrote at its end.
    """
    record = facts.record
    images = {name: f"![{ALTERNATIVES[name]}]({path})" for name, path in figures.items()}
    curves = images.get("training", "**Missing:** training curves; nothing was logged at two steps or more.")
    sections = {
        "Accuracy and tokens, before and after": _joined(results_section(facts.measured), images.get("frontier")),
        "Use": _use(record),
        "Method": _method(record),
        "Heads": _joined(
            heads_section(record.head_set, facts.stability, record.settings.get("signal")), images.get("stability")
        ),
        "Training": _joined(_training(record), curves),
        "Citation": citations(record),
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    head = card_data(facts, dict(written or {})).to_yaml()
    return f"---\n{head}\n---\n\n# {record.name}\n\n{_opening(record)}\n\n{body}\n\n{KEPT_BELOW}\n{notes}"


def _opening(record: TrainingRecord) -> str:
    source = _linked(record.model) if record.model else "a model of unrecorded name"
    data = f" on {_linked((record.data or '').partition(':')[0], 'datasets/')}" if record.data else ""
    card = method_class(record.method)
    named = card.paper if card.arxiv is None else f"[{card.paper}](https://arxiv.org/abs/{card.arxiv})"
    kind = "A LoRA adapter for" if record.adapter else "Fine-tuned from"
    return f"{kind} {source}{data} by reinforcement learning with {named} (`attnpo`, on TRL)."


def _linked(name: str, kind: str = "") -> str:
    return f"[{name}](https://huggingface.co/{kind}{name})" if hub_id(name) else f"`{Path(name).name or name}`"


def _use(record: TrainingRecord) -> str:
    source = record.hub_model_id or "THIS_FOLDER"
    if record.own_base:
        base = _linked(str(record.model))
        return f"""Its base is named as `attnpo` finds it ({base}); needs `attnpo` with its extras `peft` and `gguf`.

```python
from attnpo.models import find_model, load_model, load_tokenizer

source = find_model("{source}")
model, tokenizer = load_model(source), load_tokenizer(source)
```"""
    needs = "transformers and peft; the base model is loaded with it" if record.adapter else "transformers alone"
    return f"""Needs {needs}.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("{source}", device_map="auto")
tokenizer = AutoTokenizer.from_pretrained("{source}")
messages = [{{"role": "user", "content": "What is 17 * 23?"}}]
inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
output = model.generate(**inputs.to(model.device), max_new_tokens=4096)
print(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :]))
```"""


def _method(record: TrainingRecord) -> str:
    card, preset = method_class(record.method), find_preset(record.method)
    said = (
        f"`{record.method}`: {card.formula}."
        if preset is None
        else f"`{record.method}`: {preset.purpose}; {card.formula}."
    )
    rows = ((f"`{name}`", _value(value)) for name, value in record.method_settings.items())
    return f"{said}\n\n{Table.of('', ('setting of the method', 'value'), rows).markdown()}"


def _training(record: TrainingRecord) -> str:
    settings = {
        **({"model": record.model} if record.model else {}),
        **({"data": record.data} if record.data else {}),
        "method": record.method,
        "method_settings": record.method_settings,
        **({"heads": _head_names(record.head_set)} if record.head_set is not None else {}),
        **record.settings,
    }
    stored = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=100).strip()
    size = f", {record.responses_a_step} responses an optimizer step" if record.responses_a_step else ""
    versions = "\n".join(f"- {'PEFT' if name == 'peft' else name} {v}" for name, v in record.versions.items())
    said = (
        f"{plural(record.processes, 'process', 'processes')}{size}. Settings that differ from the defaults, as "
        "`attnpo train --config` takes them:"
    )
    return f"{said}\n\n```yaml\n{stored}\n```\n\n### Framework versions\n\n{versions}"


def _head_names(head_set: HeadSet) -> str:
    return ",".join(str(head) for head in head_set.heads)


def _value(value: Any) -> str:
    return "–" if value is None else ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _joined(*parts: str | None) -> str:
    return "\n\n".join(part for part in parts if part)


def _written(path: Path) -> tuple[dict[str, Any], str]:
    """Return metadata and notes of the card that is there already."""
    if not path.is_file():
        return {}, ""
    text = UserFile(path).text()
    try:
        data = ModelCard(text, ignore_metadata_errors=True).data.to_dict()
    except (ValueError, yaml.YAMLError) as error:
        raise DataError(f"{path}: its head is not valid YAML ({one_line(error)}); mend or remove it") from error
    return data, text.partition(KEPT_BELOW)[2].lstrip("\n")
