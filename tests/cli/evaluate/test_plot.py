from __future__ import annotations

import pytest

from rerank_server.cli.evaluate.markup import Html, element, join
from rerank_server.cli.evaluate.plot import decades, linear, logarithmic, round_up, shares


@pytest.mark.parametrize(
    ("value", "above"),
    [(0, 1), (0.03, 0.05), (0.1, 0.1), (0.11, 0.2), (0.6, 1), (1, 1), (3, 5), (70, 100)],
)
def test_an_axis_ends_at_a_round_value(value: float, above: float) -> None:
    assert round_up(value) == pytest.approx(above)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (1, 1000, [1, 10, 100, 1000]),
        (8, 120, [10, 20, 50, 100]),
        (90, 420, [100, 150, 200, 300, 400]),
    ],
)
def test_a_logarithmic_axis_has_three_ticks_or_more(
    low: float, high: float, ticks: list[float]
) -> None:
    assert decades(low, high) == pytest.approx(ticks)


def test_scales_take_ends_to_ends() -> None:
    assert [linear(2, 4, 10, 30)(value) for value in (2, 3, 4)] == [10, 20, 30]
    assert linear(2, 2, 10, 30)(2) == 10
    assert logarithmic(1, 100, 0, 10)(10) == pytest.approx(5)


def test_every_value_is_in_one_bin() -> None:
    assert shares([0, 0.5, 0.99, 1, 7, -1], [0, 0.5, 1]) == [2 / 6, 4 / 6]
    assert shares([], [0, 0.5, 1]) == [0, 0]


def test_a_text_is_escaped_and_markup_is_not() -> None:
    bold = element("b", "<1 & 2>", title='"quoted" <tag>', hidden=True, id=None)

    assert bold == '<b title="&quot;quoted&quot; &lt;tag&gt;" hidden>&lt;1 &amp; 2&gt;</b>'
    assert join(["<", bold, None, Html("<br>")]) == f"&lt;{bold}<br>"
    assert element("meta", charset="utf-8") == '<meta charset="utf-8">'
    assert element("rect", x=1.0, y=2.346, class_="a", stroke_width=3) == (
        '<rect x="1" y="2.35" class="a" stroke-width="3"></rect>'
    )
