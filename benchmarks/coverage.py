"""Measure the coverage of the 95% intervals and the false positive rate of the tests in simulations.

    python benchmarks/coverage.py [--runs 2000] [--only WORD] [--page docs/evaluation.md]

Every number is a share of 2,000 simulated data sets with known truth; the nominal value is 0.95 for
intervals and 0.05 for tests. Seeds are fixed. A share outside its goal is marked with !. `--page`
writes each table between its markers as soon as it is computed.
"""

import argparse
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from simulations import TABLES, Cell
from tumorboard import storage

Table = Callable[[], Iterator[Cell]]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--only", default="", metavar="WORD", help="tables whose name holds it")
    parser.add_argument("--page", type=Path, help="the page to write them into")
    options = parser.parse_args(arguments)
    for table in TABLES:
        if options.only in table.__name__:
            begun = time.process_time()
            lines = simulated(table, options.runs)
            print(f"\n{lines}\n{time.process_time() - begun:.0f} s of a processor", flush=True)
            if options.page:
                write(options.page, table.__name__, lines)


def simulated(table: Table, runs: int) -> str:
    """Return the table as Markdown, one row per cell and one column per metric."""
    rows: list[tuple[Cell, Mapping[str, float]]] = []
    for number, cell in enumerate(table()):
        draws = [cell.draw(np.random.default_rng([number, i])) for i in range(runs)]
        rows.append((cell, {name: float(np.mean([one[name] for one in draws])) for name in draws[0]}))
    names = list(rows[0][1])
    head = ["", *(name.replace("_", " ") for name in names), "goal"]
    lines = [head, ["---", *["---:"] * len(names), "---"]]
    lines += [
        [cell.name, *(shown(found[name], cell.goal) for name in names), goal(cell)] for cell, found in rows
    ]
    title = (table.__doc__ or "").splitlines()[0]
    return "\n".join([f"{title} {runs:,} runs per cell.", "", *(f"| {' | '.join(line)} |" for line in lines)])


def shown(share: float, goal: tuple[float, float] | None) -> str:
    return f"{share:.3f}" + (" !" if goal and not goal[0] <= share <= goal[1] else "")


def goal(cell: Cell) -> str:
    return f"{cell.goal[0]:.3g} to {cell.goal[1]:.3g}" if cell.goal else "none"


def write(page: Path, name: str, lines: str) -> None:
    """Write a table between its markers."""
    pattern = rf"(<!-- coverage: {name} -->\n).*?(<!-- /coverage -->)"
    text, found = re.subn(
        pattern, lambda marks: f"{marks[1]}{lines}\n{marks[2]}", page.read_text(), flags=re.S
    )
    if found != 1:
        raise SystemExit(f"expected the markers of {name} in {page} once, found them {found} times")
    storage.write_text(page, text)


if __name__ == "__main__":
    main()
