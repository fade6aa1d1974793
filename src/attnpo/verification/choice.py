"""Multiple choice: which letter a response chooses."""

from __future__ import annotations

import re
from collections.abc import Sequence

from attnpo.errors import DataError
from attnpo.think import final_answer
from attnpo.verification.answer import boxed_answer, reference_answer
from attnpo.verification.base import Closing

# Statements are looked for in this many characters at the end: the patterns may take quadratic time.
_TAIL = 3000
_BOX_LENGTH = 1000
# What may stand around a letter: markdown, dollars, quotes, LaTeX text commands and brackets.
_OPEN = r"(?:[\s*_`\"“'$:]|\\\(|\\[a-z]+\s*\{|\{)*"
_CLOSE = r"[*_`\"”'$})\]]*"
# A letter is a choice in parentheses, or as a capital that is no English word: `A` and `I` only where nothing but a
# mark, the end, or a word that cannot follow an article comes next.
_AFTER_WORD = r"(?=\s*(?:[.,;:!?)*\]$}\"”]|\\|$|\n|[-–—]\s|(?:because|since|as|is|which|with|for|by|due)\b))"
_LETTER = (
    rf"{_OPEN}(?:[(\[]\s*(?P<inside>[A-Za-z])\s*[)\]]"
    rf"|(?P<bare>[B-HJ-Z])(?![\w'’^+/=]|-\w)|(?P<word>[AI])(?![\w'’^+/=]|-\w){_CLOSE}{_AFTER_WORD})"
)
_NOUN = r"(?:answer|choice|option|alternative|solution)"
_LINK = (
    r"(?:\s*(?:is|are|was|be|[:=])"
    rf"(?:\s+(?:therefore|thus|then|hence|clearly|simply|indeed|definitely|letter|{_NOUN}))*)"
)
_STATED = re.compile(
    rf"\b(?i:{_NOUN}s?\b(?:(?!\bnot\b)[^.\n:]){{0,60}}?\**{_LINK}"
    rf"|(?:choose|select|pick|go(?:ing)?\ with|answer\ with)(?:\s+(?:letter|{_NOUN}))?){_LETTER}"
)
_NAMED_RIGHT = re.compile(
    rf"(?:(?i:\b{_NOUN}|\bonly|\bso|\bthus|\bhence|\btherefore,?)\s|^|(?<=[.;!?,]\s)){_LETTER}{_CLOSE}"
    rf"\s+(?:is|must\ be)\s+(?:the\s+)?(?:only\s+)?(?:correct|right|best|true|{_NOUN})\b",
    re.MULTILINE,
)
_ALONE = re.compile(
    r"\*\*\s*\(?(?P<bold>[A-Z])\)?\s*[.:)]?\s*\*\*|\*\*\(?(?P<bold_text>[A-Z])[.):]\s[^*\n]*\*\*"
    r"|^[ \t>#*_$]*(?:\\text\{)?[(\[]?(?P<line>[A-Z])[)\]]?\}?[.:]?[ \t*_$]*$"
    r"|^[ \t>#*_]*(?:\((?P<listed>[A-Z])\)|(?P<marked>[A-Z])[.)])\s+\S",
    re.MULTILINE,
)
_MORE = re.compile(rf"\s*(?:,|/|or|and|&)\s*(?:option\s+)?{_OPEN}[(\[]?[A-Z](?:[)\]]|(?![\w'’]))")
_SEVERAL = re.compile(r"[\s(]*[A-Z][\s)]*(?:(?:,|or|and|&)[\s(]*[A-Z][\s)]*)+")
_BOX = re.compile(
    r"(?:\s|\$|\*|\\(?:text|textbf|mathrm|mathbf|mathit|textrm|mbox|rm|bf)\b|\{)*"
    r"(?:option|choice|answer)?[\s:{]*"
    r"(?:[(\[]\s*([A-Za-z])\s*[)\]][\s})*$]*(?:[.:]?(?:\s|\\).*)?|([A-Za-z])\s*[\s}*$]*(?:[.:)]\s*\S?.*)?)",
    re.DOTALL | re.IGNORECASE,
)


class ChoiceVerifier(Closing):
    r"""Correct means the reference's letter was chosen.

    Of the final answer the letter in the last `\boxed{…}` counts (`B`, `(B)`, `\text{B}`, `B. text`), or else the last
    stated choice (see `chosen_letter`). Two letters are no answer.
    """

    def verify(self, responses: Sequence[str], solutions: Sequence[str]) -> list[bool]:
        """Return for each response whether it chooses the solution's letter.

        Raises:
            DataError: a solution is not a single letter.
        """
        wanted = {solution: _reference_letter(solution) for solution in dict.fromkeys(solutions)}
        chosen = self.answers(responses)
        return [letter == wanted[solution] for letter, solution in zip(chosen, solutions, strict=True)]

    def answers(self, responses: Sequence[str]) -> list[str | None]:
        """Return the chosen letters, `A` to `Z`."""
        return [None if answer is None else chosen_letter(answer) for answer in map(final_answer, responses)]


def chosen_letter(text: str) -> str | None:
    r"""Return the letter, `A` to `Z`, that a final answer chooses, None where it chooses none or several.

    The last box decides where it holds a letter. Else, in the last 3,000 characters, the last of the statements of an
    answer (`the answer is B`, `Answer: (C)`, `I choose D`), else of the choices called right (`option B is correct`),
    else of the letters that stand in bold or on a line of their own. A capital that reads as an English word (`A car`)
    is no choice.
    """
    boxed = boxed_answer(text)
    if boxed is not None:
        if letter := _letter_of(boxed):
            return letter
        if _SEVERAL.fullmatch(boxed):
            return None
    text = re.sub(r"\s*\n\s*", "\n", text[-_TAIL:])
    for pattern in (_STATED, _NAMED_RIGHT, _ALONE):
        matches = list(pattern.finditer(text))
        if matches:
            last = matches[-1]
            several = _MORE.match(text, last.end())
            return None if several else next(letter for letter in last.groups() if letter).upper()
    return None


def _letter_of(content: str) -> str | None:
    match = _BOX.fullmatch(content.strip()) if len(content) <= _BOX_LENGTH else None
    return (match[1] or match[2]).upper() if match else None


def _reference_letter(solution: str) -> str:
    letter = _letter_of(reference_answer(solution))
    if letter is None:
        raise DataError(f"verifier choice: the reference {solution[:60]!r} is no single letter A to Z")
    return letter
