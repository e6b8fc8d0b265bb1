"""What a run gave: one JSON document, and the questions one asks it."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .cells.workloads import METRICS
from .figures import Figure, Ratio, compare, summarize
from .machine import COMPILED, FAST_PATH

__all__ = ["FORMAT", "Results", "ResultsError"]

FORMAT = 1
"""Raised with every change that a reader of the document has to know of."""

KEYS = {"format", "began", "seconds", "options", "machine", "versions", "left_out", "workloads", "cells"}


class ResultsError(Exception):
    """This is not a document of ours."""


class Results:
    """A run's results.

    Parameters
    ----------
    document : dict
        ``cells`` maps the name of a workload and that of a contender to what came of it: ``{"rounds": [...]}``, each
        round with the values of all repetitions of each metric, ``{"error": message}``, or ``{"without": why}``.

    Raises
    ------
    ResultsError
        The document is of another kind, or of another version's format.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        if not document.keys() >= KEYS:
            raise ResultsError("this is not a document that `python benchmarks --json` wrote")
        if document["format"] != FORMAT:
            raise ResultsError(f"the document has format {document['format']}, this version reads {FORMAT}")
        self.document = document

    @classmethod
    def load(cls, path: str | Path) -> Results:
        """Read a document. Raises `OSError` or `ResultsError`."""
        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ResultsError(f"{path} is not JSON: {error}") from error
        return cls(document if isinstance(document, dict) else {})

    def text(self) -> str:
        """The document as JSON, each cell on a line of its own."""
        parts = {key: json.dumps(value, ensure_ascii=False) for key, value in self.document.items()}
        rows = {
            name: _lines({one: json.dumps(cell) for one, cell in row.items()}, 3)
            for name, row in self.document["cells"].items()
        }
        return _lines(parts | {"cells": _lines(rows, 2)}, 1) + "\n"

    @property
    def workloads(self) -> list[dict[str, Any]]:
        """Those that were measured, in order: ``name``, ``group``, ``metrics``, ``x``."""
        return list(self.document["workloads"])

    @property
    def compiled(self) -> bool:
        """Whether greenzmq had its compiled fast path; documents from before there was one do not say so."""
        return bool(self.document["versions"].get(FAST_PATH) == COMPILED)

    @property
    def contenders(self) -> list[str]:
        """Those that were measured, in order."""
        return list(dict.fromkeys(name for row in self.document["cells"].values() for name in row))

    def cell(self, workload: str, contender: str) -> dict[str, Any]:
        """What came of one cell; empty if it was not asked for."""
        return dict(self.document["cells"].get(workload, {}).get(contender, {}))

    def rounds(self, workload: str, contender: str, metric: str) -> list[float]:
        """Each round's median, or nothing."""
        rounds = self.cell(workload, contender).get("rounds", ())
        return [statistics.median(said[metric]) for said in rounds if metric in said]

    def figure(self, workload: str, contender: str, metric: str) -> Figure | None:
        """The median of the rounds and their spread; None if there are none."""
        rounds = self.rounds(workload, contender, metric)
        return summarize(rounds) if rounds else None

    def ratio(self, metric: str, ours: tuple[str, str], theirs: tuple[str, str]) -> Ratio | None:
        """How many times better one cell, a workload and a contender, is than another; None if one was not measured."""
        one, other = self.rounds(*ours, metric), self.rounds(*theirs, metric)
        return compare(one, other, more_is_better=METRICS[metric].more_is_better) if one and other else None

    def failures(self) -> Iterator[tuple[str, str, str]]:
        """The workload, the contender and the message of each cell that failed."""
        for workload, row in self.document["cells"].items():
            for contender, cell in row.items():
                if "error" in cell:
                    yield workload, contender, cell["error"]


def _lines(parts: dict[str, str], depth: int) -> str:
    """A JSON object, each of whose values is JSON already, on several lines."""
    indent = " " * depth
    inner = ",\n".join(f"{indent}{json.dumps(key)}: {value}" for key, value in parts.items())
    return f"{{\n{inner}\n{indent[1:]}}}"
