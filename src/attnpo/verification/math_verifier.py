"""Mathematical answers."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence

from attnpo.think import final_answer
from attnpo.verification.answer import boxed_answer, reference_answer
from attnpo.verification.base import Closing
from attnpo.verification.pool import WorkerPool

_JUDGE = "attnpo.verification.math_judge:same_answer"
_NORMAL_FORM = "attnpo.verification.math_form:normal_form"
_MEMORY_BYTES = 4 * 2**30
_REMEMBERED = 4096
_PLAIN_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,11})", re.ASCII)


class MathVerifier(Closing):
    r"""Correct means mathematically equal, as math-verify decides once the answer's LaTeX is tidied.

    Of the final answer only the last `\boxed{…}` counts where there is one, else math-verify looks for an answer in
    the text. Of the solution the last box counts, or what follows the last `####`, or all of it. Expressions are
    compared in worker processes that are killed at the limit (and cannot take more than 4 GiB), which counts as
    incorrect, as does an answer on which the comparison fails with an error. Boxed plain integers of up to 12 digits
    are compared at once: math-verify decides them the same way. Verdicts on the latest pairs of answer and solution are
    remembered, interrupted ones too, so that equal answers of a group cost once however they are batched.
    """

    def __init__(self, timeout: float = 5.0, workers: int = 1):
        """Set limits; processes start with the first answer that needs one.

        Args:
            timeout: seconds for one answer.
            workers: number of worker processes.

        Raises:
            ConfigError: `timeout` or `workers` is not positive.
        """
        self.pool = WorkerPool(_JUDGE, timeout, workers, _MEMORY_BYTES, _NORMAL_FORM, lenient=True)
        self._judged: dict[tuple[str, str], bool] = {}
        self._lock = threading.Lock()

    def verify(self, responses: Sequence[str], solutions: Sequence[str]) -> list[bool]:
        """Return for each response whether its final answer equals the solution."""
        answers = map(_answer, responses)
        pairs = [
            None if answer is None else (answer, _boxed(reference_answer(solution)))
            for answer, solution in zip(answers, solutions, strict=True)
        ]
        known: dict[tuple[str, str] | None, bool] = {None: False}
        known |= {pair: verdict for pair in pairs if pair and (verdict := _compare_integers(*pair)) is not None}
        # Responses of a group often agree: each different pair is compared once.
        known |= self._recall(pairs)
        unknown = [pair for pair in dict.fromkeys(pairs) if pair is not None and pair not in known]
        verdicts = self.pool.judge(unknown)
        self._remember(dict(zip(unknown, verdicts, strict=True)))
        known |= dict(zip(unknown, verdicts, strict=True))
        return [known[pair] for pair in pairs]

    def _recall(self, pairs: Sequence[tuple[str, str] | None]) -> dict[tuple[str, str] | None, bool]:
        with self._lock:
            return {pair: self._judged[pair] for pair in pairs if pair is not None and pair in self._judged}

    def _remember(self, judged: dict[tuple[str, str], bool]) -> None:
        with self._lock:
            self._judged |= judged
            for pair in list(self._judged)[: max(0, len(self._judged) - _REMEMBERED)]:
                del self._judged[pair]

    def answers(self, responses: Sequence[str]) -> list[str | None]:
        r"""Return the normal form of each answer (see `math_form.normal_form`); equal numbers always share theirs.

        It is found in the same worker processes under the same limit; a worker keeps what it parsed for `verify`. A box
        that takes too long, or that cannot be parsed or brought into a form, counts as its text.
        """
        texts = [_answer(response) for response in responses]
        known: dict[str | None, str | None] = {None: None}
        known |= {text: form for text in texts if text is not None and (form := _integer_form(text)) is not None}
        unknown = [text for text in dict.fromkeys(texts) if text is not None and text not in known]
        forms = self.pool.normal_forms(unknown)
        known |= {text: form or _box_text(text) for text, form in zip(unknown, forms, strict=True)}
        return [known[text] for text in texts]

    def close(self) -> None:
        """Kill the worker processes; a later `verify` starts them again."""
        self.pool.close()


def _answer(response: str) -> str | None:
    """Return what of a response is compared, None where it has no final answer."""
    answer = final_answer(response)
    if answer is None:
        return None
    boxed = boxed_answer(answer)
    return answer if boxed is None else _boxed(boxed)


def _boxed(content: str) -> str:
    return rf"\boxed{{{content}}}"


def _box_text(text: str) -> str | None:
    boxed = boxed_answer(text)
    return None if boxed is None else " ".join(boxed.split()) or None


def _integer_form(text: str) -> str | None:
    content = boxed_answer(text)
    if content is None or not _PLAIN_INTEGER.fullmatch(content):
        return None
    return "0" if content == "-0" else content


def _compare_integers(answer: str, reference: str) -> bool | None:
    """Compare two boxed plain integers, None where either is anything else."""
    forms = _integer_form(answer), _integer_form(reference)
    return None if None in forms else forms[0] == forms[1]
