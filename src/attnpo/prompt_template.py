"""Prompts from the columns of a row, through a jinja2 template."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from jinja2 import StrictUndefined, TemplateError, UndefinedError
from jinja2.sandbox import SandboxedEnvironment

from attnpo.errors import ConfigError, DataError, one_line

# Sandboxed, since templates come in files that people pass on.
_ENVIRONMENT = SandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


class PromptTemplate:
    """A jinja2 template over a row: `{{ question }}` is a column, `{{ row["Any name"] }}` as well."""

    def __init__(self, source: str, where: str = "prompt_template"):
        """Compile the template.

        Args:
            source: its text.
            where: the setting it comes from, for messages.

        Raises:
            ConfigError: it is not a jinja2 template.
        """
        self.source = source
        self._where = where
        try:
            self._template = _ENVIRONMENT.from_string(source)
        except TemplateError as error:
            raise ConfigError(f"{where}: not a jinja2 template ({one_line(error)})") from error

    @property
    def digest(self) -> str:
        """A hash of the template's text."""
        return hashlib.sha256(self.source.encode()).hexdigest()[:16]

    def render(self, row: Mapping[str, Any], where: str) -> str:
        """Return the prompt's text.

        Args:
            row: column name → value.
            where: the row, for messages.

        Raises:
            DataError: the template names a column that the row lacks, or cannot be filled in with the row's values.
        """
        try:
            return self._template.render({**row, "row": row})
        except UndefinedError as error:
            raise DataError(
                f"{where}: {self._where}: {one_line(error)}; the columns are {', '.join(sorted(row))}"
            ) from error
        except (TemplateError, TypeError, ValueError) as error:
            raise DataError(f"{where}: {self._where} cannot be filled in ({one_line(error)})") from error
