"""What the pictures of the benchmarks share."""

from __future__ import annotations

from typing import Any

from processes import BACKENDS


def plain_logarithms(axis: Any) -> None:
    """Label a logarithmic axis at 1, 2 and 5 times the powers of ten, in plain numbers.

    Parameters
    ----------
    axis : matplotlib.axis.Axis
        Of axes whose scale is logarithmic already.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = sorted(axis.get_view_interval())
    few = high / low > 300
    axis.set_major_locator(LogLocator(10, (1.0,) if few else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def few_ticks(axis: Any, number: int = 3) -> None:
    """Put few ticks on a narrow linear axis."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(number))


def backend_color(backend: str) -> str:
    """Return the color that a backend has in all pictures."""
    from deepsphere.plot.style import COLORS

    return COLORS[sorted(BACKENDS).index(backend)]
