"""The rows of the table in docs/what-travels.md, and which tests make each of them good."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "what-travels.md"
#: Row -> the names of its tests.
ROWS = {}


def row(name):
    """Mark a test as one of the row that begins with `name`."""

    def note(test):
        ROWS.setdefault(name, []).append(test.__name__)
        return test

    return note


def rows_of_the_page():
    """The first column of the table."""
    ways = "by name|as itself|a copy|refused"
    return re.findall(rf"^\| (.+?) \| (?:{ways}) \|", PAGE.read_text(), re.MULTILINE)
