"""Pages of figures."""

from __future__ import annotations

import plotly.graph_objects as go
import pytest

from nas.core.figures import blank, label_logarithms


@pytest.mark.parametrize(("low", "high"), [(0.116, 0.251), (1.2, 6.2), (0.9, 1.1), (3e-5, 8e-4)])
def test_a_short_logarithmic_axis_has_labels_enough(low, high):
    figure = blank("latency (ms)", "multiply-adds (M)", log=True)
    figure.add_scatter(x=[low, None, high], y=[1, 2, 1000])
    label_logarithms(figure)
    shown = [t for t in figure.layout.xaxis.tickvals if 0.9 * low <= t <= 1.1 * high]
    assert 2 <= len(shown) <= 10
    assert [float(text) for text in figure.layout.xaxis.ticktext] == pytest.approx(
        figure.layout.xaxis.tickvals
    )
    assert [t for t in figure.layout.yaxis.tickvals if 1 <= t < 10] == [1, 2, 5]


def test_other_axes_are_left_alone():
    figure = blank("phi", "times the baseline")
    figure.add_scatter(x=[0, 1], y=[1, 2])
    label_logarithms(figure)
    assert figure.layout.xaxis.tickvals is None
    ternary = go.Figure(go.Scatterternary(a=[1], b=[1], c=[1]))
    label_logarithms(ternary)
    assert ternary.layout.xaxis.tickvals is None
