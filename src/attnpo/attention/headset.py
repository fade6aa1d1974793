"""Head sets: which heads judge the steps, on which architecture they were found, and how well they did."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from pydantic import ConfigDict, Field

from attnpo.documents import Document
from attnpo.errors import AttnPOError, HeadSetError, OutputError, UnsupportedModelError, nearest
from attnpo.files import UserFile
from attnpo.output import write_atomically

SCHEMA_VERSION = 1

FINGERPRINT_FIELDS = (
    "model_type",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "hidden_size",
    "head_dim",
    "intermediate_size",
)
"""What makes two models the same architecture, without what fine-tuning may change (vocabulary, context)."""

PUBLISHED = Path(__file__).parent / "published"
"""Head sets that ship, found and published by others; each file's stem is its name."""

_HEAD_LIST = re.compile(r"\s*\d+\.\d+\s*(,\s*\d+\.\d+\s*)*,?\s*")


class Head(NamedTuple):
    """One attention head, both numbers counted from 0."""

    layer: int
    head: int

    def __str__(self) -> str:
        return f"{self.layer}.{self.head}"


class HeadSet(Document):
    """Key-Focus Heads of a model (AttnPO, section 2) in the form they are stored in.

    Attributes:
        schema_version: version of this form.
        model_id: name or path of the model they were found on.
        config_fingerprint: its architecture (`config_fingerprint`).
        num_layers: number of its layers.
        num_heads: number of query heads in each layer.
        heads: the heads.
        sra: Step Ranking Accuracy of the ensemble, where measured.
        found_by: how they were found: `greedy`, `top`, `given`, ...
        evidence: anything that supports the choice: sizes, intervals, settings.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    REFUSED: ClassVar[type[AttnPOError]] = HeadSetError
    MEND: ClassVar[str] = "correct the file"

    schema_version: int = SCHEMA_VERSION
    model_id: str
    config_fingerprint: str
    num_layers: int = Field(gt=0)
    num_heads: int = Field(gt=0)
    heads: list[Head]
    sra: float | None = Field(default=None, ge=0, le=1)
    found_by: str = "given"
    evidence: dict[str, Any] = Field(default_factory=dict)

    def save(self, path: Path | str) -> None:
        """Write the head set as a JSON file.

        Raises:
            OutputError: the file cannot be written.
        """
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, self.to_text())
        except OSError as error:
            raise OutputError(f"{path}: cannot write the head set ({error.strerror}); name another path") from error

    @classmethod
    def load(cls, path: Path | str) -> HeadSet:
        """Read a head set from a JSON file.

        Raises:
            HeadSetError: the file is missing, is not JSON, has another schema version or a wrong field.
        """
        path = Path(path)
        hint = how_to_name_heads() + nearest(path.name, published_head_sets())
        stored = UserFile(path, "head-set file", HeadSetError, hint=hint).json()
        if not isinstance(stored, dict):
            raise HeadSetError(
                f"{path}: not a head set but a JSON {type(stored).__name__}; expected an object with `heads`"
            )
        if stored.get("schema_version") != SCHEMA_VERSION:
            raise HeadSetError(
                f"{path}: schema_version is {stored.get('schema_version')!r}, this version of attnpo reads"
                f" {SCHEMA_VERSION}; make the file again with `attnpo discover`"
            )
        return cls.from_stored(stored, path)

    def validate_for(self, config: Any, where: str = "") -> None:
        """Check that the heads can be read on a model.

        Args:
            config: the model's config.
            where: what to call the head set in the message (a file, a setting).

        Raises:
            HeadSetError: another architecture, no heads, a head twice, or a head that does not exist.
        """
        prefix = f"{where}: " if where else ""
        config = config.get_text_config(decoder=True)
        if self.config_fingerprint != config_fingerprint(config):
            raise HeadSetError(
                f"{prefix}the heads were found on {self.model_id}, another architecture than this model's"
                f" ({_differences(self.config_fingerprint, config_fingerprint(config))});"
                " discover heads on this model"
            )
        layers, per_layer = _sizes(config)
        for name, stored, actual in (
            ("layers", self.num_layers, layers),
            ("heads a layer", self.num_heads, per_layer),
        ):
            if stored != actual:
                raise HeadSetError(
                    f"{prefix}the head set is for {stored} {name}, the model has {actual}; discover heads on this model"
                )
        validate_heads(self.heads, config, where)


def validate_heads(heads: Sequence[Head], config: Any, where: str = "") -> None:
    """Check that there are heads, each once, and that the model has them.

    Raises:
        HeadSetError: otherwise; the message names the head.
    """
    prefix = f"{where}: " if where else ""
    if not heads:
        raise HeadSetError(f"{prefix}no heads; name at least one as layer.head, for instance '16.2'")
    layers, per_layer = _sizes(config)
    seen: set[Head] = set()
    for head in heads:
        if not (0 <= head.layer < layers and 0 <= head.head < per_layer):
            raise HeadSetError(
                f"{prefix}head {head} does not exist: the model has layers 0 to {layers - 1}"
                f" with heads 0 to {per_layer - 1}"
            )
        if head in seen:
            raise HeadSetError(f"{prefix}head {head} is listed twice; list it once")
        seen.add(head)


def config_fingerprint(config: Any) -> str:
    """Return a stable, readable fingerprint of a model's architecture: its fields and a hash of them."""
    config = config.get_text_config(decoder=True)
    _sizes(config)
    stated = {name: getattr(config, name, None) for name in FINGERPRINT_FIELDS}
    if stated["head_dim"] is None:
        stated["head_dim"] = config.hidden_size // config.num_attention_heads
    if stated["num_key_value_heads"] is None:
        stated["num_key_value_heads"] = config.num_attention_heads
    text = ",".join(f"{name}={value}" for name, value in stated.items())
    return f"{text}#{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def published_head_sets() -> dict[str, Path]:
    """Return the head sets that ship, file by name."""
    return {path.stem: path for path in sorted(PUBLISHED.glob("*.json"))}


def how_to_name_heads() -> str:
    """Return the ways to name heads, as messages say them."""
    shipped = ", ".join(published_head_sets())
    return f"make one with `attnpo discover`, give heads as '16.2,20.9', or name a head set that ships: {shipped}"


def resolve_heads(spec: str | Path | Sequence[Any] | HeadSet, config: Any, model_name: str | None = None) -> HeadSet:
    """Turn any way to name heads into a head set that fits a model.

    Args:
        spec: a head set, the path of one, the name of one that ships ("deepseek-r1-distill-qwen-1.5b"; a file of that
            name comes first), heads as text ("16.2,20.9"), or a list of (layer, head) pairs or "layer.head" texts.
        config: the model's config.
        model_name: what the user calls the model. A config knows only the folder that it was read from, which for a
            GGUF file or an adapter lies in the cache.

    Raises:
        HeadSetError: the head set cannot be read, is malformed or does not fit the model.
        UnsupportedModelError: the model has no attention heads.
    """
    if isinstance(spec, HeadSet):
        spec.validate_for(config)
        return spec
    if isinstance(spec, str) and _HEAD_LIST.fullmatch(spec):
        spec = [part for part in spec.split(",") if part.strip()]
    if isinstance(spec, str | Path):
        head_set = HeadSet.load(_published_or_given(spec))
        head_set.validate_for(config, str(spec))
        return head_set
    layers, per_layer = _sizes(config)
    head_set = HeadSet(
        model_id=model_name or getattr(config, "_name_or_path", "") or config.get_text_config(decoder=True).model_type,
        config_fingerprint=config_fingerprint(config),
        num_layers=layers,
        num_heads=per_layer,
        heads=[_parse_head(item) for item in spec],
    )
    head_set.validate_for(config, "heads")
    return head_set


def _published_or_given(spec: str | Path) -> str | Path:
    return spec if Path(spec).exists() else published_head_sets().get(str(spec).lower(), spec)


def _sizes(config: Any) -> tuple[int, int]:
    """Number of layers, and of query heads in each."""
    config = config.get_text_config(decoder=True)
    layers, heads = getattr(config, "num_hidden_layers", None), getattr(config, "num_attention_heads", None)
    if not isinstance(layers, int) or not isinstance(heads, int):
        raise UnsupportedModelError(
            f"{type(config).__name__} states no one number of attention heads for all layers;"
            " use a model with softmax attention"
        )
    return layers, heads


def _parse_head(item: Any) -> Head:
    if isinstance(item, str) and re.fullmatch(r"\s*\d+\.\d+\s*", item):
        layer, head = item.split(".")
        return Head(int(layer), int(head))
    if (
        isinstance(item, Sequence)
        and not isinstance(item, str)
        and len(item) == 2
        and all(isinstance(number, int) and not isinstance(number, bool) for number in item)
    ):
        return Head(item[0], item[1])
    raise HeadSetError(f"heads: {item!r} is not a head; write (layer, head), for instance [16, 2] or '16.2'")


def _differences(stored: str, actual: str) -> str:
    """Name the fields in which two fingerprints differ."""
    theirs, ours = _fields(stored), _fields(actual)
    differing = [name for name in ours if name in theirs and theirs[name] != ours[name]]
    if not differing:
        return "its fingerprint differs"
    return ", ".join(f"{name} {theirs[name]} there, {ours[name]} here" for name in differing)


def _fields(fingerprint: str) -> Mapping[str, str]:
    parts = fingerprint.split("#")[0].split(",")
    return dict(part.split("=", 1) for part in parts if "=" in part)
