"""
Three principles side by side: messages, gradients, samples
===========================================================

``EPSNNClassifier`` passes messages, ``SBNNClassifier`` follows gradients through the noise of its weights, and
``GEMSNNClassifier`` learns from several runs of random neurons. You get all three on the same small data: accuracy,
negative log-likelihood (NLL), expected calibration error (ECE) and the seconds of training, and a map of what each
predicts and of how far it trusts itself.
"""

# %%
# Two moons
# ---------
# Two features, two classes that overlap, 300 rows for training. All three networks have 40 hidden neurons and are at
# their defaults otherwise.

from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons
from sklearn.metrics import log_loss

from sk_epsnn import EPSNNClassifier, GEMSNNClassifier, ReliabilityDisplay, SBNNClassifier
from sk_epsnn.plotting import PALETTE

X, y = make_moons(300, noise=0.25, random_state=0)
X_test, y_test = make_moons(1000, noise=0.25, random_state=1)

figure, axis = plt.subplots(figsize=(5.5, 4.5), layout="constrained")
networks = {}
print(f"{'':18}accuracy   NLL    ECE  seconds")
for kind in (EPSNNClassifier, SBNNClassifier, GEMSNNClassifier):
    began = perf_counter()
    network = networks[kind.__name__] = kind(40, random_state=0).fit(X, y)
    seconds = perf_counter() - began
    probability = network.predict_proba(X_test)
    reliability = ReliabilityDisplay.from_predictions(y_test, probability, n_bins=10, name=kind.__name__, ax=axis)
    accuracy, loss = network.score(X_test, y_test), log_loss(y_test, probability)
    print(f"{kind.__name__:18}{accuracy:8.3f} {loss:6.3f} {reliability.ece:6.3f} {seconds:7.1f}")

# %%
# What they predict, and what they doubt
# --------------------------------------
# Above, the probability of the second class; below, the doubt that comes from what is random in each principle. Of the
# first two networks that are the weights, and doubt grows where there were no rows near the border of the classes. The
# weights of the third are points: what its runs disagree on is the noise of spikes, which knows nothing of the data.

first, second = np.meshgrid(np.linspace(-2.2, 3.2, 54), np.linspace(-2, 2.5, 45))
grid = np.c_[first.ravel(), second.ravel()]
where = {"origin": "lower", "extent": (-2.2, 3.2, -2, 2.5)}

# sphinx_gallery_thumbnail_number = 2
figure, axes = plt.subplots(2, 3, figsize=(7.2, 4.3), sharex=True, sharey=True, layout="constrained")
for (says, doubts), (name, network) in zip(axes.T, networks.items(), strict=True):
    probability = network.predict_proba(grid)[:, 1].reshape(first.shape)
    uncertainty = network.predict_uncertainty(grid)
    by_chance = getattr(uncertainty, "epistemic", None)  # of the weights
    by_chance = uncertainty.disagreement if by_chance is None else by_chance  # of the spikes
    left = says.imshow(probability, cmap="RdBu", vmin=0, vmax=1, **where)
    right = doubts.imshow(by_chance.reshape(first.shape), cmap="viridis", vmin=0, vmax=0.4, **where)
    for label, color in enumerate((PALETTE[1], PALETTE[0])):
        says.plot(*X[y == label].T, "o", color=color, markersize=3, markeredgewidth=0.3, markeredgecolor="white")
    says.set_title(name, fontsize="medium")
figure.colorbar(left, ax=axes[0], label="probability")
figure.colorbar(right, ax=axes[1], label="doubt (nats)")
plt.show()
