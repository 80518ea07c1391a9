"""
Learning from a stream
======================

``partial_fit`` turns the posterior of one batch into the prior of the next. This script sends the digits that come
with scikit-learn through a network in small batches, each of them once, and follows held-out rows: the accuracy rises
and the uncertainty falls. Its epistemic part comes from not knowing the weights.

Run it as ``python plot_streaming.py [picture.png]``.
"""

# %%
# A stream of spikes
# ------------------
# Every pixel becomes ten spikes at a rate proportional to its brightness.

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.utils import gen_batches

from sk_epsnn import EPSNNClassifier, RateSpikeEncoder

X, y = load_digits(return_X_y=True)
X = RateSpikeEncoder(feature_range=(0, 16), n_steps=10, random_state=0).fit_transform(X)
X_stream, X_held_out, y_stream, y_held_out = train_test_split(X, y, train_size=1250, stratify=y, random_state=0)

# %%
# One pass
# --------
# The first call must name all classes. Uncertainties are entropies in nats; knowing nothing is log(10) = 2.30.

classifier = EPSNNClassifier(random_state=0)
seen, accuracy, total, epistemic = [], [], [], []
for rows in gen_batches(len(X_stream), 50):
    classifier.partial_fit(X_stream[rows], y_stream[rows], classes=np.arange(10))
    uncertainty = classifier.predict_uncertainty(X_held_out)
    seen.append(rows.stop)
    accuracy.append(classifier.score(X_held_out, y_held_out))
    total.append(uncertainty.total.mean())
    epistemic.append(uncertainty.epistemic.mean())
    print(
        f"{seen[-1]:5d} rows: accuracy {accuracy[-1]:.3f}, "
        f"total uncertainty {total[-1]:.3f} nats, epistemic {epistemic[-1]:.3f} nats"
    )

# %%
# Picture
# -------
# Without a display, matplotlib chooses the Agg backend by itself.

import matplotlib.pyplot as plt  # noqa: E402

figure, (upper, lower) = plt.subplots(2, 1, figsize=(7, 6), sharex=True, layout="constrained")
upper.plot(seen, 100 * np.array(accuracy), "o-", color="C0", markersize=3)
upper.set(ylabel="held-out accuracy (%)", title=f"Digits, one pass in batches of 50, {len(y_held_out)} held-out rows")
lower.plot(seen, total, "o-", color="C3", markersize=3, label="total")
lower.plot(seen, epistemic, "s-", color="C2", markersize=3, label="epistemic")
lower.set(xlabel="rows seen", ylabel="mean uncertainty (nats)", ylim=(0, None))
lower.legend()
for axis in (upper, lower):
    axis.grid(alpha=0.3)

output_path = Path(sys.argv[1] if len(sys.argv) > 1 else "plot_streaming.png")
figure.savefig(output_path, dpi=120)
print(f"Saved {output_path}")
