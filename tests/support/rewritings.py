"""Ways to write an answer differently: some keep its value, some change it.

Each rule is a function of one reference answer (the content of a box, no dollars around it) that returns other texts,
none where the rule does not apply. `equivalents` and `near_misses` collect the rules with their names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fractions import Fraction

Rule = Callable[[str], Iterator[str]]

INTEGER = re.compile(r"-?\d+")
DECIMAL = re.compile(r"-?\d*\.\d+")
GROUPED = re.compile(r"-?\d{1,3}(?:,(?:\\!\s*)?\d{3})+")
FRACTION = re.compile(r"(-?)\\[dt]?frac\{(-?\d+)\}\{(\d+)\}")
MIXED = re.compile(r"(\d+)\s*\\frac\{(\d+)\}\{(\d+)\}")
ROOT = re.compile(r"(-?\d*)\s*\\sqrt\{(\d+)\}")
DEGREES = re.compile(r"(.*?)\s*(?:\^\{?\\circ\}?|\\text\{ degrees\})")
PERCENT = re.compile(r"(.*?)\s*\\?%")
UNIT = re.compile(r"(.*?)\s*\\(?:text|mbox)\{\s*[a-z]+\}(?:\^2)?")
MONEY = re.compile(r"\\\$(.*)")
TEXT = re.compile(r"\\text\{([A-Za-z]{2,})\}")
CHOICE = re.compile(r"\\text\{\(([A-E])\)\}")
BASE = re.compile(r"(\d+)_\{?(\d+)\}?")
ASSIGNED = re.compile(r"([A-Za-z](?:\([a-z]\))?)\s*=\s*([^=,]+)")
TWO_ENDS = re.compile(r"(?:\\left)?([(\[])\s*([^,()\[\]]+),\s*([^,()\[\]]+?)\s*(?:\\right)?([)\]])")
TUPLE = re.compile(r"(?:\\left)?\(\s*([^()]+,[^()]+?)\s*(?:\\right)?\)")
MATRIX = re.compile(r"\\begin\{pmatrix\}.*\\end\{pmatrix\}", re.DOTALL)
RELATION = re.compile(r"([a-z])\s*(\\geqslant|\\leqslant|\\ge|\\le|<|>)\s*(-?\d+)")
PLUS_MINUS = re.compile(r"([^{}]+?)\s*\\pm\s*(.+)")


def number(text: str) -> Fraction | None:
    """Return the rational number that `text` plainly states."""
    if match := FRACTION.fullmatch(text):
        return Fraction(int(match[1] + "1") * int(match[2]), int(match[3]))
    if GROUPED.fullmatch(text):
        text = re.sub(r"[,!\\\s]", "", text)
    return Fraction(text) if INTEGER.fullmatch(text) or DECIMAL.fullmatch(text) else None


def parts(text: str) -> list[str] | None:
    """Return the members of a plain list such as `3, 5, 7`, None where it is anything else."""
    if any(sign in text for sign in "()[]{}=$!") or "," not in text or GROUPED.fullmatch(text):
        return None
    return [part.strip() for part in text.split(",")]


def decimal(value: Fraction) -> str | None:
    """Return the finite decimal form, None where there is none."""
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest != 1:
        return None
    digits = next(d for d in range(60) if (value * 10**d).denominator == 1)
    scaled = abs(int(value * 10**digits))
    text = str(scaled).rjust(digits + 1, "0")
    return ("-" if value < 0 else "") + (text[:-digits] + "." + text[-digits:] if digits else text)


def fraction(value: Fraction, command: str = r"\frac") -> str:
    """Return `\\frac{a}{b}` with the sign in front."""
    return ("-" if value < 0 else "") + rf"{command}{{{abs(value.numerator)}}}{{{value.denominator}}}"


# --- the same value --------------------------------------------------------------------------------------------------


def itself(text: str) -> Iterator[str]:
    yield text


def dollars(text: str) -> Iterator[str]:
    if r"\$" not in text:
        yield f"${text}$"
        yield rf"\({text}\)"


def trailing_period(text: str) -> Iterator[str]:
    yield f"{text}."


def spaces(text: str) -> Iterator[str]:
    if "\\" not in text and " " in text:
        yield text.replace(" ", "")
    if "," in text and not GROUPED.search(text) and "\\!" not in text:
        yield re.sub(r",\s*", r",\\ ", text)
        yield re.sub(r",\s*", r" ,  ", text)
    yield rf"\ {text}\,"


def display_fraction(text: str) -> Iterator[str]:
    for command in (r"\dfrac", r"\tfrac", r"\cfrac"):
        changed = re.sub(r"\\[dt]?frac(?![a-z])", lambda _, c=command: c, text)
        if changed != text and command != text[: len(command)]:
            yield changed


def slash(text: str) -> Iterator[str]:
    if FRACTION.fullmatch(text) and (value := number(text)) is not None:
        yield f"{value.numerator}/{value.denominator}"
        yield f"{value.numerator} / {value.denominator}"
        yield f"({value.numerator})/({value.denominator})"
    if match := re.fullmatch(r"(-?\d+)/(\d+)", text):
        yield rf"\frac{{{match[1]}}}{{{match[2]}}}"


def short_fraction(text: str) -> Iterator[str]:
    changed = re.sub(r"\\frac\{(\d)\}\{(\d)\}", r"\\frac\1\2", text)
    if changed != text:
        yield changed


def sign_of_fraction(text: str) -> Iterator[str]:
    if FRACTION.fullmatch(text) and (value := number(text)) is not None and value < 0:
        yield rf"\frac{{-{abs(value.numerator)}}}{{{value.denominator}}}"
        yield rf"\frac{{{abs(value.numerator)}}}{{-{value.denominator}}}"


def decimal_form(text: str) -> Iterator[str]:
    value = number(text)
    if value is None:
        return
    if value.denominator == 1:
        yield f"{value.numerator}.0"
        yield f"{value.numerator}.00"
    elif (form := decimal(value)) is not None:
        if not DECIMAL.fullmatch(text):
            yield form
        else:
            yield fraction(value)
        yield form + "0"
        if form.startswith("0."):
            yield form[1:]


def mixed_number(text: str) -> Iterator[str]:
    if match := MIXED.fullmatch(text):
        whole, top, bottom = map(int, match.groups())
        yield fraction(Fraction(whole * bottom + top, bottom))
        yield rf"{whole} + \frac{{{top}}}{{{bottom}}}"


def leading_sign(text: str) -> Iterator[str]:
    value = number(text)
    if value is not None and value > 0:
        yield f"+{text}"


def leading_zero(text: str) -> Iterator[str]:
    if INTEGER.fullmatch(text) and not text.startswith("-"):
        yield f"0{text}"
        yield f"00{text}"


def thousands(text: str) -> Iterator[str]:
    value = number(text)
    if value is None or value.denominator != 1 or abs(value) < 1000:
        return
    plain = f"{value.numerator:,}"
    for mark in ("", ",", "{,}", r",\!", r"\,", " ", r"\ "):
        yield plain.replace(",", mark)


def degrees(text: str) -> Iterator[str]:
    if match := DEGREES.fullmatch(text):
        for mark in ("", r"^\circ", r"^{\circ}", r" ^ \circ", "°", " degrees", r"\text{ degrees}", r"\,\text{deg}"):
            yield match[1] + mark


def percent(text: str) -> Iterator[str]:
    if match := PERCENT.fullmatch(text):
        for mark in ("%", r"\%", r" \%", r"\ \%", " percent", r"\text{ percent}", r"\text{%}", ""):
            yield match[1] + mark
        value = number(match[1])
        if value is not None:
            form = decimal(value / 100)
            assert form is not None
            yield form
            yield fraction(value / 100)


def with_unit(text: str) -> Iterator[str]:
    if number(text) is not None:
        for unit in (r"\text{ cm}", r"\ \text{cm}", r"\,\mathrm{cm}", r"\mbox{ cm}", " cm", r"\text{ cm}^2", " cm^2"):
            yield text + unit
        for unit in (r"\text{ square units}", " units", r"\text{ km/h}", r"~\text{inches}", " square feet", " hours"):
            yield text + unit


def without_unit(text: str) -> Iterator[str]:
    if (match := UNIT.fullmatch(text)) and match[1]:
        yield match[1]


def money(text: str) -> Iterator[str]:
    if match := MONEY.fullmatch(text):
        yield match[1]
        yield f"${match[1]}"
        yield f"{match[1]} dollars"
    elif (value := number(text)) is not None and value > 0 and "frac" not in text:
        yield rf"\${text}"
        yield rf"\text{{\${text}}}"
        yield rf"{text}\text{{ dollars}}"


def named(text: str) -> Iterator[str]:
    if number(text) is not None:
        yield f"x = {text}"
        yield f"n={text}"
        yield rf"\text{{Area}} = {text}"
    if (match := ASSIGNED.fullmatch(text)) and not match[1].startswith("y"):
        yield match[2].strip()
        yield f"{match[1]}={match[2].strip()}"


def dressed(text: str) -> Iterator[str]:
    if number(text) is not None and "," not in text:
        yield rf"\mathbf{{{text}}}"
        yield rf"{{{text}}}"
        yield rf"\displaystyle {text}"
        if "\\" not in text:
            yield rf"\text{{{text}}}"
            yield rf"\textbf{{{text}}}"


def worded(text: str) -> Iterator[str]:
    if match := TEXT.fullmatch(text):
        for form in (r"{}", r"\textbf{{{}}}", r"\mathrm{{{}}}", r"\text{{ {} }}", r"\textit{{{}}}"):
            yield form.format(match[1])
        yield rf"\text{{{match[1].swapcase()}}}"


def lettered(text: str) -> Iterator[str]:
    if match := CHOICE.fullmatch(text):
        for form in ("{}", "({})", r"\text{{{}}}", r"\textbf{{({})}}", r"\mathbf{{{}}}", r"\mathrm{{({})}}"):
            yield form.format(match[1])


def listed(text: str) -> Iterator[str]:
    if members := parts(text):
        yield ", ".join(reversed(members))
        yield rf"\{{{', '.join(members)}\}}"
        yield ", ".join(members[:-1]) + r" \text{ and } " + members[-1]
        yield ",".join(members)
        yield " and ".join(members)
        yield ", ".join(f"x = {member}" for member in members)


def bracketed(text: str) -> Iterator[str]:
    if (TWO_ENDS.fullmatch(text) or TUPLE.fullmatch(text)) and r"\left" not in text:
        yield rf"\left{text[:-1]}\right{text[-1]}"
    elif r"\left" in text and r"\right" in text and "floor" not in text:
        yield text.replace(r"\left", "").replace(r"\right", "")
        yield text.replace(r"\left", r"\bigl").replace(r"\right", r"\bigr")


def is_interval(text: str) -> bool:
    return bool(TWO_ENDS.fullmatch(text)) and (
        r"\infty" in text or text.endswith("]") or r"\left[" in text or text[0] == "["
    )


def interval_forms(text: str) -> Iterator[str]:
    inner = re.sub(r"^x\s*\\in\s*", "", text)
    if inner != text:
        yield inner
    match = TWO_ENDS.fullmatch(inner)
    if match and is_interval(inner):
        yield rf"x \in {inner}"
        yield rf"x\in{inner}"
        low, high = match[2].strip(), match[3].strip()
        left, right = ("<" if match[1] == "(" else r"\le"), ("<" if match[4] == ")" else r"\le")
        if low == r"-\infty":
            yield rf"x {right} {high}"
        elif high in (r"\infty", r"+\infty"):
            yield rf"x {left.replace('<', '>').replace('le', 'ge')} {low}"
        else:
            yield f"{low} {left} x {right} {high}"
        if r"\infty)" in inner and r"-\infty" not in inner:
            yield inner.replace(r"\infty", r"+\infty")
            yield inner.replace(r"\infty", "∞")


def union_order(text: str) -> Iterator[str]:
    if text.count(r"\cup") == 1:
        first, second = text.split(r"\cup")
        yield rf"{second.strip()} \cup {first.strip()}"


def plus_minus(text: str) -> Iterator[str]:
    if match := PLUS_MINUS.fullmatch(text):
        yield f"{match[1]} + {match[2]}, {match[1]} - {match[2]}"
        yield f"{match[1]} - {match[2]}, {match[1]} + {match[2]}"
        yield rf"\{{{match[1]} + {match[2]}, {match[1]} - {match[2]}\}}"


def root_forms(text: str) -> Iterator[str]:
    if match := ROOT.fullmatch(text):
        factor, inside = match[1], int(match[2])
        if factor not in ("", "-"):
            yield rf"{factor} \cdot \sqrt{{{inside}}}"
            yield rf"{factor}*\sqrt{{{inside}}}"
            yield ("-" if int(factor) < 0 else "") + rf"\sqrt{{{int(factor) ** 2 * inside}}}"
        if inside < 10:
            yield rf"{factor}\sqrt{inside}"
        yield f"{factor}√{inside}"
        yield f"{factor}sqrt({inside})"


def swapped_terms(text: str) -> Iterator[str]:
    match = re.fullmatch(r"(-?[^-+,=\s(){}]+)\s*\+\s*([^-+,=\s(){}]+)", text)
    if match and "pm" not in text:
        yield f"{match[2]} + {match[1]}"


def matrix_forms(text: str) -> Iterator[str]:
    if MATRIX.fullmatch(text):
        yield text.replace("pmatrix", "bmatrix")
        changed = re.sub(r"(-?)(\d+)/(\d+)", r"\1\\frac{\2}{\3}", text)
        if changed != text:
            yield changed


def relation_forms(text: str) -> Iterator[str]:
    if (match := RELATION.fullmatch(text)) and match[2] == r"\geqslant":
        for sign in (r"\ge", r"\geq", ">=", "≥"):
            yield f"{match[1]} {sign} {match[3]}"
        yield rf"{match[3]} \le {match[1]}"


def based(text: str) -> Iterator[str]:
    if match := BASE.fullmatch(text):
        yield f"{match[1]}_{match[2]}"
        yield f"{match[1]}_{{{match[2]}}}"
        yield match[1]


def power_of_ten(text: str) -> Iterator[str]:
    value = number(text)
    if value is not None and value.denominator == 1 and value and value % 1000 == 0:
        digits = len(str(abs(value.numerator))) - 1
        mantissa = decimal(value / 10**digits)
        assert mantissa is not None
        yield rf"{mantissa} \times 10^{{{digits}}}"
        yield f"{mantissa}e{digits}"


def mixed_spellings(text: str) -> Iterator[str]:
    match = MIXED.fullmatch(text)
    value = number(text)
    if match or (value is not None and abs(value) > 1 and FRACTION.fullmatch(text) and value.denominator > 1):
        whole, top, bottom = (
            tuple(map(int, match.groups()))
            if match
            else (*divmod(abs(value.numerator), value.denominator), value.denominator)
        )
        sign = "-" if value is not None and value < 0 else ""
        yield f"{sign}{whole} {top}/{bottom}"
        for form in (
            rf"\frac{{{top}}}{{{bottom}}}",
            rf" \tfrac{{{top}}}{{{bottom}}}",
            rf"\ \frac{{{top}}}{{{bottom}}}",
        ):
            yield f"{sign}{whole}{form}"


def repeating(text: str) -> Iterator[str]:
    value = number(text)
    if value is None or decimal(value) is not None:
        return
    digits, rests, rest = "", [], abs(value.numerator) % value.denominator
    while rest not in rests and len(rests) < 12:
        rests.append(rest)
        digits += str(rest * 10 // value.denominator)
        rest = rest * 10 % value.denominator
    if rest in rests:
        start = rests.index(rest)
        whole = ("-" if value < 0 else "") + str(abs(value.numerator) // value.denominator)
        yield rf"{whole}.{digits[:start]}\overline{{{digits[start:]}}}"
        yield f"{whole}.{digits[:start]}({digits[start:]})"


def other_signs(text: str) -> Iterator[str]:
    if INTEGER.fullmatch(text):
        yield text.translate(str.maketrans("0123456789-", "０１２３４５６７８９−"))
    if text in (r"\frac{1}{2}", r"\frac{3}{4}", r"\frac{1}{3}"):
        yield {"1": "½", "3": "¾"}[text[6]] if text[9] != "3" else "⅓"
    changed = re.sub(r"\^(?:\{([23])\}|([23])(?!\d))", lambda match: "²³"[int(match[1] or match[2]) - 2], text)
    if changed != text and "text" not in text and "mbox" not in text:
        yield changed
    if r"\pi" in text:
        yield re.sub(r"\\pi\s*", "π", text)


def other_currency(text: str) -> Iterator[str]:
    if (value := number(text)) is not None and value > 0 and "frac" not in text:
        for form in ("€{}", "£{}", "{} €", r"\text{{€}}{}"):
            yield form.format(text)


def nested(text: str) -> Iterator[str]:
    if number(text) is not None and "," not in text:
        yield "{" * 5 + text + "}" * 5
    if ROOT.fullmatch(text):
        yield re.sub(r"\{(\d+)\}", r"{{{{\1}}}}", text)


def roman(text: str) -> Iterator[str]:
    changed = re.sub(r"(?<![a-zA-Z\\])([ei])(?![a-zA-Z])", r"\\mathrm{\1}", text)
    if changed != text and "text" not in text:
        yield changed


def french(text: str) -> Iterator[str]:
    if (match := TWO_ENDS.fullmatch(text)) and is_interval(text):
        yield f"{']' if match[1] == '(' else '['}{match[2]}, {match[3]}{'[' if match[4] == ')' else ']'}"


def joined(text: str) -> Iterator[str]:
    """A union of intervals as inequalities."""
    if text.count(r"\cup") == 1 and all(TWO_ENDS.fullmatch(part.strip()) for part in text.split(r"\cup")):
        relations = []
        for part in text.split(r"\cup"):
            left, low, high, right = TWO_ENDS.fullmatch(part.strip()).groups()
            below, above = ("<" if left == "(" else r"\le"), ("<" if right == ")" else r"\le")
            if "infty" in low:
                relations.append(f"x {above} {high}")
            elif "infty" in high:
                relations.append(f"{low} {below} x")
            else:
                relations.append(f"{low} {below} x {above} {high}")
        yield r" \text{ or } ".join(relations)
        yield " or ".join(relations)


SAME: tuple[Rule, ...] = (
    *(itself, dollars, trailing_period, spaces, display_fraction, slash, short_fraction, sign_of_fraction),
    *(decimal_form, mixed_number, leading_sign, leading_zero, thousands, degrees, percent, with_unit, without_unit),
    *(money, named, dressed, worded, lettered, listed, bracketed, interval_forms, union_order, plus_minus, root_forms),
    *(swapped_terms, matrix_forms, relation_forms, based, power_of_ten, mixed_spellings, repeating, other_signs),
    *(other_currency, nested, roman, french, joined),
)


# --- another value ---------------------------------------------------------------------------------------------------


def off_by_one(text: str) -> Iterator[str]:
    """The first, and the last, whole number in the text one higher (what stands left of a `=`, and units, stay)."""
    start = text.find("=") + 1
    unit = UNIT.fullmatch(text)
    end = len(unit[1]) if unit and unit[1] else len(text)
    numbers = [match for match in re.finditer(r"(?<![\d.,!])\d+(?![\d.,])", text) if start <= match.start() < end]
    for match in dict.fromkeys((numbers[0], numbers[-1])) if numbers else ():
        yield text[: match.start()] + str(int(match[0]) + 1) + text[match.end() :]


def next_integer(text: str) -> Iterator[str]:
    value = number(text)
    if value is not None and value.denominator == 1:
        for other in (value + 1, value - 1, value + 10, 10 * value + 1):
            yield str(other)
        if value:
            yield str(value * 10)


def flipped_sign(text: str) -> Iterator[str]:
    value = number(text)
    if value:
        yield text[1:] if text.startswith("-") else f"-{text}"
        if value.denominator != 1:
            yield fraction(-value)
    elif (match := TUPLE.fullmatch(text)) and INTEGER.match(first := match[1].split(",")[0].strip()) and first != "0":
        yield text.replace(first, first[1:] if first.startswith("-") else f"-{first}", 1)
    elif ROOT.fullmatch(text):
        yield text[1:] if text.startswith("-") else f"-{text}"


def other_fraction(text: str) -> Iterator[str]:
    if FRACTION.fullmatch(text) and (value := number(text)) is not None:
        yield fraction(1 / value)
        yield fraction(Fraction(value.numerator + value.denominator, value.denominator))
        yield rf"{value.numerator}"
        yield f"{value.denominator}"
        yield f"{value.numerator}{value.denominator}"
        yield f"{float(value):.2f}" if abs(float(f"{float(value):.2f}") - value) > 1e-4 else fraction(value + 1)


def other_decimal(text: str) -> Iterator[str]:
    if DECIMAL.fullmatch(text):
        value = Fraction(text)
        if value.denominator != 1:
            yield text[:-1] if number(text[:-1]) not in (None, value) else text + "1"
            yield text + "1"
            for other in (value * 10, value / 10, 1 / value):
                yield decimal(other) or fraction(other)
            yield text.replace(".", "") or "0"


def other_order(text: str) -> Iterator[str]:
    """Points, vectors and matrices keep their order."""
    if match := TUPLE.fullmatch(text):
        members = [member.strip() for member in match[1].split(",")]
        if members != members[::-1]:
            yield f"({', '.join(reversed(members))})"
        if len(members) > 2 and members[0] != members[1]:
            yield f"({', '.join([members[1], members[0], *members[2:]])})"
        yield f"({', '.join([*members, members[0]])})"
        yield f"({', '.join(members[:-1])})" if len(members) > 2 else members[0]
    if MATRIX.fullmatch(text):
        rows = [row.strip() for row in re.sub(r"\\(?:begin|end)\{pmatrix\}", "", text).split(r"\\")]
        if rows != rows[::-1]:
            yield r"\begin{pmatrix} " + r" \\ ".join(reversed(rows)) + r" \end{pmatrix}"


def other_ends(text: str) -> Iterator[str]:
    inner = re.sub(r"^x\s*\\in\s*", "", text)
    match = TWO_ENDS.fullmatch(inner)
    if match and is_interval(inner):
        left, low, high, right = match[1], match[2].strip(), match[3].strip(), match[4]
        if "infty" not in low:
            yield f"{'[' if left == '(' else '('}{low}, {high}{right}"
        if "infty" not in high:
            yield f"{left}{low}, {high}{']' if right == ')' else ')'}"
        yield f"{left}{high}, {low}{right}"
        yield low if "infty" not in low else high
        yield rf"\{{{low}, {high}\}}"
        strict = {"(": "<", "[": r"\le", ")": "<", "]": r"\le"}
        other = {"<": r"\le", r"\le": "<"}
        if low == r"-\infty":
            yield f"x {other[strict[right]]} {high}"
        elif high != r"\infty":
            yield f"{low} {other[strict[left]]} x {strict[right]} {high}"
    if text.count(r"\cup") == 1:
        first, second = text.split(r"\cup")
        yield first.strip()
        yield second.strip()
        yield text.replace(r"\cup", r"\cap")


def other_members(text: str) -> Iterator[str]:
    if members := parts(text):
        yield ", ".join([*members, "99"])
        yield ", ".join(members[:-1]) if len(members) > 1 else "99"
        yield ", ".join(["99", *members[1:]])
        yield members[-1]
    if PLUS_MINUS.fullmatch(text):
        yield text.replace(r"\pm", "+")
        yield text.replace(r"\pm", "-")


def other_percent(text: str) -> Iterator[str]:
    if (match := PERCENT.fullmatch(text)) and (value := number(match[1])) is not None:
        for other in (value * 10, value / 100, value + 1):
            yield f"{decimal(other)}\\%"
        yield f"{decimal(value * 10)}"
        yield f"{decimal(value / 1000)}"


def other_base(text: str) -> Iterator[str]:
    if match := BASE.fullmatch(text):
        yield f"{match[1]}_{{{int(match[2]) + 1}}}"
        yield f"{int(match[1]) + 1}_{{{match[2]}}}"


def other_word(text: str) -> Iterator[str]:
    if match := TEXT.fullmatch(text):
        yield r"\text{other}"
        yield rf"\text{{not {match[1]}}}"
        yield "7"
    if match := CHOICE.fullmatch(text):
        yield rf"\text{{({chr(ord(match[1]) % 69 % 65 + 65) if match[1] != 'A' else 'B'})}}"
        yield chr(65 + (ord(match[1]) - 64) % 5)


def other_root(text: str) -> Iterator[str]:
    if match := ROOT.fullmatch(text):
        factor, inside = match[1], match[2]
        yield f"{factor}{inside}"
        if factor not in ("", "-", "1"):
            yield rf"\sqrt{{{inside}}}"
            yield rf"{factor} + \sqrt{{{inside}}}"
        yield rf"{factor}\sqrt[3]{{{inside}}}"


def other_relation(text: str) -> Iterator[str]:
    if match := RELATION.fullmatch(text):
        for sign in (">", "<", r"\le", "="):
            yield f"{match[1]} {sign} {match[3]}"


def other_name(text: str) -> Iterator[str]:
    if match := re.fullmatch(r"([a-z])\s*=\s*(.+)", text):
        yield f"{'z' if match[1] != 'z' else 'w'} = {match[2]}"
    swaps = {"p - q": "q - p", r"\cot x": r"\tan x", "$2n$": "n^2", r"\pi": "3"}
    if text in swaps:
        yield swaps[text]
    if re.fullmatch(r"\d+\s*[a-zA-Z]", text):
        yield text[:-1].strip()
        yield f"{text[:-1]}{'z' if text[-1] != 'z' else 'w'}"


def one_more_term(text: str) -> Iterator[str]:
    """An added 1 changes every expression, and neither a list, a relation nor a word."""
    if not re.search(r"[,=<>%]|text|mbox|\\pm|matrix|\\in|geq|circ|\\\$|_|cup|\]", text):
        yield f"{text} + 1"
        yield rf"2 \left({text}\right)" if number(text) != 0 else "2"


def other_multiplicity(text: str) -> Iterator[str]:
    if members := parts(text):
        yield ", ".join([*members, members[0]])
        if len(members) > 2:
            yield ", ".join([members[0], *members[:-1]])


def mixed_as_product(text: str) -> Iterator[str]:
    match = MIXED.fullmatch(text)
    value = number(text)
    if match or (value is not None and value > 1 and FRACTION.fullmatch(text) and value.denominator > 1):
        whole, top, bottom = (
            tuple(map(int, match.groups()))
            if match
            else (*divmod(value.numerator, value.denominator), value.denominator)
        )
        yield fraction(Fraction(whole * top, bottom))
        yield f"{whole + 1} {top}/{bottom}"
        yield f"{whole}{top}/{bottom}"


def as_text(text: str) -> Iterator[str]:
    """Times, ratios and sequences of the same digits, which arithmetic would make the reference's value."""
    value = number(text)
    if value is None or value.denominator == 1:
        if value is not None and value > 1:
            yield rf"1, 2, \ldots, {text}"
            yield f"{value}:1:1"
        return
    if value > 0:
        yield f"{value.numerator}:{value.denominator}:1"
        if value.numerator < 3 and value.denominator < 6:
            yield f"{value.numerator * 10}:{value.denominator * 10}"


def other_repeating(text: str) -> Iterator[str]:
    """The digits without the bar, where they are too few to be the value rounded."""
    for form in repeating(text):
        digits = re.sub(r"\\overline|[{}()]", "", form)
        if len(digits.partition(".")[2]) < 5:
            yield digits


OTHER: tuple[Rule, ...] = (
    *(off_by_one, next_integer, flipped_sign, other_fraction, other_decimal, other_order, other_ends, other_members),
    *(other_percent, other_base, other_word, other_root, other_relation, other_name, one_more_term),
    *(other_multiplicity, mixed_as_product, as_text, other_repeating),
)


def plain(reference: str) -> str:
    """Return a reference as a model would put it into a box: no dollars around it, no full stop after it."""
    if r"\$" in reference:
        return reference
    return reference.replace("$", "").strip().rstrip(".").strip()


def equivalents(reference: str) -> list[tuple[str, str]]:
    """Return (rule, text) for texts of the same value as the plain reference, the reference itself first."""
    return _apply(SAME, reference)


def near_misses(reference: str) -> list[tuple[str, str]]:
    """Return (rule, text) for texts of another value that look like the plain reference."""
    return [(rule, text) for rule, text in _apply(OTHER, reference) if text.strip() != reference.strip()]


def _apply(rules: tuple[Rule, ...], reference: str) -> list[tuple[str, str]]:
    found: dict[str, str] = {}
    for rule in rules:
        for text in rule(reference):
            found.setdefault(text, rule.__name__)
    return [(name, text) for text, name in found.items()]
