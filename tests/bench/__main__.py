"""``python -m tests.bench [--only NAME]``: our figures beside the peers', from one run.

Prints a table and writes ``build/bench/<name>.json``. Exit code 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.bench import body, copy, engine, latency, manifests, products, year
from tests.bench.figures import Figure, table, written

BENCHES: Final[dict[str, Callable[[Path], list[Figure]]]] = {
    "body": body.measure,
    "copy": copy.measure,
    "engine": engine.measure,
    "latency": latency.measure,
    "manifests": manifests.measure,
    "products": products.measure,
    "year": year.measure,
}
RESULTS: Final = Path(__file__).parents[2] / "build" / "bench"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", choices=sorted(BENCHES))
    only = parser.parse_args().only
    missed = False
    for name in [only] if only else BENCHES:
        with tempfile.TemporaryDirectory(prefix=f"lockkeeper-bench-{name}-") as directory:
            figures = BENCHES[name](Path(directory))
        sys.stdout.write(table(name, figures))
        written(RESULTS / f"{name}.json", figures)
        missed |= any(figure.met is False for figure in figures)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
