"""Measuring for all benchmarks: interleaved repeats, medians, ratios, and the lines they print.

Machines drift, from hour to hour and from second to second.  So the lanes of one question are
measured in turns (ours, standard, ours, standard, ...) within one run, each number shown is the
median of its turns, and what counts is the ratio between two medians of the same run.

A benchmark is a module with ``question`` (one sentence) and ``rows(quick)``, which yields `Row`
objects; `main` makes a program of it.  Nothing here asserts anything.
"""

import argparse
import dataclasses
import gc
import json
import math
import pathlib
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent


@dataclasses.dataclass
class Row:
    """One answer: what ours and the others took, and what the target says about it.

    `values` maps each lane to its median in `unit`; "ours" is always among them.  A target of kind
    "ratio" is reached when every lane of `against` took at least `target` times as long as ours; of
    kind "at most" when ours is at most `target` (in `unit`); of kind "none" there is nothing to
    reach.
    """

    name: str
    unit: str
    values: dict[str, float]
    against: tuple[str, ...] = ("standard",)
    kind: str = "none"
    target: float = 0.0
    note: str = ""

    def ratios(self):
        """How many times as long as ours each other lane took."""
        ours = self.values["ours"]
        return {
            lane: value / ours
            for lane, value in self.values.items()
            if lane != "ours" and ours > 0 and not math.isnan(value)
        }

    def verdict(self):
        """Say whether the target is reached: "reached", "MISSED", "not measured" or ""."""
        if self.kind == "none":
            return ""
        if self.kind == "at most":
            return "reached" if self.values["ours"] <= self.target else "MISSED"
        ratios = [self.ratios()[lane] for lane in self.against if lane in self.ratios()]
        if not ratios:
            return "not measured"
        return "reached" if min(ratios) >= self.target else "MISSED"

    def target_text(self):
        if self.kind == "ratio":
            return f">= {self.target:g}x {', '.join(self.against)}"
        return f"<= {self.target:g} {self.unit}" if self.kind == "at most" else ""


def interleave(lanes, n_repeats):
    """Call each lane `n_repeats` times in turns; give the median of what each returned.

    `lanes` maps a name to a function that measures once and returns a number.  One unmeasured turn
    comes first, so that imports and caches are paid by nobody.
    """
    for measure in lanes.values():
        measure()
    turns = {name: [] for name in lanes}
    for _ in range(n_repeats):
        for name, measure in lanes.items():
            gc.collect()
            turns[name].append(measure())
    return {name: statistics.median(values) for name, values in turns.items()}


def seconds(work):
    """How long one call of `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def in_fresh_interpreter(program, *arguments):
    """Run `program` (source text) in a new interpreter; return the number it printed last."""
    finished = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if finished.returncode:
        raise RuntimeError(f"the measured program failed:\n{finished.stderr[-3000:]}")
    return float(finished.stdout.split()[-1])


def optional(module_name):
    """Import a peer that may not be installed; None if it is not."""
    try:
        return __import__(module_name)
    except ImportError:
        return None


def number(value):
    """Three significant digits, whatever the size."""
    if math.isnan(value):
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:.{digits}f}"


def show(row):
    """Print one row: each lane's median, its ratio to ours, and the verdict."""
    print(f"  {row.name}", flush=True)
    ratios = row.ratios()
    for lane, value in row.values.items():
        ratio = f"   {number(ratios[lane])}x ours" if lane in ratios else ""
        print(f"      {lane:<28}{number(value):>12} {row.unit}{ratio}")
    if row.verdict():
        print(f"      target {row.target_text()}: {row.verdict()}")
    if row.note:
        print(f"      {row.note}")


def main(question, rows):
    """Be the program of one benchmark: print its rows, and write them where run.py asked."""
    parser = argparse.ArgumentParser(description=question)
    parser.add_argument("--quick", action="store_true", help="few repeats, small sizes")
    parser.add_argument("--json", type=pathlib.Path, help="also write the rows to this file")
    options = parser.parse_args()
    print(f"{question}", flush=True)
    measured = []
    for row in rows(options.quick):
        measured.append(row)
        show(row)
    if options.json:
        options.json.write_text(json.dumps([dataclasses.asdict(row) for row in measured]))
