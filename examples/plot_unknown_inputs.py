"""
Inputs of another kind: doubt where there were no data
======================================================

A network that was trained on digits is shown what is no digit. Its predictions are of little use there, and its
epistemic uncertainty, which comes from not knowing the weights, should say so. You get histograms of it, and how well
it tells digits from shuffled pixels and from noise.
"""

# %%
# Digits, and two kinds of others
# -------------------------------
# Shuffled pixels have the brightness of digits, but no strokes; noise has neither. The network has seen digits only.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

from sk_epsnn import EPSNNClassifier
from sk_epsnn.plotting import PALETTE

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, test_size=0.4, stratify=y, random_state=0)
rng = np.random.default_rng(0)
inputs = {
    "test digits": X_test,
    "shuffled pixels": rng.permuted(X_test, axis=1),
    "noise": rng.uniform(size=X_test.shape),
}
network = EPSNNClassifier(hidden_layer_sizes=60, random_state=0).fit(X_train, y_train)
print(f"accuracy on test digits {network.score(X_test, y_test):.3f}")

# %%
# Which doubt tells them apart
# ----------------------------
# The area under the ROC curve is the probability that an unknown input is more uncertain than a digit: 0.5 is chance, 1
# is perfect. The aleatoric part is the doubt that would stay if the weights were known, as between two digits that look
# alike.

uncertainty = {name: network.predict_uncertainty(rows) for name, rows in inputs.items()}
known = uncertainty["test digits"]
for name in ("shuffled pixels", "noise"):
    areas = {}
    for part in ("total", "aleatoric", "epistemic"):
        scores = np.concatenate([getattr(known, part), getattr(uncertainty[name], part)])
        areas[part] = roc_auc_score(np.repeat([0, 1], len(X_test)), scores)
    print(f"digits against {name}, area by", ", ".join(f"{part} {area:.3f}" for part, area in areas.items()))

# %%
# Picture
# -------
# Some unknown inputs are taken for digits all the same: no single number tells all of them.

BLUE, VERMILION, _, PURPLE, *_ = PALETTE
N_SHOWN = 3
figure, rows = plt.subplots(3, N_SHOWN + 1, figsize=(7.2, 5), width_ratios=[1] * N_SHOWN + [5], layout="constrained")
figure.suptitle("Trained on digits: epistemic uncertainty of three kinds of inputs")
bins = np.linspace(0, max(u.epistemic.max() for u in uncertainty.values()), 40)
for axes, (name, images), color in zip(rows, inputs.items(), (BLUE, VERMILION, PURPLE), strict=True):
    for axis, image in zip(axes[:N_SHOWN], images, strict=False):
        axis.imshow(image.reshape(8, 8), cmap="Greys", vmin=0, vmax=1)
        axis.set(xticks=[], yticks=[])
    doubt = uncertainty[name].epistemic
    axes[-1].hist(doubt, bins, color=color)
    axes[-1].axvline(np.median(doubt), color="black", linestyle=":")
    axes[-1].set(title=f"{name}: median {np.median(doubt):.2f} nats", yticks=[], xlim=(0, bins[-1]))
    axes[-1].spines[["top", "left", "right"]].set_visible(False)
rows[-1, -1].set_xlabel("epistemic uncertainty (nats)")
plt.show()
