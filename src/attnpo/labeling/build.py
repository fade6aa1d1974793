"""From the value of `--labeler` to a labeler."""

from __future__ import annotations

from attnpo.errors import ConfigError, nearest
from attnpo.labeling.base import StepLabeler
from attnpo.labeling.file import FileLabeler
from attnpo.labeling.function import FunctionLabeler, load_labeler
from attnpo.labeling.judge import JudgeLabeler, JudgeSettings
from attnpo.loading import source_fingerprint

FILE_PREFIX = "file:"


def build_labeler(spec: str, judge: JudgeSettings | None = None) -> StepLabeler:
    """Return the labeler that a spec names.

    Args:
        spec: `judge` (LLM judges), `file:labels.jsonl` (labels of the user's own) or `module:function` (an oracle or a
            rule of the user's own).
        judge: settings of the judges; None takes the defaults.

    Raises:
        ConfigError: there is no such labeler, or its settings are malformed.
        DataError: the labels file is missing or malformed.
        OutputError: the judges' cache cannot be written.
    """
    if spec == "judge":
        return JudgeLabeler(judge or JudgeSettings())
    if spec.startswith(FILE_PREFIX):
        return FileLabeler(spec.removeprefix(FILE_PREFIX))
    if ":" not in spec:
        resembling = nearest(spec, ("judge", "causal"))
        raise ConfigError(f"labeler {spec!r}: name judge, causal, file:labels.jsonl or module:function{resembling}")
    return FunctionLabeler(load_labeler(spec), spec, source_fingerprint(spec))
