"""
Weights for a chip: plus or minus one, and a file that chips read
=================================================================

Many neuromorphic chips hold weights of few levels. You get a network whose weights are 1 or -1, how much accuracy that
costs, and the network as a file of the `Neuromorphic Intermediate Representation <https://neuroir.org>`_ (NIR), which
is read again and run by a few lines that know nothing of this package. It needs ``pip install "sk_epsnn[nir]"``.
"""

# %%
# Probabilities of levels
# -----------------------
# Pixels of the digits that come with scikit-learn are spikes where they are dark. ``weights="binary"`` learns how
# probable it is that a weight is 1, not -1. At temperature 1, that of Bayes' rule, most weights make up their minds.
# ``freeze`` gives every weight its most probable level, which is what a chip holds.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import nir
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sk_epsnn import EPSNNClassifier, Stochastic, to_nir
from sk_epsnn.plotting import PALETTE

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split((X > 7).astype(float), y, stratify=y, random_state=0)
binary = EPSNNClassifier(40, weights="binary", inference=Stochastic(temperature=1.0), random_state=0)
binary.fit(X_train, y_train)
continuous = EPSNNClassifier(40, random_state=0).fit(X_train, y_train)
chip = binary.freeze()

models = {
    "continuous, averaged": continuous,
    "binary, averaged": binary,
    "binary, one draw": binary.freeze("sample", random_state=0),
    "binary, most probable": chip,
}
accuracy = {name: model.score(X_test, y_test) for name, model in models.items()}
for name, value in accuracy.items():
    print(f"{name:22}accuracy {value:.3f}")

# %%
# What hidden neurons look for
# ----------------------------
# The weights from the 64 pixels to eight neurons: how probable a 1 is, in blue, and what the chip holds. Where a pixel
# is hardly ever dark, as at the corners, either level will do.

figure = plt.figure(figsize=(7.2, 4.4), layout="constrained")
upper, lower = figure.subfigures(2, 1, height_ratios=[1.4, 1])
axes = upper.subplots(2, 8)
for neuron, (likely, held) in enumerate(axes.T):
    shown = likely.imshow(binary.coefs_probabilities_[0][:, neuron, 1].reshape(8, 8), cmap="RdBu", vmin=0, vmax=1)
    held.imshow(chip.coefs_[0][:, neuron].reshape(8, 8), cmap="RdBu", vmin=-1, vmax=1)
for axis in axes.flat:
    axis.set(xticks=[], yticks=[])
axes[0, 0].set_ylabel("learned")
axes[1, 0].set_ylabel("on the chip")
upper.colorbar(shown, ax=axes, label="probability of 1", shrink=0.9)

bars = lower.subplots()
bars.barh(list(accuracy), [100 * value for value in accuracy.values()], color=PALETTE[0])
bars.bar_label(bars.containers[0], fmt="%.1f", padding=3)
bars.invert_yaxis()
bars.set(xlabel="accuracy on test digits (%)", xlim=(0, 109))
bars.spines[["top", "right"]].set_visible(False)

# %%
# To a file, and back
# -------------------
# The graph goes from the pixels to the potentials of the classes. A program that reads NIR needs the node's definitions
# only: a weighted sum (``Affine``), a neuron that fires above its threshold (``Threshold``), a factor (``Scale``).

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "digits.nir")
    nir.write(path, to_nir(chip))
    graph = nir.read(path)
    print(f"{path.name} has {path.stat().st_size / 1024:.0f} KiB")


def chain(graph):
    """The nodes from the first after the input to the output."""
    following, name = dict(graph.edges), "input"
    while name in following:
        name = following[name]
        yield graph.nodes[name]


def run(graph, values):
    """What comes out of the graph."""
    for node in chain(graph):
        if isinstance(node, nir.Affine):
            values = values @ node.weight.T + node.bias
        elif isinstance(node, nir.Threshold):
            values = np.where(values > node.threshold, 1.0, 0.0)
        elif isinstance(node, nir.Scale):
            values = values * node.scale
    return values


print("nodes:", ", ".join(type(node).__name__ for node in chain(graph)))
print("weights of the hidden layer:", np.unique(next(chain(graph)).weight))
same = run(graph, X_test).argmax(axis=1) == chip.predict(X_test)
print(f"the same predictions for {same.sum()} of {len(same)} test digits")
plt.show()
