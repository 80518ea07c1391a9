"""Run all benchmarks, each in its own process on one thread, and print one table in markdown.

Takes several hours. Exits with status 1 if a benchmark breaks or misses a bar.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy
import scipy
import sklearn

SCRIPTS = (
    "mnist.py",
    "speed.py",
    "regression.py",
    "digits.py",
    "sequences.py",
    "robust.py",
    "gem.py",
    "sbnn.py",
    "convolution.py",
)
ONE_THREAD = {name: "1" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}


def run_script(script: str) -> list[dict[str, str]]:
    """The rows of one benchmark's table, or one row that says that it broke."""
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.json"
        command = [sys.executable, str(Path(__file__).with_name(script)), "--json", str(rows)]
        status = subprocess.run(command, env=os.environ | ONE_THREAD).returncode
        if status != 0:
            return [{"what": script, "bar": "", "measured": f"ended with status {status}", "verdict": "FAIL"}]
        return json.loads(rows.read_text())


def print_markdown(rows: list[dict[str, str]]) -> None:
    """Print the rows as a markdown table."""
    print("| what | bar | measured: mean (sd) | verdict |", "|---|---|---|---|", sep="\n")
    for row in rows:
        print("| " + " | ".join(row.values()) + " |")


def main() -> None:
    """Run the scripts one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scripts", nargs="*", help=f"some of {', '.join(SCRIPTS)}; all of them by default")
    scripts = parser.parse_args().scripts or SCRIPTS
    if unknown := set(scripts) - set(SCRIPTS):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    began = perf_counter()
    rows = [row for script in scripts for row in run_script(script)]
    print(f"\nPython {platform.python_version()}, NumPy {numpy.__version__}, SciPy {scipy.__version__}, ", end="")
    print(f"scikit-learn {sklearn.__version__}, {platform.machine()}, one thread, ", end="")
    print(f"{(perf_counter() - began) / 60:.0f} minutes\n")
    print_markdown(rows)
    sys.exit(any(row["verdict"] == "FAIL" for row in rows))


if __name__ == "__main__":
    main()
