"""Results as plots: SVG files, drawn by matplotlib."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .cells.workloads import GROUPS, METRICS
from .figures import compact

if TYPE_CHECKING:
    from .results import Results

__all__ = ["MissingError", "check", "draw"]

COLORS = {
    "threads": "#444444",
    "noblock": "#999999",
    "backend": "#cccccc",
    "zmq.green": "#d62728",
    "eventlet.green.zmq": "#ff7f0e",
    "zmq.asyncio": "#9467bd",
    "zmq.asyncio+uvloop": "#c5b0d5",
    "greenzmq.aio": "#2ca02c",
    "greenzmq.aio+uvloop": "#98df8a",
    "greenzmq-gevent": "#1b7837",
    "greenzmq-eventlet": "#5aae61",
    "greenzmq-selector": "#2166ac",
    "greenzmq-asyncio": "#4393c3",
    "greenzmq-asyncio+uvloop": "#92c5de",
}

CURVES = {
    "poller": ("sockets registered", "us"),
    "poller-waiting": ("sockets registered", "us"),
    "beside": ("other sockets that wait", "p50 us"),
    "receivers": ("tasks that receive from one socket", "rate"),
    "hubs": ("hubs, each in a thread", "rate"),
}
"""By group: what grows, and what is looked at."""


STYLE = {
    "svg.hashsalt": "greenzmq",  # the same results give the same files
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
}


class MissingError(Exception):
    """Matplotlib is not installed."""


def check() -> None:
    """Raise `MissingError` if nothing can be drawn."""
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingError("plots need matplotlib: python -m pip install matplotlib")


def draw(results: Results, directory: Path) -> list[Path]:
    """Draw what the results have enough of; the files that were written."""
    check()
    matplotlib = importlib.import_module("matplotlib")
    matplotlib.use("svg")
    matplotlib.rcParams.update(STYLE)
    pyplot = importlib.import_module("matplotlib.pyplot")
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for name, figure in _figures(results, pyplot):
        path = directory / f"{name}.svg"
        figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
        pyplot.close(figure)
        written.append(path)
    return written


def _figures(results: Results, pyplot: Any) -> Iterator[tuple[str, Any]]:
    for group in GROUPS:
        members = [workload for workload in results.workloads if workload["group"] == group]
        if group == "one-way" and len(members) > 1:
            yield group, _sizes(results, pyplot, members)
        elif group in CURVES and len(members) > 1:
            yield group, _curve(results, pyplot, group, members)
        elif members:
            yield group, _bars(results, pyplot, group, members)


def _curve(results: Results, pyplot: Any, group: str, members: Sequence[dict[str, Any]]) -> Any:
    label, metric = CURVES[group]
    figure, axes = pyplot.subplots(figsize=(7, 4.2))
    _lines(results, axes, [(one["x"], one["name"]) for one in members], metric)
    axes.set(xlabel=label, ylabel=METRICS[metric].unit, title=f"{group}: {GROUPS[group]}")
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _sizes(results: Results, pyplot: Any, members: Sequence[dict[str, Any]]) -> Any:
    """A panel for each way from one socket to another, and in it a line over the sizes for each contender."""
    ways: dict[str, list[tuple[float, str]]] = {}
    for one in members:
        has = one["parameters"]
        way = has["transport"] + ", two processes" * (has.get("processes") == 2) + ", zero-copy" * ("copy" in has)
        ways.setdefault(way, []).append((has["size"], one["name"]))
    figure, panels = _panels(pyplot, len(ways), 4.2, 3.2)
    for axes, (way, points) in zip(panels, ways.items(), strict=False):
        _lines(results, axes, points, "rate")
        axes.set(title=way, xlabel="bytes", ylabel="messages/s")
    figure.tight_layout()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="lower right", fontsize=8)
    return figure


def _lines(results: Results, axes: Any, workloads: Sequence[tuple[float, str]], metric: str) -> None:
    for contender in results.contenders:
        found = [(x, results.figure(name, contender, metric)) for x, name in workloads]
        points = sorted((x, value.median) for x, value in found if value is not None)
        if points:
            style = "--" if contender.startswith("greenzmq-") else "-"
            axes.plot(*zip(*points, strict=True), style, marker=".", color=COLORS.get(contender), label=contender)
    ticker = importlib.import_module("matplotlib.ticker")
    axes.set(xscale="log", yscale="log")
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(_tick)
    axes.minorticks_off()


def _tick(value: float, _: object) -> str:
    """At a tick of an axis: 20k, 0.5, 100."""
    return re.sub(r"\.?0+(?=\D?$)", "", text) if "." in (text := compact(value)) else text


def _panels(pyplot: Any, number: int, width: float, height: float) -> tuple[Any, list[Any]]:
    columns = min(3, number)
    lines = -(-number // columns)
    figure, panels = pyplot.subplots(lines, columns, figsize=(width * columns, height * lines), squeeze=False)
    for axes in panels.flat[number:]:
        axes.set_visible(False)
    return figure, list(panels.flat)


def _bars(results: Results, pyplot: Any, group: str, members: Sequence[dict[str, Any]]) -> Any:
    """A panel for each workload's first metric, a bar for each contender with its spread."""
    figure, panels = _panels(pyplot, len(members), 4.2, 2.7)
    for axes, one in zip(panels, members, strict=False):
        metric = METRICS[one["metrics"][0]]
        found = [(name, results.figure(one["name"], name, metric.name)) for name in reversed(results.contenders)]
        bars = [(name, value) for name, value in found if value is not None]
        axes.barh(
            [name for name, _ in bars],
            [value.median for _, value in bars],
            xerr=[value.median * value.spread for _, value in bars],
            color=[COLORS.get(name) for name, _ in bars],
        )
        better = "more" if metric.more_is_better else "less"
        axes.set_title(f"{one['name']} ({metric.unit}, {better} is better)", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.locator_params(axis="x", nbins=5)
        axes.xaxis.set_major_formatter(_tick)
    figure.suptitle(f"{group}: {GROUPS[group]}")
    figure.tight_layout()
    return figure
