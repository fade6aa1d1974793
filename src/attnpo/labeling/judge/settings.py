"""Settings of the judges: who they are, what they are asked, when their votes count."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from attnpo.errors import ConfigError
from attnpo.ranges import AtLeast0, AtLeast1, Patience, Seconds, Seed, check_settings
from attnpo.serving import Endpoint

Consensus = Literal["unanimous", "majority"]
StructuredOutput = Literal["json_schema", "json_object", "none"]

DEFAULT_COUNT = 3
"""The paper's number of judges."""


@dataclass
class JudgeSettings:
    """LLM judges of steps, behind OpenAI-compatible servers."""

    judge_models: str | None = field(
        default=None,
        metadata={"help": "Models that judge, separated by commas; one alone judges judge_count times."},
    )
    judge_base_urls: str = field(
        default="http://127.0.0.1:8000/v1",
        metadata={"help": "Addresses of their OpenAI-compatible servers, separated by commas; one serves all judges."},
    )
    judge_count: AtLeast1 | None = field(
        default=None,
        metadata={"help": "Number of judges; absent: as many as models or addresses are named, 3 where one is."},
    )
    judge_api_key_env: str = field(
        default="OPENAI_API_KEY",
        metadata={"help": "Environment variables that hold the keys, separated by commas; one serves all judges."},
    )
    judge_prompt: str | None = field(
        default=None,
        metadata={
            "help": "Jinja file with your own prompt (question, reference_answer, steps, final_answer); the one that "
            "ships if absent."
        },
    )
    judge_consensus: Consensus = field(
        default="unanimous",
        metadata={"help": "'unanimous': a step gets the label all judges give it; 'majority': more than half of them."},
    )
    judge_structured_output: StructuredOutput = field(
        default="json_schema",
        metadata={"help": "What the server is told about the answer's form: json_schema, json_object or none."},
    )
    judge_temperature: AtLeast0 | None = field(
        default=0.6, metadata={"help": "Sampling temperature; 'null' in YAML leaves it to the server."}
    )
    judge_max_tokens: AtLeast1 = field(
        default=8192, metadata={"help": "Limit on an answer, thinking included, in tokens."}
    )
    judge_seed: Seed = field(default=0, metadata={"help": "Seed of the first judge; the next ones count on from it."})
    judge_body: str | None = field(
        default=None,
        metadata={
            "help": "JSON object of further request fields; null takes a field out: "
            '{"max_tokens": null, "max_completion_tokens": 8192}.'
        },
    )
    judge_attempts: AtLeast1 = field(
        default=3, metadata={"help": "How often a judge is asked before its lack of a valid answer is an abstention."}
    )
    judge_concurrency: AtLeast1 = field(
        default=16, metadata={"help": "Requests under way at each model of each server."}
    )
    judge_timeout: Seconds = field(default=600.0, metadata={"help": "Seconds one answer may take."})
    judge_patience: Patience = field(
        default=300.0, metadata={"help": "Seconds a server may be gone before the run stops (and can be continued)."}
    )
    judge_cache: str | None = field(
        default=None,
        metadata={"help": "Folder of all answers ever paid for, shared by runs; absent: ~/.cache/attnpo/judges."},
    )

    def __post_init__(self) -> None:
        check_settings(self)
        self.extra_body()

    def endpoints(self) -> list[Endpoint]:
        """Return one endpoint a judge.

        Raises:
            ConfigError: no model is named, the lists do not fit together, or an address is malformed.
        """
        lists = {
            "judge_models": _split(self.judge_models),
            "judge_base_urls": _split(self.judge_base_urls),
            "judge_api_key_env": _split(self.judge_api_key_env),
        }
        for name, values in lists.items():
            if not values:
                raise ConfigError(f"{name}: name at least one; the labeler 'judge' asks LLMs behind a server")
        longest = max(lists, key=lambda name: len(lists[name]))
        count = self.judge_count or (len(lists[longest]) if len(lists[longest]) > 1 else DEFAULT_COUNT)
        for name, values in lists.items():
            if len(values) not in (1, count):
                raise ConfigError(
                    f"{name}: {len(values)} values for {count} judges; give one for all, or one a judge (judge_count)"
                )
        models, urls, keys = (values if len(values) == count else values * count for values in lists.values())
        return [
            Endpoint(url, model, key, self.judge_concurrency, self.judge_timeout, self.judge_patience)
            for url, model, key in zip(urls, models, keys, strict=True)
        ]

    def extra_body(self) -> dict[str, Any]:
        """Return the further request fields.

        Raises:
            ConfigError: they are not a JSON object.
        """
        try:
            fields = json.loads(self.judge_body or "{}")
        except ValueError as error:
            raise ConfigError(f"judge_body: not JSON ({error}); give an object of request fields") from error
        if not isinstance(fields, dict):
            raise ConfigError("judge_body: not a JSON object; give an object of request fields")
        return fields

    @property
    def cache_dir(self) -> Path:
        """The folder of the answers."""
        if self.judge_cache:
            return Path(self.judge_cache).expanduser()
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "attnpo" / "judges"


def _split(values: str | None) -> list[str]:
    return [value.strip() for value in (values or "").split(",") if value.strip()]
