"""
Handwritten digits: probabilities that mean what they say
=========================================================

A Bayesian spiking network with one hidden layer learns the digits that come with scikit-learn. You get its accuracy,
its negative log-likelihood (NLL) and its expected calibration error (ECE) on test rows, the digits that it is least
sure about, and a reliability diagram.
"""

# %%
# Training
# --------
# Every pixel becomes ten spikes at a rate proportional to its brightness.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from sk_epsnn import ConvergenceDisplay, EPSNNClassifier, RateSpikeEncoder, ReliabilityDisplay
from sk_epsnn.plotting import PALETTE

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.4, stratify=y, random_state=0)
model = make_pipeline(
    RateSpikeEncoder(feature_range=(0, 16), n_steps=10, random_state=0),
    EPSNNClassifier(hidden_layer_sizes=60, random_state=0),
)
model.fit(X_train, y_train)

probability = model.predict_proba(X_test)
predicted, confidence = probability.argmax(axis=1), probability.max(axis=1)
print(f"{len(y_train)} training rows, {len(y_test)} test rows")
print(f"accuracy {accuracy_score(y_test, predicted):.3f}")
print(f"NLL      {log_loss(y_test, probability):.3f} nats")

# %%
# The most uncertain digits
# -------------------------
# The total uncertainty is the entropy of the predicted distribution, at most log(10) = 2.3 nats. Its epistemic part
# comes from not knowing the weights and would shrink with more training data.

encoder, classifier = model
uncertainty = classifier.predict_uncertainty(encoder.transform(X_test))
most_uncertain = np.argsort(-uncertainty.total)[:6]
for row in most_uncertain:
    print(
        f"true {y_test[row]}, predicted {predicted[row]} with probability {confidence[row]:.2f}; "
        f"{uncertainty.total[row]:.2f} nats, of which epistemic {uncertainty.epistemic[row]:.2f}"
    )

BLUE, VERMILION, *_ = PALETTE
figure, axes = plt.subplots(3, 4, figsize=(7.2, 6), width_ratios=[1, 1.8, 1, 1.8], layout="constrained")
figure.suptitle("The most uncertain test digits, and what the network says of them")
for row, image_axis, bar_axis in zip(most_uncertain, axes[:, ::2].flat, axes[:, 1::2].flat, strict=True):
    image_axis.imshow(X_test[row].reshape(8, 8), cmap="Greys")
    image_axis.set(xticks=[], yticks=[], title=f"a {y_test[row]}")
    colors = [VERMILION if digit == y_test[row] else BLUE for digit in range(10)]
    bar_axis.bar(range(10), probability[row], color=colors)
    bar_axis.set(xticks=range(10), yticks=[0, 0.5, 1], ylim=(0, 1), title=f"{uncertainty.total[row]:.2f} nats")
    bar_axis.spines[["top", "right"]].set_visible(False)
for axis in axes[-1, 1::2]:
    axis.set_xlabel("digit (orange: the true one)")
figure.savefig("plot_digits.png", dpi=120)
print("saved as plot_digits.png")

# %%
# Calibration
# -----------
# A classifier is calibrated if, of all predictions made with a confidence of 80 %, 80 % are right. The diagram shows
# bins of the confidence, larger points for more predictions, and the ECE is the mean distance from the diagonal.

reliability = ReliabilityDisplay.from_predictions(y_test, probability, n_bins=10, name="network")
print(f"ECE {reliability.ece:.3f} (10 bins)")

# %%
# How training went
# -----------------
# Steps on mini-batches raise the energy, an estimate of the log evidence. Rows that are held out choose between a cold
# posterior, which is surer than Bayes' rule allows, and one at temperature 1.

_, axes = plt.subplots(3, 1, figsize=(5.5, 7.5), layout="constrained")
ConvergenceDisplay.from_estimator(model, ax=axes)
plt.show()
