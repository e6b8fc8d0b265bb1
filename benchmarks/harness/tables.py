"""Results as tables: for a terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from .cells.contenders import AWAITABLE, OURS
from .cells.workloads import GROUPS
from .figures import compact

if TYPE_CHECKING:
    from .floors import Floor, Verdict
    from .results import Results

__all__ = ["FLOOR_HEADINGS", "floor_rows", "headings", "headline", "markdown", "replace_marked", "rows"]

BEGIN, END = "<!-- results of the last run: written by `python benchmarks` -->", "<!-- end of results -->"

SHORT = {name: name.replace("greenzmq-", "g/").replace("asyncio+", "") for name in OURS} | {
    "eventlet.green.zmq": "eventlet.g."
}
"""What is too long for the head of a column."""

FLOOR_HEADINGS = ("workload", "at least", *(name.removeprefix("greenzmq-") for name in (*OURS, *AWAITABLE)))

NOTHING = "-"


def headline(results: Results) -> str:
    """When, on what, with what."""
    document = results.document
    machine = ", ".join(f"{key} {value}" for key, value in document["machine"].items() if value is not None)
    versions = ", ".join(f"{key} {value}" for key, value in document["versions"].items())
    rounds = sorted({*document["options"].get("rounds", {}).values()}, reverse=True)
    how = (
        " and ".join(str(number) for number in rounds) + " rounds" + ", quick" * document["options"].get("quick", False)
    )
    return (
        f"{document['began']}, {document['seconds']:.0f} s, {how}\n{machine}\n{versions}{_doubt(document['machine'])}"
    )


def _doubt(machine: dict[str, Any]) -> str:
    """A line more, if the machine had something else to do."""
    load, cores = machine.get("load") or 0, machine.get("cores") or 1
    if load <= cores / 2:
        return ""
    return f"\nThe machine was busy when this began, load {load} on {cores} cores: no number here means much."


def headings(results: Results, *, short: bool = False) -> list[str]:
    """The columns of `rows`."""
    return ["workload", *(SHORT.get(name, name) if short else name for name in results.contenders)]


def rows(results: Results, workloads: Sequence[str] | None = None, *, spread: bool = True) -> Iterator[list[str]]:
    """A row for each metric of each workload, with the medians and their spread."""
    for workload in results.workloads:
        if workloads is None or workload["name"] in workloads:
            for metric in workload["metrics"]:
                cells = [_cell(results, workload["name"], name, metric, spread) for name in results.contenders]
                yield [f"{workload['name']}, {'1/s' if metric == 'rate' else metric}", *cells]


def _cell(results: Results, workload: str, contender: str, metric: str, spread: bool) -> str:
    figure = results.figure(workload, contender, metric)
    if figure is not None:
        return str(figure) if spread else compact(figure.median)
    return "failed" if "error" in results.cell(workload, contender) else NOTHING


def floor_rows(verdicts: Sequence[Verdict]) -> Iterator[list[str]]:
    """A row for each floor; in the columns of our hubs and loops the ratio, with a mark if it is missed."""
    by_floor: dict[Floor, dict[str, Verdict]] = {}
    for verdict in verdicts:
        by_floor.setdefault(verdict.floor, {})[verdict.contender] = verdict
    for floor, found in by_floor.items():
        if any(verdict.ratio for verdict in found.values()):
            yield [floor.workload, floor.words, *(_verdict(found.get(name)) for name in (*OURS, *AWAITABLE))]


def _verdict(verdict: Verdict | None) -> str:
    if verdict is None or verdict.ratio is None:
        return NOTHING
    value, low, high = verdict.ratio
    if verdict.floor.is_share:
        value, low, high = 1 / value, 1 / high, 1 / low
    rounds = f" ({compact(low)}–{compact(high)})" if low < high else ""
    return f"{compact(value)}{rounds}{'' if verdict.is_met else ' missed'}"


def markdown(results: Results, verdicts: Sequence[Verdict]) -> str:
    """Everything, as a section of a Markdown file."""
    parts = [*(f"{line}  " for line in headline(results).splitlines()), ""]
    if any(verdict.ratio for verdict in verdicts):
        parts += ["### Floors", "", *_markdown_table(FLOOR_HEADINGS, list(floor_rows(verdicts)), left=2), ""]
    for group, title in GROUPS.items():
        names = [workload["name"] for workload in results.workloads if workload["group"] == group]
        if names:
            parts += [f"### {group}: {title}", ""]
            parts += [*_markdown_table(headings(results), list(rows(results, names))), ""]
            parts += [f"- {line}" for line in reasons(results, names)] + [""]
    return "\n".join(parts).replace("\n\n\n", "\n\n")


def reasons(results: Results, workloads: Sequence[str]) -> list[str]:
    """Who is not in the table and why."""
    found: dict[tuple[str, str], list[str]] = {}
    for workload in workloads:
        for contender in results.contenders:
            cell = results.cell(workload, contender)
            why = cell.get("without") or (f"failed: {cell['error']}" if "error" in cell else "")
            if why:
                found.setdefault((contender, why), []).append(workload)
    return [
        f"{contender}{'' if names == list(workloads) else ' (' + ', '.join(names) + ')'}: {why}"
        for (contender, why), names in found.items()
    ]


def _markdown_table(heads: Sequence[str], lines: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    rule = ["---" if column < left else "--:" for column in range(len(heads))]
    return [f"| {' | '.join(line)} |" for line in (heads, rule, *lines)]


def replace_marked(text: str, section: str) -> str:
    """`text` with `section` between the marks, or after it, with marks, if it has none."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        before, after = f"{text.rstrip()}\n\n" if text.strip() else "", "\n"
    return f"{before}{BEGIN}\n\n{section.strip()}\n\n{END}{after}"
