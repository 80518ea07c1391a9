"""
Regression with error bars that grow in the gaps
================================================

A curve is learned from data with two gaps. You get a spiking network whose error bars are narrow where there are data
and wide where there are none, split into what comes from the noise and what comes from not knowing the weights, and the
same through random spikes, as in the regression example of Yao, McLaughlin and Altmann (arXiv:2506.23757, Fig. 7).
"""

# %%
# Data with gaps
# --------------
# The curve is ``f(x) = x - 0.1 x^2 + cos(pi x / 2)``; 600 rows lie in three intervals.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.pipeline import make_pipeline

from sk_epsnn import EPSNNRegressor, PopulationEncoder, PredictionBandDisplay

INTERVALS = [(-1.0, 0.0), (1.5, 2.5), (4.0, 5.0)]


def truth(x):
    """The curve without noise."""
    return x - 0.1 * x**2 + np.cos(0.5 * np.pi * x)


def draw(noise_sd):
    """Rows in the intervals, and their noisy targets."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(low, high, size=200) for low, high in INTERVALS])
    return x, truth(x) + noise_sd * rng.standard_normal(len(x))


grid = np.linspace(-1, 5, 301)
inside = np.any([(low <= grid) & (grid <= high) for low, high in INTERVALS], axis=0)

# %%
# Rates of a population of neurons
# --------------------------------
# Each of 100 neurons prefers another value of x, and a network of 60 hidden neurons reads their rates. The dark band is
# that of the curve: the epistemic part, which comes from not knowing the weights and grows in the gaps. The light one
# is that of new observations, noise included. Among the data the network takes part of the noise for doubt about its
# weights: the noise that it learns is too small and the dark band too wide, the more so the fewer the data.

NOISE_SD = 0.2
x, y = draw(NOISE_SD)
encoder = PopulationEncoder(feature_range=(-1, 5), output="rates")
model = make_pipeline(encoder, EPSNNRegressor(hidden_layer_sizes=60, random_state=0)).fit(x[:, None], y)

mean = model.predict(grid[:, None])
epistemic_sd = np.sqrt(model[-1].predict_uncertainty(encoder.transform(grid[:, None])).epistemic)
covered = np.abs(truth(grid) - mean) <= 1.96 * epistemic_sd
print(f"sd of the noise: true {NOISE_SD:.3f}, learned {np.sqrt(model[-1].noise_variance_):.3f}")
for name, rows in (("among the data", inside), ("in the gaps", ~inside)):
    share = covered[rows].mean()
    print(f"{name}: epistemic sd {epistemic_sd[rows].mean():.3f}, {share:.0%} of the curve in the dark band")


def draw_truth(axis):
    """The curve, and where there were data."""
    axis.plot(grid, truth(grid), color="black", linestyle="--", linewidth=1.2, label="truth")
    for low, high in ((0.0, 1.5), (2.5, 4.0)):
        axis.axvspan(low, high, color="gray", alpha=0.1, linewidth=0)


_, axis = plt.subplots(figsize=(7, 4.4), layout="constrained")
PredictionBandDisplay.from_estimator(model, x[:, None], y, grid=grid, ax=axis)
draw_truth(axis)
axis.set(xlabel="x (arbitrary units)", ylabel="y (arbitrary units)", xlim=(-1, 5))
axis.set_title("Error bars grow in the gaps (grey)")
axis.legend(fontsize="small")

# %%
# Random spikes
# -------------
# Where neurons fire at random the network sees less: each row gets spikes of its own, which is noise to the regression,
# and the mean shows it. The noise of the targets is 0.01 here.

x, y = draw(0.01)
encoder = PopulationEncoder(feature_range=(-1, 5), random_state=0)
model = make_pipeline(encoder, EPSNNRegressor(hidden_layer_sizes=60, random_state=0)).fit(x[:, None], y)
mean, std = model.predict(grid[:, None], return_std=True)
print(f"mean sd {std[inside].mean():.3f} among the data, {std[~inside].mean():.3f} in the gaps")

_, axis = plt.subplots(figsize=(7, 4), layout="constrained")
PredictionBandDisplay.from_estimator(model, x[:, None], y, grid=grid, ax=axis)
draw_truth(axis)
axis.set(xlabel="x (arbitrary units)", ylabel="y (arbitrary units)", xlim=(-1, 5))
axis.set_title("The same through random spikes")
axis.legend(fontsize="small", ncols=2)
plt.show()
