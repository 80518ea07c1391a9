"""
What the uncertainties are good for
===================================

Three tests of uncertainties. A classifier of the digits that come with scikit-learn hands its most uncertain digits on:
the accuracy on those it keeps should rise. Its probabilities should come true as often as they say. A regression
should have narrow error bars where there are data, and wide ones in the gaps between them.

Run it as ``python plot_uncertainty.py [picture.png]``.
"""

# %%
# A classifier of digits
# ----------------------
# Every pixel becomes a single spike, which loses much of the image: there is something to be uncertain about.

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from sk_epsnn import (
    EPSNNClassifier,
    EPSNNRegressor,
    PopulationEncoder,
    PredictionBandDisplay,
    RateSpikeEncoder,
    ReliabilityDisplay,
)

X, y = load_digits(return_X_y=True)
X = RateSpikeEncoder(feature_range=(0, 16), random_state=0).fit_transform(X)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)
classifier = EPSNNClassifier(hidden_layer_sizes=60, random_state=0).fit(X_train, y_train)
probability = classifier.predict_proba(X_test)
uncertainty = classifier.predict_uncertainty(X_test)
right = probability.argmax(1) == y_test
print(f"{len(y_train)} training rows, {len(y_test)} test rows, accuracy {right.mean():.3f}")

# %%
# Handing digits on
# -----------------
# The accuracy on the digits kept, against their share. An oracle would hand on the wrong ones first.


def rejection_curve(score):
    """Accuracy on the n rows of lowest score, for every n."""
    return np.cumsum(right[np.argsort(score)]) / np.arange(1, len(right) + 1)


kept = np.arange(1, len(right) + 1) / len(right)
curves = {
    "oracle": rejection_curve(~right),
    "total uncertainty": rejection_curve(uncertainty.total),
    "epistemic uncertainty": rejection_curve(uncertainty.epistemic),
}
for name, curve in curves.items():
    print(f"{name}: accuracy {curve[np.searchsorted(kept, 0.8)]:.3f} on the 80 % kept")

# %%
# A regression with gaps
# ----------------------
# The total variance of a new observation is that of the noise plus the epistemic one, which comes from not knowing the
# weights and grows in the gaps. Among the data the network takes part of the noise for doubt about its weights: the
# noise that it learns is too small and the epistemic band too wide, the more so the fewer the data.

GAPS = [(-1.0, 0.0), (1.5, 2.5), (4.0, 5.0)]
NOISE_SD = 0.2


def truth(x):
    """The curve without noise."""
    return x - 0.1 * x**2 + np.cos(0.5 * np.pi * x)


rng = np.random.default_rng(0)
x_train = np.concatenate([rng.uniform(low, high, size=200) for low, high in GAPS])
t_train = truth(x_train) + NOISE_SD * rng.standard_normal(len(x_train))
encoder = PopulationEncoder(feature_range=(-1, 5), output="rates")
model = make_pipeline(encoder, EPSNNRegressor(hidden_layer_sizes=60, random_state=0)).fit(x_train[:, None], t_train)

grid = np.linspace(-1, 5, 301)
mean = model.predict(grid[:, None])
variance = model[-1].predict_uncertainty(model[:-1].transform(grid[:, None]))
epistemic_sd = np.sqrt(variance.epistemic)
inside = np.any([(low <= grid) & (grid <= high) for low, high in GAPS], axis=0)
print(f"sd of the noise: true {NOISE_SD:.3f}, learned {np.sqrt(model[-1].noise_variance_):.3f}")
print(f"epistemic sd: {epistemic_sd[inside].mean():.3f} among the data, {epistemic_sd[~inside].mean():.3f} in the gaps")
covered = np.abs(truth(grid) - mean) <= 1.96 * epistemic_sd
print(f"share of the curve within 1.96 epistemic sd: {covered[inside].mean():.2f} and {covered[~inside].mean():.2f}")

# %%
# Pictures
# --------
# Of all predictions made with a confidence of 80 %, 80 % should be right. The expected calibration error (ECE) is the
# mean distance from that, over bins of the confidence.
#
# Without a display, matplotlib chooses the Agg backend by itself.

import matplotlib.pyplot as plt  # noqa: E402

figure, (left, middle, right_axis) = plt.subplots(1, 3, figsize=(14, 4.6), layout="constrained")
styles = [("black", "--"), ("C3", "-"), ("C2", "-")]
for (name, curve), (color, style) in zip(curves.items(), styles, strict=True):
    left.plot(100 * kept, 100 * curve, color=color, linestyle=style, label=name)
left.axhline(100 * right.mean(), color="gray", linestyle=":", label="handed on at random")
left.set(xlabel="digits kept (%)", ylabel="accuracy on the digits kept (%)", title="The most uncertain are handed on")
left.set(xlim=(10, 100.5), ylim=(None, 100.3))
left.legend(loc="lower left", bbox_to_anchor=(0, 0.08))

reliability = ReliabilityDisplay.from_predictions(y_test, probability, name="network", ax=middle)
middle.set_title("Reliability of the digits")
print(f"ECE {reliability.ece:.3f} (15 bins)")

PredictionBandDisplay.from_estimator(model, x_train[:, None], t_train, grid=grid, ax=right_axis)
right_axis.plot(grid, truth(grid), color="black", linestyle="--", linewidth=1.2, label="truth")
right_axis.set(xlabel="x (arbitrary units)", ylabel="y (arbitrary units)", title="Regression with two gaps")
right_axis.legend(fontsize="small")
for axis in (left, middle, right_axis):
    axis.grid(alpha=0.3)

output_path = Path(sys.argv[1] if len(sys.argv) > 1 else "plot_uncertainty.png")
figure.savefig(output_path, dpi=120)
print(f"Saved {output_path}")
