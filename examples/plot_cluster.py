"""
Many machines: data that stay where they are, and fits cut into shards
======================================================================

Posteriors of networks that learned apart can be merged, since what each has learned is a factor that multiplies. You
get one network from three places that keep their data to themselves and have seen little of what the others know, and
the fit of one large table on many cores or machines.
"""

# %%
# Three places, three kinds of digits
# -----------------------------------
# Five of six digits that come to a place are of its own kind: 0 to 2, 3 to 5 or 6 to 9. Before they part, all three get
# the same network, which has seen 100 digits of all kinds.

from copy import deepcopy

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss, recall_score
from sklearn.model_selection import train_test_split

from sk_epsnn import EPSNNClassifier, merge

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X / 16, y, train_size=1200, stratify=y, random_state=0)
rng = np.random.default_rng(0)
kind = np.searchsorted([3, 6], y, side="right")
place = np.where(rng.uniform(size=len(y)) < 0.75, kind, rng.integers(3, size=len(y)))
place[:100] = -1  # what all have seen

base = EPSNNClassifier(random_state=0).partial_fit(X[:100], y[:100], classes=range(10))
copies = [deepcopy(base).partial_fit(X[place == here], y[place == here]) for here in range(3)]
merged = merge(base, copies)
together = deepcopy(base).partial_fit(X[100:], y[100:])

# %%
# What ``merge`` gets is the network before and the three after: no row leaves its place. What the first 100 digits said
# is in all of them, and counts once.

networks = {
    "before": base,
    **{f"place {here + 1}": copy for here, copy in enumerate(copies)},
    "merged": merged,
    "all rows in one place": together,
}
recalls = []
for name, network in networks.items():
    probability = network.predict_proba(X_test)
    recalls.append(recall_score(y_test, probability.argmax(axis=1), average=None))
    accuracy, loss = network.score(X_test, y_test), log_loss(y_test, probability)
    print(f"{name:22}accuracy {accuracy:.3f}, NLL {loss:.3f} nats")

figure, axis = plt.subplots(figsize=(7.2, 3.6), layout="constrained")
axis.imshow(recalls, cmap="viridis", vmin=0.6, vmax=1, aspect="auto")
for (row, digit), share in np.ndenumerate(recalls):
    color = "white" if share < 0.8 else "black"
    axis.text(digit, row, f"{100 * share:.0f}", color=color, ha="center", va="center")
axis.axhline(3.5, color="white", linewidth=4)
axis.set_xticks(range(10))
axis.set_yticks(range(len(networks)), networks)
axis.set(xlabel="digit", title="Of the test digits of each kind, so many are recognised (%)")

# %%
# One table, many cores
# ---------------------
# With ``n_shards`` a fit cuts the rows of every pass into parts that learn apart, and ``n_jobs`` says how many are
# worked on at once. The result depends on the number of shards alone, not on who does the work.

alone = EPSNNClassifier(40, n_shards=3, random_state=0).fit(X, y)
threads = EPSNNClassifier(40, n_shards=3, n_jobs=3, random_state=0).fit(X, y)
print(f"three shards: accuracy {alone.score(X_test, y_test):.3f}")
print(f"the same by three threads: {np.array_equal(alone.predict_proba(X_test), threads.predict_proba(X_test))}")

# %%
# The shards are joblib tasks. With ``pip install "sk_epsnn[dask]"`` the same fit runs on the machines of a dask
# cluster:
#
# .. code-block:: python
#
#     from dask.distributed import Client
#     from joblib import parallel_config
#
#     client = Client("tcp://scheduler:8786")  # Client() for all cores of this machine
#     with parallel_config(backend="dask"):
#         classifier = EPSNNClassifier(40, n_shards=16, random_state=0).fit(X, y)
plt.show()
