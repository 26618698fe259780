"""The counts that the README states, compared with those of a run.

The README's table has a row per suite: its names in the second cell, and in the cells under a
version's heading `passed / skipped / excluded`. It is the only place where the numbers stand.

A heading that begins with `3.13` is of every 3.13, one that begins with `3.13.0` of that release
only: others have other tests. A cell without numbers says that the suite is not run there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
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


def differences(readme: Path, version: str, seen: Mapping[str, Counts]) -> list[str] | None:
    """A sentence for each suite of which the README says something else than was seen.

    None if it has no column for this version.

    Args:
        readme: the file with the table.
        version: of the interpreter, such as "3.13.0".
        seen: the counts by the name of the suite, `test.` left out.
    """
    rows = list(_rows(readme.read_text(encoding="utf-8"), version))
    if not rows:
        return None
    sentences = [
        f"{readme} has several rows for {suite}: leave one."
        for suite, n_rows in Counter(name for names, _ in rows for name in names).items()
        if n_rows > 1
    ]
    stated = {name: counts for names, counts in rows for name in names if counts is not None}
    for suite, counts in seen.items():
        if suite not in stated:
            sentences.append(f"{readme} has no counts of {suite} and {version}: it is {counts}.")
        elif stated[suite] != counts:
            sentences.append(
                f"{readme} says {stated[suite]} of {suite} and {version}, and it is {counts}: "
                "find out why, and mend it or the table."
            )
    sentences += [
        f"{readme} says {counts} of {' or '.join(names)} and {version}, which was not run: "
        "run it, or take the row away."
        for names, counts in rows
        if counts is not None and not any(name in seen for name in names)
    ]
    return sentences


def _rows(text: str, version: str) -> Iterator[tuple[list[str], Counts | None]]:
    """The names in each row of a table that has a column for the version, and its counts there."""
    column = None
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            column = None
        elif column is None:
            headed = [i for i, cell in enumerate(cells) if _is_of(cell, version)]
            column = headed[0] if headed else -1
        elif 0 < column < len(cells) and (names := _NAME.findall(cells[1])):
            counts = _COUNTS.fullmatch(cells[column])
            yield names, Counts(*map(int, counts.groups())) if counts else None


def _is_of(heading: str, version: str) -> bool:
    """Whether the numbers under a heading are of this version."""
    stated = heading.partition(":")[0]
    return stated == version or (stated.count(".") == 1 and version.startswith(f"{stated}."))
