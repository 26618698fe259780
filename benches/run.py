"""Run every benchmark, each in an interpreter of its own, and sum up what was reached.

``python benches/run.py [--quick] [NAME ...]``: NAME is a file of this folder without ``.py``.
The exit status is 1 when a benchmark could not run; a missed target does not change it: speed
belongs to the machine, and is read, not asserted.
"""

import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile

import _measure

ORDER = [
    "process_burst",
    "process_round_trip",
    "process_map",
    "thread_burst",
    "thread_round_trip",
    "threads",
    "locks",
    "pools",
    "queues",
    "processes",
    "shared_queues",
    "pipes",
    "shared_locks",
    "values",
    "managers",
    "first_result",
    "replacement",
    "parent_end",
    "million_tasks",
    "large_payloads",
]


def run_one(name, quick, folder):
    """Run one benchmark with its output on the screen; give its rows, or None if it failed."""
    answers = folder / f"{name}.json"
    command = [sys.executable, str(_measure.HERE / f"{name}.py"), "--json", str(answers)]
    finished = subprocess.run([*command, *(["--quick"] if quick else [])], check=False)
    print(flush=True)
    if finished.returncode or not answers.exists():
        return None
    return [
        _measure.Row(**{**row, "against": tuple(row["against"])})
        for row in json.loads(answers.read_text())
    ]


def summary(rows):
    """One line per answer: ours, the standard library's, the ratio, the target, the verdict."""
    lines = [["", "ours", "standard", "ratio", "target", "verdict"]]
    for row in rows:
        ratios = row.ratios()
        beside = next((lane for lane in (*row.against, *ratios) if lane in ratios), None)
        lines.append(
            [
                row.name,
                f"{_measure.number(row.values['ours'])} {row.unit}",
                f"{_measure.number(row.values[beside])} {row.unit}" if beside else "",
                f"{_measure.number(ratios[beside])}x" if beside else "",
                row.target_text(),
                row.verdict(),
            ]
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join(cells).rstrip())


def main():
    parser = argparse.ArgumentParser(description="Run the benchmarks and sum them up.")
    parser.add_argument("--quick", action="store_true", help="only see that they all run")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(ORDER)}")
    options = parser.parse_args()
    if unknown := set(options.names) - set(ORDER):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; there are {ORDER}")
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} CPUs, "
        f"load {os.getloadavg()[0]:.1f} before the start\n",
        flush=True,
    )
    measured, failed = [], []
    with tempfile.TemporaryDirectory(prefix="manyhands-bench-") as folder:
        for name in options.names or ORDER:
            answers = run_one(name, options.quick, pathlib.Path(folder))
            if answers is None:
                failed.append(name)
            else:
                measured += answers
    summary(measured)
    if options.quick:
        print("\n--quick: these numbers only show that the benchmarks run.")
    if failed:
        print(f"\ncould not run: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
