"""Picture of the front page: `python docs/images/overview.py`."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from sk_epsnn import EPSNNClassifier, EPSNNRegressor, PopulationEncoder, PredictionBandDisplay, ReliabilityDisplay

SURE, DOUBTFUL = "#0072B2", "#D55E00"

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, train_size=900, stratify=y, random_state=0)
classifier = EPSNNClassifier(100, random_state=0).fit(X_train, y_train)
probability = classifier.predict_proba(X_test)
by_doubt = classifier.predict_uncertainty(X_test).total.argsort()

rng = np.random.default_rng(0)
x = np.concatenate([rng.uniform(-1, 1, 60), rng.uniform(3, 5, 60)])
target = np.cos(1.5 * x) + 0.3 * x + 0.15 * rng.standard_normal(len(x))
encoder = PopulationEncoder(feature_range=(-1, 5), output="rates")
regressor = make_pipeline(encoder, EPSNNRegressor(random_state=0)).fit(x[:, np.newaxis], target)

plt.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
figure = plt.figure(figsize=(11, 3.5), layout="constrained")
left, middle, right = figure.subfigures(1, 3, width_ratios=[1.15, 1, 1.15])

left.suptitle("Digits: sure of some, in doubt of others", fontsize=11)
panels = left.subplots(2, 4)
for row, chosen, color in zip(panels, (by_doubt[:4], by_doubt[-4:]), (SURE, DOUBTFUL), strict=True):
    for panel, index in zip(row, chosen, strict=True):
        first, second = probability[index].argsort()[-2:][::-1]
        panel.imshow(X_test[index].reshape(8, 8), cmap="gray_r")
        panel.set(xticks=[], yticks=[])
        panel.spines[:].set_visible(False)
        said = f"{first}: {probability[index, first]:.0%}"
        if color == DOUBTFUL:
            said += f"\n{second}: {probability[index, second]:.0%}"
        panel.set_xlabel(said, color=color)

middle.suptitle("What it says, and how often it is right", fontsize=11)
reliability = ReliabilityDisplay.from_predictions(y_test, probability, n_bins=10, name="digits", ax=middle.subplots())
reliability.ax_.set_title("")

right.suptitle("Error bars that grow where there are no data", fontsize=11)
band = PredictionBandDisplay.from_estimator(
    regressor, x[:, np.newaxis], target, grid=np.linspace(-1, 5, 301), ax=right.subplots()
)
band.ax_.set(xlabel="x", ylabel="y", title="")
band.ax_.legend(fontsize=8, loc="upper left", frameon=False)

picture = Path(__file__).with_suffix(".png")
figure.savefig(picture, dpi=110)
print(f"{picture.name}: {picture.stat().st_size / 1000:.0f} kB, accuracy {classifier.score(X_test, y_test):.3f}")
