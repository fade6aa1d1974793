"""Batches of steps for properties of credit."""

from __future__ import annotations

from hypothesis import strategies as st


@st.composite
def step_batches(draw, make):
    rows = draw(st.lists(st.lists(st.floats(0, 1, width=32), max_size=6), min_size=1, max_size=4))
    size = len(rows)

    def column(values):
        return draw(st.lists(values, min_size=size, max_size=size))

    return make(
        rows,
        step_lengths=[draw(st.lists(st.integers(0, 9), min_size=len(row), max_size=len(row))) for row in rows],
        answer=column(st.integers(0, 30)),
        response=column(st.integers(1, 90)),
        advantage=column(st.floats(-1, 1, width=32)),
        correct=column(st.booleans()),
        pass_rate=column(st.sampled_from([0.0, 0.125, 0.5, 0.875, 1.0])),
        t=draw(st.integers(0, 40)),
    )
