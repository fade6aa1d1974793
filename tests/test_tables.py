"""One table, four ways to write it."""

from __future__ import annotations

from attnpo.metrics import METRICS, SRA, metric_of
from attnpo.statistics import Interval
from attnpo.tables import NOTHING, Number, Table, csv_text, number_of

GAIN = Interval(value=0.0731, low=0.051, high=0.094)
UNCLEAR = Interval(value=-0.01, low=-0.02, high=0.001)


def test_a_number_in_every_way():
    share = number_of("accuracy", Interval(value=0.935, low=0.921, high=0.949))
    assert share.markdown() == "93.5 [92.1, 94.9]"
    assert share.terminal() == "93.5 ±1.4"
    assert share.html() == ("93.5\u00a0%", "92.1–94.9")
    change = number_of("accuracy", GAIN, difference=True)
    assert change.terminal().plain == "+7.3\n[5.1, 9.4]"
    assert change.html() == ("+7.3", "+5.1 to +9.4")
    assert change.measurable
    unclear = number_of("accuracy", UNCLEAR, difference=True)
    assert unclear.html() == ("−1.0", "−2.0 to +0.1")
    assert not unclear.measurable
    unknown = number_of("accuracy", None)
    assert (unknown.markdown(), unknown.terminal(), unknown.html()) == (NOTHING, NOTHING, ("", ""))


def test_long_lengths_have_no_decimals_and_costs_of_one_run_no_interval():
    assert number_of("response_tokens", Interval(value=8005.3, low=7900, high=8100.2)).terminal() == "8,005 ±100"
    steps = Number(Interval(value=10, low=10, high=10), METRICS["optimizer_steps"])
    assert (steps.markdown(), steps.html()) == ("10", ("10", ""))
    zero = number_of("efficiency", Interval(value=-0.001, low=-0.001, high=0.001), difference=True)
    assert zero.html()[0] == "0.00"


def test_what_a_counter_counted_is_named_by_it():
    assert (metric_of("count:useful_things").title, metric_of("count:useful_things").digits) == ("useful things", 3)
    assert metric_of("pass@8") is METRICS["pass"]


def test_markdown_terminal_and_csv():
    table = Table.of("t", ("arm", "accuracy, %"), [("a|b", number_of("accuracy", GAIN)), ("base", "–")])
    assert table.markdown().splitlines() == [
        "| arm | accuracy, % |",
        "|---|---|",
        "| a\\|b | 7.3 [5.1, 9.4] |",
        "| base | – |",
    ]
    assert [list(column.cells) for column in table.terminal().columns] == [["a|b", "base"], ["7.3 ±2.2", "–"]]
    assert csv_text(("arm", "value", "low", "high"), [("a", GAIN), ("b", None)]) == (
        "arm,value,low,high\na,0.0731,0.051,0.094\nb,,,\n"
    )


def test_a_ranking_accuracy_has_short_bounds_on_a_page_and_its_difference_has_not():
    sra = Interval(value=0.9014, low=0.8912, high=0.9149)
    assert Number(sra, SRA).html() == ("0.901", "0.89–0.91")
    assert Number(sra, SRA).markdown() == "0.901 [0.891, 0.915]"
    drop = Interval(value=-0.012, low=-0.02, high=-0.004)
    assert Number(drop, SRA, difference=True).html() == ("−0.012", "−0.020 to −0.004")
