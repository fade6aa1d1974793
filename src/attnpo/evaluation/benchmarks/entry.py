"""A benchmark: one small YAML entry that says where its problems come from, how they are asked and how judged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from attnpo.datasets import ProblemRow
from attnpo.documents import first_problem
from attnpo.errors import ConfigError
from attnpo.files import UserFile
from attnpo.prompt_template import PromptTemplate
from attnpo.rows import LOCAL_SUFFIXES

if TYPE_CHECKING:
    from typing import Self

ColumnMap = Mapping[str, str | tuple[str, ...]]
"""Role → the column of a row that plays it; `choices` may be several columns."""

COLUMNS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "text": (frozenset({"solution"}), frozenset()),
    "choice": (frozenset({"solution", "choices"}), frozenset()),
    "code": (frozenset({"public_tests", "private_tests", "metadata"}), frozenset({"starter_code"})),
}
"""Answer kind → columns that its map must name, and further ones it may."""
COMMON_COLUMNS = frozenset({"question", "prompt", "problem_id", "difficulty", "subject", "context"})


class Sample(BaseModel):
    """Problems drawn at random, the same number from each group.

    Attributes:
        per: what the groups are.
        count: problems a group.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    per: Literal["subject", "difficulty"]
    count: int = Field(gt=0)


class Benchmark(BaseModel):
    """What one entry file says; the packaged entries are its examples.

    Attributes:
        name: what it is asked for by, lower case.
        title: what tables call it.
        dataset: a Hub id, a local data file (relative to the entry's file), or `module:function` that returns rows.
        revision: commit of the Hub data set; None takes the newest at load time and records which it was.
        config: configuration of the Hub data set.
        split: its split.
        data_files: files of the repository to read instead of what its data card describes.
        gated: whether its terms must be accepted first.
        package: distribution whose version stands for the revision of a `module:function`.
        params: arguments of a `module:function`.
        variant: name of the one of those arguments that stands behind the name (`reasoning-gym:<task>`).
        endless: a `module:function` that makes as many problems as are asked for.
        num_problems: problems that the whole benchmark has, checked after loading.
        answer: `text` (the reference answer is a column's text), `choice` (lettered options) or `code` (tests).
        solution_after: for text answers, take what follows the last occurrence of this.
        solution_form: for choices, what the solution column holds: the right option's text, index or letter.
        shuffle_choices: for choices, whether their order is drawn for every problem.
        time_limit: for code, seconds a test.
        columns: role → the data set's column; a dot reaches into a nested one.
        data_schema: another map, tried when a local file that stands in lacks those columns: a file whose rows hold the
            question as chat messages, repeated once a sample.
        where: keep the rows whose columns have these values.
        sample: draw problems at random.
        seed: seed of everything drawn (problems, order of the options, problems made by a function).
        template: jinja2 template of the user's message over the roles and the row's columns; None sends the `prompt`
            column as it stands.
        verifier: name of the verifier, as `attnpo.verification.build_verifier` takes it.
        samples_per_problem: responses sampled for each problem unless asked otherwise.
        extra: columns kept beside the problem.
        license: license of the data, as its publisher states it.
        url: where it is published.
        citation: what to cite.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*(:[A-Za-z0-9_]+)?$")
    title: str
    dataset: str
    revision: str | None = None
    config: str | None = None
    split: str | None = None
    data_files: tuple[str, ...] = ()
    gated: bool = False
    package: str | None = None
    params: dict[str, Any] = {}
    variant: str | None = None
    endless: bool = False
    num_problems: int | None = Field(default=None, gt=0)
    answer: Literal["text", "choice", "code"] = "text"
    solution_after: str | None = None
    solution_form: Literal["text", "index", "letter"] = "text"
    shuffle_choices: bool = False
    time_limit: float = Field(default=6.0, gt=0)
    columns: dict[str, str | tuple[str, ...]]
    data_schema: dict[str, str] = {}
    where: dict[str, Any] = {}
    sample: Sample | None = None
    seed: int = 0
    template: str | None = None
    verifier: str = "math"
    samples_per_problem: int = Field(default=4, gt=0)
    extra: tuple[str, ...] = ()
    license: str = "not stated"
    url: str | None = None
    citation: str = ""

    @classmethod
    def load(cls, path: str | Path) -> Benchmark:
        """Read one entry file.

        Raises:
            ConfigError: it is missing, not YAML, or a field of it is not as described here.
        """
        path = Path(path)
        document = UserFile(path, "benchmark entry", ConfigError).yaml()
        if not isinstance(document, dict):
            raise ConfigError(f"{path}: expected the fields of a benchmark, found {type(document).__name__}")
        try:
            entry = cls.model_validate(document)
        except ValidationError as error:
            raise ConfigError(f"{path}: {first_problem(error)}") from error
        PromptTemplate(entry.template or "", f"{path}: template")
        if Path(entry.dataset).suffix in LOCAL_SUFFIXES:
            return entry.model_copy(update={"dataset": str(path.parent / entry.dataset)})
        return entry

    @model_validator(mode="after")
    def _columns_fit(self) -> Self:
        if missing := self.needed_roles - set(self.columns):
            raise ValueError(f"columns: an answer of kind {self.answer} needs {', '.join(sorted(missing))}")
        self.check_roles(self.columns)
        self.check_roles(self.data_schema)
        if self.sample is not None and self.sample.per not in self.columns:
            raise ValueError(f"sample: {self.sample.per!r} is not among the columns")
        if self.variant is not None and ":" in self.name and self.variant not in self.params:
            raise ValueError(f"params: {self.variant!r} is missing")
        return self

    @property
    def needed_roles(self) -> frozenset[str]:
        """The roles without which no problem can be made."""
        return COLUMNS[self.answer][0] | ({"prompt"} if self.template is None else {"question"})

    def check_roles(self, roles: Iterable[str]) -> None:
        """Check the roles of a column map.

        Raises:
            ValueError: there is no such role.
        """
        needed, optional = COLUMNS[self.answer]
        known = needed | optional | COMMON_COLUMNS
        if unknown := set(roles) - known:
            raise ValueError(
                f"columns: no such role: {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}"
            )

    @property
    def prompt_template(self) -> PromptTemplate | None:
        """The compiled template, None where prompts are sent as they stand."""
        return None if self.template is None else PromptTemplate(self.template, f"benchmark {self.name}: template")

    def problems(
        self,
        data: str | None = None,
        limit: int | None = None,
        seed: int | None = None,
        columns: Mapping[str, str] | None = None,
        progress: Any = None,
    ) -> list[ProblemRow]:
        """Load the problems.

        Args:
            data: a local file (or a folder of files) that stands in for the data set: in the data set's own columns, in
                those of `data_schema`, or in others that `columns` names.
            limit: keep at most this many: the first ones, or with `seed` some drawn at random.
            seed: stands in for the entry's seed.
            columns: role → the column of `data` that has it, over the entry's map.
            progress: a rich progress display for benchmarks whose rows take long to read.

        Raises:
            DataError: the data set cannot be loaded, is gated, lacks a column, has malformed rows, or (from the Hub)
                not the number of problems it should have.
            ConfigError: `columns` names an unknown role.
        """
        from attnpo.evaluation.benchmarks.loading import load  # it needs this class

        return load(self, data=data, limit=limit, seed=seed, columns=columns or {}, progress=progress)

    def context(self, data: str | None = None, seed: int | None = None) -> dict[str, Any]:
        """Return what the problems depend on, as JSON values, for settings that are checked and runs that are compared.

        Args:
            data: the local file that stands in, named by its own name and the hash of its content.
            seed: the seed that stands in for the entry's.

        Raises:
            DataError: there is no such file, or the newest revision cannot be asked for.
        """
        from attnpo.evaluation.benchmarks.loading import source_of

        name, revision = source_of(self, data)
        return {
            "benchmark": self.name,
            "dataset": name,
            "revision": revision,
            "config": None if data else self.config,
            "split": None if data else self.split,
            "template": None if self.prompt_template is None else self.prompt_template.digest,
            "params": self.params,
            "seed": self.seed if seed is None else seed,
        }
