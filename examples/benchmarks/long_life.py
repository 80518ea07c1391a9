"""A long life: a million rows through `partial_fit`, and a thousand times saved, loaded and continued.

The rows are spikes of 64 features from ten noisy prototypes, drawn anew for each call. The process's memory may grow by
at most 5 % after the first tenth of the stream, every variance must stay positive, and what was saved and loaded in
between must be bit for bit what was not.

    python examples/benchmarks/long_life.py
"""

from __future__ import annotations

import io
from collections.abc import Iterator

import joblib
import numpy as np
from _common import Row, argument_parser, report, verdict
from threadpoolctl import threadpool_limits

from sk_epsnn import EPSNNClassifier

N_FEATURES, N_CLASSES, BATCH = 64, 10, 500
HIDDEN: dict[str, tuple[int, ...]] = {"64-10": (), "64-20-10": (20,)}


def stream(seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of spikes and labels without end."""
    rng = np.random.default_rng(seed)
    rates = rng.beta(0.5, 0.5, (N_CLASSES, N_FEATURES))
    while True:
        y = rng.integers(N_CLASSES, size=BATCH)
        yield (rng.random((BATCH, N_FEATURES)) < 0.2 + 0.6 * rates[y]).astype(np.float64), y


def resident() -> int:
    """Memory of this process in kilobytes (Linux)."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def least_variance(model: EPSNNClassifier) -> float:
    """Smallest variance of a weight."""
    return min(float(part.min()) for part in (*model.coefs_variance_, *model.intercepts_variance_))


def million(name: str, hidden: tuple[int, ...], n_rows: int, seed: int) -> list[Row]:
    """Memory and variances over a long stream."""
    model, batches = EPSNNClassifier(hidden, random_state=seed), stream(seed)
    X_test, y_test = next(batches)
    n_calls = n_rows // BATCH
    memory, variances = [], []
    for call in range(1, n_calls + 1):
        model.partial_fit(*next(batches), classes=np.arange(N_CLASSES))
        if call % (n_calls // 10) == 0:
            memory.append(resident())
            variances.append(least_variance(model))
    growth, least = memory[-1] / memory[0] - 1, min(variances)
    accuracy = model.score(X_test, y_test)
    name = f"{name}, {n_rows} rows"
    return [
        Row(
            f"{name}: memory after all over that after a tenth",
            "<= 5 %",
            f"{100 * growth:+.2f} %",
            verdict(growth <= 0.05),
        ),
        Row(f"{name}: smallest variance of a weight", "> 0", f"{least:.2e}", verdict(least > 0)),
        Row(f"{name}: accuracy on other rows", "", f"{accuracy:.3f}", ""),
    ]


def reloaded(name: str, hidden: tuple[int, ...], n_cycles: int, seed: int) -> Row:
    """A model saved and loaded after each call beside one that was not."""
    kept, saved = (EPSNNClassifier(hidden, random_state=seed) for _ in range(2))
    batches = stream(seed)
    for _ in range(n_cycles):
        X, y = next(batches)
        for model in (kept, saved):
            model.partial_fit(X[:50], y[:50], classes=np.arange(N_CLASSES))
        file = io.BytesIO()
        joblib.dump(saved, file)
        file.seek(0)
        saved = joblib.load(file)
    X, _ = next(batches)
    same = np.array_equal(kept.predict_log_proba(X), saved.predict_log_proba(X))
    return Row(f"{name}: saved, loaded and continued {n_cycles} times", "the same bits", str(same), verdict(same))


def main() -> None:
    """Run both on a single layer and with a hidden one."""
    parser = argument_parser(__doc__.splitlines()[0], starts=False)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--cycles", type=int, default=1000)
    arguments = parser.parse_args()
    rows: list[Row] = []
    with threadpool_limits(limits=1):
        for name, hidden in HIDDEN.items():
            rows += million(name, hidden, arguments.rows, arguments.seeds[0])
            rows.append(reloaded(name, hidden, arguments.cycles, arguments.seeds[0]))
    report(rows, arguments.json)


if __name__ == "__main__":
    main()
