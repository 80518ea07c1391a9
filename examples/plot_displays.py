"""
Looking at a network
====================

Five displays show what is inside: what the encoder makes of the data, how training went, the posterior of the weights,
and what the predictions are worth. All have ``from_estimator``, and take pipelines too.
"""

# %%
# Spikes
# ------
# Every pixel of the digits that come with scikit-learn becomes ten spikes. The raster shows the first 30 test digits;
# ten neighbouring neurons belong to one pixel.

from sklearn.datasets import load_diabetes, load_digits
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from sk_epsnn import (
    ConvergenceDisplay,
    EPSNNClassifier,
    EPSNNRegressor,
    PredictionBandDisplay,
    RateSpikeEncoder,
    ReliabilityDisplay,
    SpikeRasterDisplay,
    WeightPosteriorDisplay,
)

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.4, stratify=y, random_state=0)
encoder = RateSpikeEncoder(feature_range=(0, 16), n_steps=10, random_state=0)
model = make_pipeline(encoder, EPSNNClassifier(hidden_layer_sizes=60, random_state=0)).fit(X_train, y_train)
SpikeRasterDisplay.from_estimator(model, X_test[:30])

# %%
# Training
# --------
# Accepted updates raise the energy, an estimate of the log evidence; a step of 1 is a full Newton step.

ConvergenceDisplay.from_estimator(model)

# %%
# Weights
# -------
# A single layer on the pixels themselves has one image of weights for each class: which pixels speak for it and against
# it, and how well that is known. Pixels at the edge are nearly always dark, so their weights stay at the prior.

linear = EPSNNClassifier().fit(X_train, y_train)
WeightPosteriorDisplay.from_estimator(linear, image_shape=(8, 8))

# %%
# With few features there is a bar for each of them. A spike-and-slab prior sets some close to 0. After a fit to a data
# frame ``from_estimator`` knows the names of its columns; here the display itself is given them.

diabetes = load_diabetes()
regressor = EPSNNRegressor(prior="bernoulli_gaussian").fit(diabetes.data, diabetes.target)
names = diabetes.feature_names
WeightPosteriorDisplay(regressor.coefs_[0], regressor.coefs_variance_[0], input_names=names).plot()

# %%
# Predictions
# -----------
# Along one feature, the others at their medians: most of the band is noise, the weights are known well.

bmi = names.index("bmi")
band = PredictionBandDisplay.from_estimator(regressor, diabetes.data, diabetes.target, feature=bmi)
band.ax_.set_xlabel("body mass index")

# %%
# Are the probabilities of the classes right as often as they say? Several classifiers share axes.

display = ReliabilityDisplay.from_estimator(model, X_test, y_test, n_bins=10, name="hidden layer, spikes")
ReliabilityDisplay.from_estimator(linear, X_test, y_test, n_bins=10, name="single layer, pixels", ax=display.ax_)
