"""
A stream that drifts: forgetting what no longer holds
=====================================================

``partial_fit`` makes the posterior of one batch the prior of the next. Where what is to be learned changes, old
evidence stands in the way, and ``forgetting`` lets it fade. You get the accuracy and the uncertainty of three networks
on a stream of digits whose labels are exchanged half way.
"""

# %%
# A stream with a break
# ---------------------
# The digits that come with scikit-learn arrive in batches of 75. After the 9th batch somebody exchanges the labels:
# what was a 0 is called 1 from then on, what was a 1 is called 2, and so on. Held-out rows are judged by the labels
# that are in use.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sk_epsnn import EPSNNClassifier
from sk_epsnn.plotting import PALETTE

BATCH, BREAK = 75, 9
X, y = load_digits(return_X_y=True)
X_stream, X_held_out, y_stream, y_held_out = train_test_split(X / 16, y, train_size=1425, stratify=y, random_state=0)
n_batches = len(X_stream) // BATCH
print(f"{n_batches} batches of {BATCH} rows, {len(y_held_out)} held-out rows")


def labels_in_use(labels, batch):
    """The labels as they are called when this batch arrives."""
    return labels if batch < BREAK else (labels + 1) % 10


# %%
# Three memories
# --------------
# With ``forgetting=0.7`` a batch counts half after two others, as 0.7 to the power of 2 is about a half. Uncertainties
# are entropies in nats; knowing nothing is log(10) = 2.3.

FORGETTING = {1.0: "1: nothing fades", 0.9: "0.9", 0.7: "0.7"}
accuracy, epistemic = ({value: [] for value in FORGETTING} for _ in range(2))
for forgetting in FORGETTING:
    classifier = EPSNNClassifier(forgetting=forgetting, random_state=0)
    for batch in range(n_batches):
        rows = slice(batch * BATCH, (batch + 1) * BATCH)
        classifier.partial_fit(X_stream[rows], labels_in_use(y_stream[rows], batch), classes=np.arange(10))
        accuracy[forgetting].append(classifier.score(X_held_out, labels_in_use(y_held_out, batch)))
        epistemic[forgetting].append(classifier.predict_uncertainty(X_held_out).epistemic.mean())
    before, after, end = (accuracy[forgetting][batch] for batch in (BREAK - 1, BREAK + 2, -1))
    print(f"forgetting={forgetting}: accuracy {before:.3f} before, {after:.3f} three batches on, {end:.3f} at the end")

# %%
# Picture
# -------
# Without forgetting the network is wrong for long, though hardly less sure than before. With it there is more doubt all
# the time: the evidence that fades is missing where nothing has changed.

figure, (upper, lower) = plt.subplots(2, 1, figsize=(7, 6), sharex=True, layout="constrained")
figure.suptitle("Digits whose labels are exchanged in mid-stream")
seen = BATCH * np.arange(1, n_batches + 1)
for (forgetting, name), color, marker in zip(FORGETTING.items(), PALETTE, "osD", strict=False):
    style = {"color": color, "marker": marker, "markersize": 4}
    upper.plot(seen, 100 * np.array(accuracy[forgetting]), label=name, **style)
    lower.plot(seen, epistemic[forgetting], **style)
upper.set(ylabel="held-out accuracy (%)", ylim=(0, 100))
upper.legend(title="forgetting", loc="lower left")
lower.set(xlabel="rows seen", ylabel="epistemic uncertainty (nats)", ylim=(0, None))
for axis in (upper, lower):
    axis.axvline(BATCH * (BREAK + 0.5), color="gray", linestyle=":")
    axis.grid(alpha=0.3)
plt.show()
