"""Plain tables for a terminal, without any library.

`table` lines columns up; text goes to the left, numbers to the right.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return `rows` as lines under `heads`, each column as wide as its widest cell.

    >>> print(table(["lane", "s"], [["loop", 1.5], ["threads", 12.25]]))
      lane         s
      -------  -----
      loop      1.50
      threads  12.25
    """
    rows = [list(row) for row in rows]
    cells = [[_text(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    to_the_right = [
        any(isinstance(row[index], (int, float)) for row in rows) for index in range(len(heads))
    ]
    lines = [list(heads), ["-" * width for width in widths], *cells]
    return "\n".join("  " + _line(line, widths, to_the_right) for line in lines)


def _line(cells: Sequence[str], widths: Sequence[int], to_the_right: Sequence[bool]) -> str:
    padded = (
        cell.rjust(width) if right else cell.ljust(width)
        for cell, width, right in zip(cells, widths, to_the_right, strict=True)
    )
    return "  ".join(padded).rstrip()


def _text(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:,.2f}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)
