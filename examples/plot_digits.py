"""
Handwritten digits: probabilities that mean what they say
=========================================================

A Bayesian spiking network with one hidden layer learns the digits that come with scikit-learn. The script prints
accuracy, negative log-likelihood (NLL) and expected calibration error (ECE) on test rows, lists the digits that the
network is least sure about, and draws them next to a reliability diagram.

Run it as ``python plot_digits.py [picture.png]``.
"""

# %%
# Training
# --------
# Every pixel becomes ten spikes at a rate proportional to its brightness.

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from sk_epsnn import EPSNNClassifier, RateSpikeEncoder, ReliabilityDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.4, stratify=y, random_state=0)
model = make_pipeline(
    RateSpikeEncoder(feature_range=(0, 16), n_steps=10, random_state=0),
    EPSNNClassifier(hidden_layer_sizes=60, random_state=0),
)
model.fit(X_train, y_train)

# %%
# Accuracy and calibration
# ------------------------
# A classifier is calibrated if, of all predictions made with a confidence of 80 %, 80 % are right. The reliability
# diagram below shows bins of the confidence, and the ECE is the mean distance from the diagonal.

probability = model.predict_proba(X_test)
predicted, confidence = probability.argmax(1), probability.max(1)

print(f"{len(y_train)} training rows, {len(y_test)} test rows")
print(f"accuracy {accuracy_score(y_test, predicted):.3f}")
print(f"NLL      {log_loss(y_test, probability):.3f} nats")

# %%
# The most uncertain digits
# -------------------------
# The total uncertainty is the entropy of the predicted distribution. Its epistemic part comes from not knowing the
# weights and would shrink with more training data.

encoder, classifier = model
uncertainty = classifier.predict_uncertainty(encoder.transform(X_test))
most_uncertain = np.argsort(-uncertainty.total)[:6]
print("\nmost uncertain digits")
for row in most_uncertain:
    print(
        f"true {y_test[row]}, predicted {predicted[row]} with probability {confidence[row]:.2f}; "
        f"{uncertainty.total[row]:.2f} nats, of which epistemic {uncertainty.epistemic[row]:.2f}"
    )

# %%
# Picture
# -------
# Without a display, matplotlib chooses the Agg backend by itself.

import matplotlib.pyplot as plt  # noqa: E402

figure = plt.figure(figsize=(12, 5.6), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=[1.7, 1], wspace=0.04)

left.suptitle("The most uncertain test digits and their predicted distributions")
axes = left.subplots(3, 4, width_ratios=[1, 2, 1, 2])
for row, image_axis, bar_axis in zip(most_uncertain, axes[:, ::2].flat, axes[:, 1::2].flat, strict=True):
    image_axis.imshow(X_test[row].reshape(8, 8), cmap="gray_r")
    image_axis.set(xticks=[], yticks=[])
    image_axis.set_title(f"true {y_test[row]}", fontsize="medium")
    colors = ["C2" if digit == y_test[row] else "C0" for digit in range(10)]
    bar_axis.bar(range(10), probability[row], color=colors)
    bar_axis.set(xticks=range(10), ylim=(0, 1), ylabel="probability")
    title = f"{uncertainty.total[row]:.2f} nats, epistemic {uncertainty.epistemic[row]:.2f}"
    bar_axis.set_title(title, fontsize="medium")
for axis in axes[-1, 1::2]:
    axis.set_xlabel("digit (green: true class)")

right.suptitle(f"Reliability of {len(y_test)} test predictions")
axis = right.subplots()
reliability = ReliabilityDisplay.from_predictions(y_test, probability, n_bins=10, name="network", ax=axis)
print(f"\nECE {reliability.ece:.3f} (10 bins)")

output_path = Path(sys.argv[1] if len(sys.argv) > 1 else "plot_digits.png")
figure.savefig(output_path, dpi=120)
print(f"Saved {output_path}")
