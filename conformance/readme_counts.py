"""The counts that the README states, compared with those of a run.

The README's table has a row per suite: its names in the second cell, and in the cells under a
version's heading `passed / skipped / excluded`. It is the only place where the numbers stand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

__all__ = ["Counts", "differences"]

_NAME = re.compile(r"`(\w+)`")
_COUNTS = re.compile(r"(\d+) / (\d+) / (\d+)")


class Counts(NamedTuple):
    """How many tests of a suite passed, skipped themselves, and were excluded."""

    passed: int
    skipped: int
    excluded: int

    def __str__(self) -> str:
        return f"{self.passed} / {self.skipped} / {self.excluded}"


def differences(readme: Path, version: str, seen: Mapping[str, Counts]) -> list[str]:
    """A sentence for each suite of which the README says something else than was seen.

    Args:
        readme: the file with the table.
        version: of the interpreter, such as "3.13": the beginning of the heading of its column.
        seen: the counts by the name of the suite, `test.` left out.
    """
    stated = _stated(readme.read_text(encoding="utf-8"), version)
    sentences = []
    for suite, counts in seen.items():
        if suite not in stated:
            sentences.append(f"{readme} has no row for {suite} and {version}: it is {counts}.")
        elif stated[suite] != counts:
            sentences.append(
                f"{readme} says {stated[suite]} of {suite} and {version}, and it is {counts}: "
                "find out why, and mend it or the table."
            )
    return sentences


def _stated(text: str, version: str) -> dict[str, Counts]:
    stated = {}
    column = None
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            column = None
        elif column is None:
            headed = [i for i, cell in enumerate(cells) if cell.split(":")[0] == version]
            column = headed[0] if headed else -1
        elif 0 < column < len(cells) and (counts := _COUNTS.fullmatch(cells[column])):
            for suite in _NAME.findall(cells[1]):
                stated[suite] = Counts(*map(int, counts.groups()))
    return stated
