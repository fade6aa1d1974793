"""What a judge is asked: one prompt a response, from a Jinja file that a user can replace."""

from __future__ import annotations

import hashlib
from pathlib import Path

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError
from jinja2.sandbox import SandboxedEnvironment

from attnpo.errors import ConfigError
from attnpo.files import UserFile
from attnpo.rollouts import Rollout, prompt_text
from attnpo.think import THINK_CLOSE

DEFAULT_PROMPT = Path(__file__).with_name("prompt.jinja")

LONGEST_REFERENCE = 2000
"""Characters of the reference answer that a judge is shown; the tests of a code problem can be megabytes."""


class JudgePrompt:
    """A prompt template with the fields `question`, `reference_answer`, `steps` and `final_answer`.

    `reference_answer` is empty where the rollout holds only its hash. `steps` is a list of texts in order.

    Attributes:
        sha256: hash of the template.
    """

    def __init__(self, path: str | Path | None = None):
        """Read a template; None takes the one that ships.

        Raises:
            ConfigError: the file is missing, not a valid template, uses an unknown field or leaves out the question or
                a step.
        """
        self.path = DEFAULT_PROMPT if path is None else Path(path)
        source = UserFile(self.path, error=ConfigError, name=f"judge_prompt: {self.path}").text()
        self.sha256 = hashlib.sha256(source.encode()).hexdigest()
        environment = SandboxedEnvironment(
            undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=False
        )
        try:
            self._template: Template = environment.from_string(source)
        except TemplateSyntaxError as error:
            raise ConfigError(f"judge_prompt: {self.path}, line {error.lineno}: {error.message}") from error
        self._check()

    def render(self, rollout: Rollout) -> str:
        """Return the prompt for one segmented rollout."""
        return self._render(
            prompt_text(rollout.prompt).strip(),
            reference_answer(rollout.solution),
            [rollout.response[start:end].strip() for start, end in (step.chars for step in rollout.steps)],
            final_answer(rollout),
        )

    def _render(self, question: str, reference: str, steps: list[str], answer: str) -> str:
        return self._template.render(question=question, reference_answer=reference, steps=steps, final_answer=answer)

    def _check(self) -> None:
        parts = {"question": "4f1c9d", "the first step": "a07e52", "the last step": "d93b68"}
        try:
            text = self._render(
                parts["question"], "7", [parts["the first step"], "…", parts["the last step"]], "It is 7."
            )
        except TemplateError as error:
            raise ConfigError(f"judge_prompt: {self.path}: {error.message}") from error
        for name, mark in parts.items():
            if mark not in text:
                raise ConfigError(
                    f"judge_prompt: {self.path}: leaves out {name}; its fields are question, reference_answer, steps "
                    "(a list) and final_answer"
                )


def reference_answer(solution: str) -> str:
    """Return the reference answer as a judge is shown it: shortened where long, empty where only a hash is kept."""
    if solution.startswith("sha256:"):
        return ""
    return solution if len(solution) <= LONGEST_REFERENCE else f"{solution[:LONGEST_REFERENCE]} …"


def final_answer(rollout: Rollout) -> str:
    """Return what follows the last step, the tag that closes the think part left out."""
    end = rollout.steps[-1].chars[1] if rollout.steps else 0
    return rollout.response[end:].strip().removeprefix(THINK_CLOSE).strip()
