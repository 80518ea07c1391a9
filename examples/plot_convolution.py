"""
Learned kernels: digits from few images
=======================================

A convolution reads every patch of an image with the same weights, so that one image holds many examples of them. It is
trained here on 898 digits beside a dense network. You get its kernels with their uncertainty, the digits that it doubts
most, and what both networks make of digits that have moved.
"""

# %%
# Two networks
# ------------
# Each of the 24 kernels sees 5 x 5 pixels at a time. What fires is averaged over regions of 2 x 2 positions, and a
# single layer tells the digits from these means. The rows of X stay rows of 64 pixels.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from sk_epsnn import Convolution, EPSNNClassifier, WeightPosteriorDisplay
from sk_epsnn.plotting import PALETTE

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, test_size=0.5, stratify=y, random_state=0)
layers = {"dense": 100, "convolution": Convolution(24, 5, pool=2)}
networks = {
    name: EPSNNClassifier(hidden_layer_sizes=layer, random_state=0).fit(X_train, y_train)
    for name, layer in layers.items()
}
for name, network in networks.items():
    n_weights = sum(coefs.size for coefs in network.coefs_)
    nll = log_loss(y_test, network.predict_proba(X_test))
    print(f"{name}: {n_weights} weights, accuracy {network.score(X_test, y_test):.3f}, NLL {nll:.3f}")

# %%
# Kernels and their uncertainty
# -----------------------------
# Columns of ``coefs_[0]`` are the kernels, and ``coefs_variance_[0]`` says how well each of their weights is known. Red
# pixels make a kernel's neurons fire, blue ones keep them from it.

display = WeightPosteriorDisplay.from_estimator(networks["convolution"])
display.figure_.set_size_inches(7.2, 3.5)
plt.show()

# %%
# Where it doubts
# ---------------
# The ten test digits with the most uncertain predictions; wrong ones in vermilion.

BLUE, VERMILION, *_ = PALETTE
doubt = networks["convolution"].predict_uncertainty(X_test).total
predicted = networks["convolution"].predict(X_test)
figure, axes = plt.subplots(2, 5, figsize=(7.2, 4.2), layout="constrained")
figure.suptitle(f"The most uncertain of {len(X_test)} test digits")
for axis, row in zip(axes.flat, np.argsort(-doubt), strict=False):
    axis.imshow(X_test[row].reshape(8, 8), cmap="Greys", vmin=0, vmax=1)
    right = predicted[row] == y_test[row]
    axis.set_title(f"says {predicted[row]}, is {y_test[row]}", color="black" if right else VERMILION)
    axis.set(xticks=[], yticks=[], xlabel=f"{doubt[row]:.2f} nats")
plt.show()

# %%
# Digits that have moved
# ----------------------
# Test digits are moved up, down, left and right by one pixel or two; zeros come in, and what leaves the image is lost.
# Both networks were trained on digits in the middle. A kernel finds its shape wherever that is, but the last layer has
# weights of its own for every region: the convolution bears one pixel better than the dense network does, and two
# pixels are too many for either.


def moved(images, down, right):
    """Images of 8 x 8 pixels, moved by up to two pixels."""
    wide = np.pad(images.reshape(-1, 8, 8), ((0, 0), (2, 2), (2, 2)))
    return wide[:, 2 - down : 10 - down, 2 - right : 10 - right].reshape(images.shape)


distances = (0, 1, 2)
accuracy, nll = {name: [] for name in networks}, {name: [] for name in networks}
for distance in distances:
    ways = [(0, distance), (0, -distance), (distance, 0), (-distance, 0)] if distance else [(0, 0)]
    rows, labels = np.concatenate([moved(X_test, *way) for way in ways]), np.tile(y_test, len(ways))
    for name, network in networks.items():
        probability = network.predict_proba(rows)
        accuracy[name].append(np.mean(network.classes_[probability.argmax(axis=1)] == labels))
        nll[name].append(log_loss(labels, probability))
        print(f"{name}, moved by {distance}: accuracy {accuracy[name][-1]:.3f}, NLL {nll[name][-1]:.2f}")

figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.2), layout="constrained")
for axis, measured, title in zip(axes, (accuracy, nll), ("Accuracy", "NLL (nats)"), strict=True):
    for (name, values), color, marker in zip(measured.items(), (VERMILION, BLUE), "so", strict=True):
        axis.plot(distances, values, marker=marker, color=color, label=name)
    axis.set(title=title, xlabel="pixels that the test digits are moved by", xticks=distances)
axes[0].set_ylim(0, 1)
axes[1].set_ylim(0, None)
axes[0].legend()
plt.show()
