"""Figures 2 to 7 of the paper (arXiv:2506.23757), drawn from networks trained here.

The curves and images of the maximum-likelihood baseline are left out where snnTorch is not installed. Takes a few
minutes.

    python examples/paper/figures.py --figures 3 7 --folder docs/images/reproduction
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import _mle
import matplotlib.pyplot as plt
import numpy as np
from _shared import DATASETS, DOCS, classification, classifier, encoder, regression_data, spiking_mnist
from matplotlib.figure import Figure
from sklearn.pipeline import make_pipeline
from sklearn.utils import gen_batches
from threadpoolctl import threadpool_limits

from sk_epsnn import EPSNNClassifier, EPSNNRegressor

SEED = 0
HIDDEN = 120
BATCH = 1000
#: Output neuron whose weights are drawn.
DIGIT = 0
EPOCHS = 8


def has_baseline() -> bool:
    """Whether the extra [benchmark] is installed."""
    return find_spec("torch") is not None and find_spec("snntorch") is not None


def fit(n_samples: int, **parameters: Any) -> EPSNNClassifier:
    """Our classifier on spiking MNIST."""
    X, y, _, _ = spiking_mnist(n_samples, SEED)
    return classifier(**parameters, random_state=SEED).fit(X, y)


@lru_cache(maxsize=2)
def with_hidden_layer(prior: str) -> EPSNNClassifier:
    """784-120-10 with N = 1,000; shared by two figures."""
    return fit(1000, hidden_layer_sizes=(HIDDEN,), prior=prior)


def convergence() -> Figure:
    """Figure 2: test loss and accuracy of 784-10 at N = 10,000, by passes over the data."""
    data = spiking_mnist(10_000, SEED)
    X, y, _, _ = data
    stream, curve = classifier(random_state=SEED), []
    for rows in gen_batches(len(X), BATCH):
        stream.partial_fit(X[rows], y[rows], classes=np.arange(10))
        curve.append((rows.stop / len(X), classification(stream, data)))
    curves = {"EPSNN, after every batch (partial_fit)": curve}
    passes = [
        # Fits of the same random_state go the same way: this is one fit, looked at after every pass.
        (k, classification(classifier(max_iter=k, tol=0.0, random_state=SEED).fit(X, y), data))
        for k in range(1, EPOCHS + 1)
    ]
    curves["EPSNN, after every pass (fit)"] = passes
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    for name, points in curves.items():
        for axis, measure in zip(axes, ("PeBCE", "accuracy"), strict=True):
            line = axis.plot([k for k, _ in points], [s.test[measure] for _, s in points], "o-", ms=3, label=name)
            axis.plot([k for k, _ in points], [s.train[measure] for _, s in points], "--", color=line[0].get_color())
    if has_baseline():
        _, baseline = _mle.classify(data, [], SEED)
        epochs = np.arange(1, len(baseline.test_losses) + 1)
        axes[0].plot(epochs, baseline.test_losses, color="0.4", label="snnTorch, after every epoch")
        axes[0].plot(epochs, baseline.train_losses, "--", color="0.4")
        accuracies = [np.mean(scores.argmax(1) == labels) for scores, labels in ((baseline.test, data[3]),)]
        axes[1].axhline(accuracies[0], color="0.4", label="snnTorch, stopped at the lowest test loss")
    for axis, label in zip(axes, ("loss (PeBCE, nats)", "accuracy"), strict=True):
        axis.set(xlabel="passes over the data", ylabel=label, xscale="log")
        axis.legend(fontsize=7)
    figure.suptitle("784-10, N = 10,000: test (solid) and training (dashed)", fontsize=10)
    return figure


def weight_images() -> Figure:
    """Figure 3: posterior means and log variances of the weights into the output neuron of one digit."""
    panels: list[tuple[str, np.ndarray, np.ndarray | None]] = []
    if has_baseline():
        _, baseline = _mle.classify(spiking_mnist(1000, SEED), [], SEED)
        panels.append(("MLE, N = 1,000", baseline.weights[0][DIGIT], None))
    for name, n_samples, parameters in (
        ("binary, N = 1,000", 1000, {"weights": "binary"}),
        ("continuous, N = 1,000", 1000, {}),
        ("continuous, N = 10,000", 10_000, {}),
    ):
        model = fit(n_samples, **parameters)
        panels.append((name, model.coefs_[0][:, DIGIT], np.log(model.coefs_variance_[0][:, DIGIT])))
    figure, axes = plt.subplots(2, len(panels), figsize=(2.4 * len(panels), 4.4), layout="constrained")
    for (name, mean, log_variance), (above, below) in zip(panels, axes.T, strict=True):
        limit = np.abs(mean).max()
        _image(figure, above, mean, cmap="RdBu_r", vmin=-limit, vmax=limit)
        above.set_title(name, fontsize=9)
        if log_variance is None:
            below.axis("off")
        else:
            _image(figure, below, log_variance, cmap="viridis")
    axes[0, 0].set_ylabel("mean")
    axes[1, 1].set_ylabel("log variance")
    return figure


def _image(figure: Figure, axis: plt.Axes, values: np.ndarray, **options: Any) -> None:
    """One number per pixel."""
    drawn = axis.imshow(values.reshape(28, 28), **options)
    axis.set(xticks=[], yticks=[])
    figure.colorbar(drawn, ax=axis, shrink=0.8).ax.tick_params(labelsize=7)


def weight_distributions() -> Figure:
    """Figure 4: distributions of the posterior means and variances in each layer, under two priors."""
    figure, axes = plt.subplots(2, 2, figsize=(8, 4.6), layout="constrained")
    for prior, color in (("gaussian", "C0"), ("bernoulli_gaussian", "C1")):
        model = with_hidden_layer(prior)
        for layer, row in enumerate(axes):
            quantities = model.coefs_[layer].ravel(), np.log10(model.coefs_variance_[layer].ravel())
            for axis, values, label in zip(row, quantities, ("mean", "log10 variance"), strict=True):
                axis.hist(values, bins=80, density=True, histtype="step", color=color, label=prior)
                axis.set_xlabel(f"{label}, layer {layer + 1}")
                axis.set_yscale("log" if label == "mean" else "linear")
    axes[0, 0].legend(fontsize=8)
    return figure


def activation_probabilities() -> Figure:
    """Figure 5: spike and slab, probabilities that features feed one digit, and pixels the three likeliest features."""
    hidden, output = with_hidden_layer("bernoulli_gaussian").activation_probabilities_
    order = np.argsort(-output[:, DIGIT])
    figure = plt.figure(figsize=(8, 4.6), layout="constrained")
    above, below = figure.subfigures(2, 1)
    axis = above.subplots()
    axis.plot(output[order, DIGIT], ".-")
    axis.axhline(0.5, color="0.7", lw=0.8)
    axis.set(xlabel="feature, sorted", ylabel="activation probability", ylim=(0, 1.02))
    for axis, feature in zip(below.subplots(1, 3), order[:3], strict=True):
        _image(below, axis, hidden[:, feature], cmap="viridis", vmin=0, vmax=1)
        axis.set_title(f"pixels of feature {feature}", fontsize=9)
    return figure


def population_code() -> Figure:
    """Figure 6: tuning curves, and the rates and spikes of one value."""
    code = encoder("D3", SEED)
    x = np.linspace(-1, 5, 601)[:, None]
    rates = code.fit_transform(x)
    value = np.array([[1.3]])
    figure, axes = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained")
    axes[0].plot(x, rates[:, ::9], color="C0", lw=1)
    axes[0].set(xlabel="x", ylabel="rate")
    neurons = np.arange(rates.shape[1])
    axes[1].plot(neurons, code.transform(value)[0], label="rates")
    spikes = encoder("D1", SEED).fit(x).transform(value)[0]
    axes[1].plot(neurons[spikes > 0], spikes[spikes > 0], "|", color="C3", ms=9, label="spikes")
    axes[1].set(xlabel="neuron", title=f"x = {value[0, 0]}")
    axes[1].legend(fontsize=8)
    return figure


def regression_bands() -> Figure:
    """Figure 7: predictions of the three regression tasks, mean and one standard deviation, noise included."""
    figure, axes = plt.subplots(1, 3, figsize=(11, 3), layout="constrained", sharey=True)
    grid = np.linspace(-1, 5, 400)[:, None]
    for axis, dataset in zip(axes, DATASETS, strict=False):
        X, y, _, _ = regression_data(dataset, SEED)
        model = make_pipeline(encoder(dataset, SEED), EPSNNRegressor(hidden_layer_sizes=(128,), random_state=SEED))
        mean, std = model.fit(X, y).predict(grid, return_std=True)
        axis.fill_between(grid[:, 0], mean - std, mean + std, color="C0", alpha=0.3, lw=0)
        axis.plot(grid, mean, color="C0", lw=1, label="EPSNN, mean and 1 sd")
        axis.plot(grid, grid - 0.1 * grid**2 + np.cos(0.5 * np.pi * grid), "k--", lw=1, label="truth")
        axis.plot(X[::5], y[::5], ".", color="C3", ms=2, label="training rows (a fifth)")
        axis.set(title=dataset, xlabel="x")
    axes[0].legend(fontsize=7)
    return figure


FIGURES: dict[str, Callable[[], Figure]] = {
    "2": convergence,
    "3": weight_images,
    "4": weight_distributions,
    "5": activation_probabilities,
    "6": population_code,
    "7": regression_bands,
}


def main() -> None:
    """Draw the chosen figures into a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figures", nargs="+", choices=list(FIGURES), default=list(FIGURES))
    parser.add_argument("--folder", type=Path, default=DOCS / "images" / "reproduction")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    plt.switch_backend("agg")
    with threadpool_limits(limits=1):
        for name in arguments.figures:
            figure = FIGURES[name]()
            figure.savefig(arguments.folder / f"figure_{name}.png", dpi=80)
            plt.close(figure)
            print(f"figure {name}", flush=True)


if __name__ == "__main__":
    main()
