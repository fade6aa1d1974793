"""What a comparison of methods over their strength is to show, said before it is run."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Target(BaseModel):
    """What a training run is timed to.

    Attributes:
        tokens: mean length of a response, at most.
        accuracy: share answered right, at least.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens: float = Field(gt=0)
    accuracy: float = Field(gt=0, lt=1)


class FrontierPlan(BaseModel):
    """Where curves are compared, against which, and what counts as a result.

    Attributes:
        against: reference curves.
        at_tokens: lengths of a response at which accuracies are compared.
        at_accuracy: accuracies at which lengths are compared.
        primary: the one of `at_tokens` whose differences are tested, and that costs are told at.
        margin: difference of accuracy, as a share, below which two curves count as equal.
        equal: curves whose equality with a reference is tested; empty for all that are tested. A test of equality takes
            more problems and runs than one of a difference, the more so the more curves share it.
        target: what training is timed to; None for nothing.
        by_run: test each run against the reference's curve of its own seed, at the length where it ends, in place of
            the mean curves at `primary`. A seed fixes the training problems, so what runs of a seed share leaves the
            error, and no place is lost because one seed does not reach it. Give the reference strengths so near each
            other that straight lines between them are off by little (`less itself` in the table).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    against: tuple[str, ...] = Field(min_length=1)
    at_tokens: tuple[float, ...] = Field(min_length=1)
    at_accuracy: tuple[float, ...] = ()
    primary: float
    margin: float = Field(gt=0, lt=1)
    equal: tuple[str, ...] = ()
    target: Target | None = None
    by_run: bool = False

    @model_validator(mode="after")
    def _check_primary(self) -> FrontierPlan:
        if self.primary not in self.at_tokens:
            raise ValueError(f"primary {self.primary:g} is none of at_tokens; take one of them, or add it")
        return self
