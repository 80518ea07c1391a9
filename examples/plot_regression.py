"""
Regression with error bars, and what happens in gaps
====================================================

A curve is learned through a population code of 100 neurons by a spiking network of 128 hidden neurons: once from
spikes with data everywhere, once from spikes with two gaps in the data, and once from firing rates with the same
gaps. This is the regression example of Yao, McLaughlin and Altmann (arXiv:2506.23757, Fig. 7). The error bars
are narrow where there are data and wide in the gaps.

Run it as ``python plot_regression.py [picture.png]``.
"""

# %%
# Data
# ----
# The curve is ``f(x) = x - 0.1 x^2 + cos(pi x / 2)``, the noise has a standard deviation of 0.01, and each training
# set has 600 rows.

import sys
from pathlib import Path

import numpy as np
from sklearn.pipeline import make_pipeline

from sk_epsnn import EPSNNRegressor, PopulationEncoder

WHOLE = [(-1.0, 5.0)]
GAPS = [(-1.0, 0.0), (1.5, 2.5), (4.0, 5.0)]


def truth(x):
    """The curve without noise."""
    return x - 0.1 * x**2 + np.cos(0.5 * np.pi * x)


def draw(rng, n_samples, intervals):
    """Rows uniform on equally long intervals, and their noisy targets."""
    low, high = np.array(intervals)[rng.integers(len(intervals), size=n_samples)].T
    x = rng.uniform(low, high)
    return x, truth(x) + 0.01 * rng.standard_normal(n_samples)


# %%
# Training and prediction
# -----------------------
# Each row of the grid gets spikes of its own, so the two panels with spikes show their noise.

grid = np.linspace(-1, 5, 301)
panels = []
for name, intervals, output in [
    ("D1: spikes", WHOLE, "spikes"),
    ("D2: spikes, gaps", GAPS, "spikes"),
    ("D3: rates, gaps", GAPS, "rates"),
]:
    x, y = draw(np.random.default_rng(0), 600, intervals)
    encoder = PopulationEncoder(feature_range=(-1, 5), output=output, random_state=0)
    model = make_pipeline(encoder, EPSNNRegressor(hidden_layer_sizes=128, random_state=0)).fit(x[:, None], y)
    mean, std = model.predict(grid[:, None], return_std=True)
    panels.append((name, x, y, mean, std))
    inside = np.any([(low <= grid) & (grid <= high) for low, high in intervals], axis=0)
    error = np.mean((mean - truth(grid)) ** 2)
    print(f"{name}: mean squared distance from the curve {error:.4f}, mean sd {std[inside].mean():.3f}", end="")
    print("" if inside.all() else f" among the data, {std[~inside].mean():.3f} in the gaps")

# %%
# Picture
# -------
# Without a display, matplotlib chooses the Agg backend by itself.

import matplotlib.pyplot as plt  # noqa: E402

figure, axes = plt.subplots(1, 3, figsize=(12, 4.2), sharex=True, sharey=True, layout="constrained")
for axis, (name, x, y, mean, std) in zip(axes, panels, strict=True):
    axis.plot(x, y, ".", color="C1", markersize=7, alpha=0.5, markeredgewidth=0, label="training data")
    axis.fill_between(grid, mean - std, mean + std, color="C0", alpha=0.4, linewidth=0, label="mean ± 1 sd")
    axis.plot(grid, mean, color="C0", linewidth=1, label="predicted mean")
    axis.plot(grid, truth(grid), color="black", linestyle="--", linewidth=1.2, label="truth")
    axis.set(title=name, xlabel="x (arbitrary units)")
axes[0].set_ylabel("y (arbitrary units)")
handles, labels = axes[0].get_legend_handles_labels()
figure.legend(handles, labels, loc="outside lower center", ncols=4, markerscale=1.5)

output_path = Path(sys.argv[1] if len(sys.argv) > 1 else "plot_regression.png")
figure.savefig(output_path, dpi=120)
print(f"Saved {output_path}")
