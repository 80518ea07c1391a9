"""What exact inference gives on the regression tasks of Table III, for a network of infinite width.

With weights N(0, 1) and Heaviside neurons, the outputs of a wide network are a Gaussian process. Two inputs x and z,
each with a constant 1, have the covariance ``width (1/2 - angle / 2 pi) + 1``, the angle being that between them.

    python examples/paper/wide_network.py --width 1.6
"""

from __future__ import annotations

import argparse

import numpy as np
from _shared import DATASETS, SEEDS, coded
from scipy.linalg import cho_factor, cho_solve

N_HIDDEN = 128
NOISE_VARIANCE = 1e-4


def kernel(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Covariance of the outputs, shape (len(A), len(B))."""
    sizes = np.sqrt(np.outer((A**2).sum(1) + 1, (B**2).sum(1) + 1))
    angle = np.arccos(np.clip((A @ B.T + 1) / sizes, -1, 1))
    return N_HIDDEN * (0.5 - angle / (2 * np.pi)) + 1


def squared_error(dataset: str, seed: int, width: float) -> float:
    """Test mean squared error of the posterior mean."""
    X, y, X_test, y_test = coded(dataset, seed, width)
    covariance = kernel(X, X) + NOISE_VARIANCE * np.eye(len(X))
    mean = kernel(X_test, X) @ cho_solve(cho_factor(covariance), y)
    return float(np.mean((mean - y_test) ** 2))


def main() -> None:
    """Print the mean over the seeds for every task."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=float, default=1.6, help="half-width of the tuning curves")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    arguments = parser.parse_args()
    for dataset in DATASETS:
        errors = [squared_error(dataset, seed, arguments.width) for seed in arguments.seeds]
        print(f"{dataset}: {np.mean(errors):.4f} (sd {np.std(errors):.4f})")


if __name__ == "__main__":
    main()
