"""
A grid search over the size and the temperature of a network
============================================================

Networks of spiking neurons are scikit-learn estimators, and ``GridSearchCV`` reaches their options by two underscores.
You get the cross-validated accuracy and negative log-likelihood (NLL) of networks of several sizes and temperatures, as
two maps, and the network that is best.
"""

# %%
# The grid
# --------
# A temperature below 1 makes the posterior surer than Bayes' rule allows, in training and in predictions. ``"auto"``
# lets rows that are held out choose it; here the grid says it.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, train_test_split

from sk_epsnn import EPSNNClassifier, Stochastic

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, train_size=300, stratify=y, random_state=0)

SIZES, TEMPERATURES = [5, 10, 20, 40], [0.03, 0.1, 0.3, 1.0]
search = GridSearchCV(
    EPSNNClassifier(inference=Stochastic(n_passes=6, final_sweeps=0), random_state=0),
    {"hidden_layer_sizes": SIZES, "inference__temperature": TEMPERATURES},
    scoring=["accuracy", "neg_log_loss"],
    refit="neg_log_loss",
    cv=2,
)
search.fit(X_train, y_train)
print("best:", search.best_params_)
probability = search.predict_proba(X_test)
accuracy = np.mean(probability.argmax(axis=1) == y_test)
print(f"{len(X_test)} test rows: accuracy {accuracy:.3f}, NLL {log_loss(y_test, probability):.3f} nats")

# %%
# Two maps
# --------
# Yellow is better in both. Larger networks are better throughout; what the temperature does to probabilities shows in
# the NLL above all. Search by it where probabilities are used.

figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.9), sharey=True, layout="constrained")
results = search.cv_results_
maps = [("accuracy", "accuracy", 1), ("neg_log_loss", "NLL (nats)", -1)]
for axis, (measure, name, sign) in zip(axes, maps, strict=True):
    score = results[f"mean_test_{measure}"].reshape(len(SIZES), len(TEMPERATURES))
    axis.imshow(score, cmap="viridis", aspect="auto")
    middle = (score.min() + score.max()) / 2
    for (row, column), value in np.ndenumerate(score):
        style = {"ha": "center", "va": "center", "weight": "bold" if value == score.max() else "normal"}
        axis.text(column, row, f"{sign * value:.3f}", color="white" if value < middle else "black", **style)
    axis.set_xticks(range(len(TEMPERATURES)), TEMPERATURES)
    axis.set_yticks(range(len(SIZES)), SIZES)
    axis.set(xlabel="inference__temperature", title=name)
axes[0].set_ylabel("hidden_layer_sizes")
plt.show()
