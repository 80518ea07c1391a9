"""
Handing on what is uncertain: accuracy against the share rejected
=================================================================

A classifier that knows when it does not know can leave its most uncertain rows to somebody else. You get the accuracy
on the digits that it keeps, against the share that it hands on, and the digits that it would hand on first.
"""

# %%
# A classifier that has reason for doubt
# --------------------------------------
# Every pixel becomes a single spike, which loses much of the image. Half of the digits that come with scikit-learn are
# for training, half for tests.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sk_epsnn import EPSNNClassifier, RateSpikeEncoder
from sk_epsnn.plotting import PALETTE

X, y = load_digits(return_X_y=True)
spikes = RateSpikeEncoder(feature_range=(0, 16), random_state=0).fit_transform(X)
train, test = train_test_split(np.arange(len(y)), test_size=0.5, stratify=y, random_state=0)
classifier = EPSNNClassifier(hidden_layer_sizes=60, random_state=0).fit(spikes[train], y[train])
predicted = classifier.predict(spikes[test])
uncertainty = classifier.predict_uncertainty(spikes[test])
right = predicted == y[test]
print(f"{len(train)} training rows, {len(test)} test rows, accuracy {right.mean():.3f}")

# %%
# The accuracy on what is kept
# ----------------------------
# The total uncertainty is the entropy of the predicted distribution; the epistemic part is what would go away if the
# weights were known. An oracle, which knows what is wrong, would hand on the wrong digits first; chance would leave the
# accuracy as it is.


def accuracy_kept(score):
    """Accuracy on the n rows of lowest score, for every n."""
    return np.cumsum(right[np.argsort(score, kind="stable")]) / np.arange(1, len(right) + 1)


rejected = 1 - np.arange(1, len(right) + 1) / len(right)
curves = {
    "oracle": accuracy_kept(~right),
    "total uncertainty": accuracy_kept(uncertainty.total),
    "epistemic part": accuracy_kept(uncertainty.epistemic),
}
for name, curve in curves.items():
    figures = (f"{curve[np.searchsorted(-rejected, -share)]:.3f} after {share:.0%}" for share in (0.1, 0.2, 0.3))
    print(f"{name}: accuracy {', '.join(figures)}")

BLUE, VERMILION, *_ = PALETTE
styles = [{"color": "gray", "linestyle": "--"}, {"color": BLUE, "linewidth": 2.5}, {"color": VERMILION}]
_, axis = plt.subplots(figsize=(6, 4.2), layout="constrained")
for (name, curve), style in zip(curves.items(), styles, strict=True):
    axis.plot(100 * rejected, 100 * curve, label=name, **style)
axis.axhline(100 * right.mean(), color="gray", linestyle=":", label="chance")
axis.set(xlim=(0, 60), ylim=(100 * right.mean() - 1, 100.4), title="Digits that are kept are read better")
axis.set(xlabel="share handed on (%)", ylabel="accuracy on the others (%)")
axis.legend(loc="lower right", bbox_to_anchor=(1, 0.08))
axis.grid(alpha=0.3)

# %%
# What it hands on first
# ----------------------
# The 24 most uncertain of the test digits, as they were before most of the image was lost, with what the network takes
# them for: in orange where it is wrong.

first = np.argsort(-uncertainty.total)[:24]
print(f"of the {len(first)} most uncertain digits {(~right[first]).sum()} are read wrongly")
figure, axes = plt.subplots(3, 8, figsize=(7, 3.4), layout="constrained")
for axis, row in zip(axes.flat, first, strict=True):
    axis.imshow(X[test[row]].reshape(8, 8), cmap="Greys")
    axis.set(xticks=[], yticks=[])
    axis.set_title(f"{predicted[row]}", color=BLUE if right[row] else VERMILION, fontweight="bold")
plt.show()
