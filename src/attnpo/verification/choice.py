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
_CONTENT_LENGTH = 1000
# Chinese and Japanese text often has Latin letters and marks in their full-width form.
_HALF_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | str.maketrans("【】", "[]")

# What may stand around a letter: markdown, dollars, quotes, LaTeX text commands and brackets.
_OPEN = r"(?:[\s*_`\"“'$:]|\\\(|\\[a-z]+\s*\{|\{)*"
_CLOSE = r"[*_`\"”'$})\]]*"
# A letter is a choice in parentheses, or as a capital that is no English word: `A` and `I` only where nothing but a
# mark, the end, or a word that cannot follow an article comes next.
_AFTER_WORD = r"(?=\s*(?:[.,;:!?)*\]$}\"”]|\\|$|\n|[-–—]\s|(?:because|since|as|is|which|with|for|by|due)\b))"
_LETTER = (
    rf"{_OPEN}(?:[(\[]\s*(?P<inside>[A-Za-z])\s*[)\]]|'(?P<quoted>[A-Z])'(?![\w-])"
    rf"|(?P<bare>[B-HJ-Z])(?![\w'’^+/=]|-\w)|(?P<word>[AI])(?![\w'’^+/=]|-\w){_CLOSE}{_AFTER_WORD})"
)
# Where less says that a choice is meant, a letter of either case must be all that the line still holds, or the mark of
# an option and the only one in it (`c) red`). The imaginary unit is none.
_ONLY_LETTER = (
    rf"{_OPEN}[(\[]?(?P<only>[A-HJ-Za-hj-z])(?:{_CLOSE}[.!]?{_CLOSE}[ \t]*(?=\n|\Z|</)"
    rf"|(?:[)\]]|[.:](?=\s)){_CLOSE}(?=\s+\S)(?![^\n]*\b(?:or|and)\s+\(?[A-Za-z][).:]))"
)
_NOUN = r"(?:answer|choice|option|alternative|solution)"
_LINK = (
    r"(?:\s*(?:is|are|was|be|[:=])"
    rf"(?:\s+(?:therefore|thus|then|hence|clearly|simply|indeed|definitely|letter|{_NOUN}))*)"
)
# "Answer" in other languages, as they head a line (OpenAI's simple-evals, `MULTILINGUAL_ANSWER_REGEXES`, and others).
_FOREIGN = (
    r"(?:\b(?:antwort|lösung|respuesta|solución|réponse|risposta|resposta|jawaban|jibu|ответ|відповідь|cevap|yanıt"
    r"|đáp\ án|odpowiedź)|정답|답변|답|答え|回答|解答|उत्तर|উত্তর|الإجابة|الجواب|إجابة)"
)
_LABEL = rf"(?:(?i:\b(?:answer|ans)(?:\s+(?:choice|option|letter))?|{_FOREIGN})[\s*_\])]*(?:[:=]|->|=>|[-–—→⇒]|\bis\b))"
# Chinese sets no spaces, so no word ends before the letter, and behind it only what cannot belong to it may stand.
_CHINESE = (
    r"(?:(?:答案|选项|選項|答)[\s*_\])]*(?:应该|應該|应|應)?[\s*_]*(?:[:=是为為选選]|->)|\[答案\]"
    r"|(?<![不别])(?<!不[能要应應可])(?:[应應故]?选择?|[应應故]?選擇?))(?:选项|選項)?"
    rf"{_OPEN}[(\[]?\s*(?P<chinese>[A-Z])(?={_CLOSE}(?:选项|選項|项|項)?(?:[\s。.,;:!?、()*]|\Z|[因由]))"
)
_STATED = re.compile(
    rf"\b(?i:{_NOUN}s?\b(?:(?!\bnot\b)[^.\n:]){{0,60}}?\**{_LINK}"
    rf"|(?:choose|select|pick|go(?:ing)?\ with|answer\ with)(?:\s+(?:letter|{_NOUN}))?){_LETTER}"
    rf"|{_LABEL}\s*(?i:{_NOUN}\s+)?{_ONLY_LETTER}|{_CHINESE}"
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
_BETWEEN = r"\s*(?:,|/|、|&|and/or\b|(?:or|and)\b|[或和及与與])\s*"
_MORE = re.compile(
    rf"{_BETWEEN}(?:option\s+)?{_OPEN}(?:[(\[]\s*[A-Za-z]\s*[)\]]|[(\[]?[A-Z](?:[)\]]|(?![A-Za-z0-9_'’])))"
)
_SEVERAL = re.compile(rf"[\s(]*[A-Z][\s)]*(?:{_BETWEEN}[\s(]*[A-Z][\s)]*)+")
# What gives the answer a place of its own; the closing tag may have been the stop sequence.
_MARKED = re.compile(
    r"<(?P<tag>(?:final[ _-]?)?answer|choice|option)>(?P<content>[^<>]*)(?:</(?P=tag)>|\Z)|\[\[(?P<double>[^][]*)\]\]",
    re.IGNORECASE,
)
_BETWEEN_MARKED = re.compile(rf"\s*|{_BETWEEN}", re.IGNORECASE)
# A word, or text: what follows a hyphen is no subtrahend.
_WORD = r"[^\n]*?(?:\\text\s*\{|(?<![\\A-Za-z])(?:[A-Za-z]{3}|[A-Z][a-z](?![A-Za-z^_])))"
# Fonts that a choice is set in. Bold small letters are vectors, `\mathbb` and `\mathcal` sets.
_FONT = (
    r"\\(?:(?:text(?:bf|it|rm|sf|tt|sc|up|normal)?|math(?:rm|bf|it|sf|tt)|mbox|emph|underline|rm|bf|it|sf|tt)(?![A-Za-z])"
    r"|(?:boldsymbol|bm|pmb)(?=[\s{(\[]*[A-Z]))"
)
_LEFT, _RIGHT = (rf"(?:\\(?:{side}|[bB]igg?{side[0]}?)\s*)?" for side in ("left", "right"))
# What makes a letter in parentheses a factor, a set or a point of an expression.
_OPERATOR = (
    r"\\(?:c[au]p|times|cdot|circ|div|pm|mp|setminus|oplus|otimes|wedge|vee|land|lor|to|in|sub\w*|sup\w*|[lgn]eq?"
    r"|equiv|sim|mid|math\w+|vec|hat|bar|left|frac|sqrt)(?![A-Za-z])"
)
_BOX = re.compile(
    rf"(?:\s|\$|\*|{_FONT}|\{{)*(?i:option|choice|answer)?[\s:{{]*"
    rf"(?:{_LEFT}[(\[](?:\s|{_FONT}|\{{)*(?P<inside>[A-Za-z])[\s}}]*{_RIGHT}[)\]][\s}})*$]*"
    rf"(?:[.:]?(?!\s*{_OPERATOR})(?:\s|\\).*)?"
    rf"|(?P<dashed>[A-Z])[\s}}*$]*\s(?:[–—]\s*\S|-\s+(?={_WORD})).*"
    r"|(?P<bare>[A-Za-z])\s*[\s}*$]*(?:[.:)]\s*\S?.*)?)",
    re.DOTALL,
)
_LATEX = re.compile(r"\\(?:[A-Za-z]+|[ ,;:!])|[{}$*]")


class ChoiceVerifier(Closing):
    r"""Correct means the reference's letter was chosen.

    Of the final answer the letter in the last `\boxed{…}` counts (`B`, `(B)`, `\text{B}`, `\left(\mathbf{B}\right)`,
    `B. text`, `B - text`), or else the last stated choice (see `chosen_letter`). Two letters are no answer.
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

    The last box decides where it holds a letter. Else, in the last 3,000 characters, the last answer that is set apart
    (`<answer>B</answer>`, `[[B]]`) where it holds one; else the last of the statements of an answer (`the answer is B`,
    `Answer: (C)`, `Final answer - C`, `I choose D`, the label in some other languages, too), else of the choices called
    right (`option B is correct`), else of the letters that stand in bold or on a line of their own. A small letter
    counts behind a label (`Answer: c`) where its line holds nothing else, or as the mark of an option (`c) red`). A
    letter that reads as an English word (`A car`, `a car`) is no choice.
    """
    text = text if text.isascii() else text.translate(_HALF_WIDTH)
    boxed = boxed_answer(text)
    text = re.sub(r"\s*\n\s*", "\n", text[-_TAIL:])
    for content in (boxed, _marked(text)):
        if content is not None:
            if letter := _letter_of(content):
                return letter
            if _SEVERAL.fullmatch(content):
                return None
    for pattern in (_STATED, _NAMED_RIGHT, _ALONE):
        matches = list(pattern.finditer(text))
        if matches:
            last = matches[-1]
            several = _MORE.match(text, last.end())
            return None if several else next(letter for letter in last.groups() if letter).upper()
    return None


def _marked(text: str) -> str | None:
    """Return the content of the last answer that is set apart; those that follow one another directly are one."""
    parts: list[str] = []
    start = 0
    for match in reversed(list(_MARKED.finditer(text))):
        if parts and not _BETWEEN_MARKED.fullmatch(text, match.end(), start):
            break
        parts.append((match["content"] or match["double"] or "").strip())
        start = match.start()
    return ", ".join(dict.fromkeys(reversed(parts))) if parts else None


def _letter_of(content: str) -> str | None:
    content = content.strip()
    match = _BOX.fullmatch(content) if len(content) <= _CONTENT_LENGTH else None
    if match is None or match.lastgroup is None:
        return None
    behind = _LATEX.sub(" ", content[match.end(match.lastgroup) :]).lstrip(" \t\n)]")
    return None if _MORE.match(behind) else match[match.lastgroup].upper()


def _reference_letter(solution: str) -> str:
    letter = _letter_of(reference_answer(solution))
    if letter is None:
        raise DataError(f"verifier choice: the reference {solution[:60]!r} is no single letter A to Z")
    return letter
