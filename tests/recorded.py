"""Results of varied fits, kept as hashes: a change that is meant to change no result is held to the same bits.

``python tests/recorded.py --write`` records them anew, on another machine or after a change that is meant to change
them. Bits depend on the processor and on the versions of NumPy and SciPy; the file says which they were.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import warnings
from pathlib import Path

import numpy as np
import scipy
import sklearn
from scipy import sparse
from sklearn.datasets import load_diabetes, load_digits
from threadpoolctl import threadpool_info, threadpool_limits

from sk_epsnn import (
    AverageEP,
    BernoulliGaussianPrior,
    EPSNNClassifier,
    EPSNNRegressor,
    GaussianMixturePrior,
    GaussianPrior,
    HeavisideOutput,
    LaplacePrior,
    Levels,
    Newton,
    PopulationEncoder,
    merge,
)

PATH = Path(__file__).parent / "fixtures" / "recorded.json"
#: Rows whose predictions are kept as numbers too.
SHOWN = 3


def machine() -> dict[str, object]:
    """What the bits of a result depend on, beside the code."""
    blas = sorted({(info["internal_api"], info.get("architecture", "")) for info in threadpool_info()})
    return {
        "processor": platform.machine(),
        "vector_extensions": np.show_config(mode="dicts")["SIMD Extensions"]["found"],
        "blas": [list(pair) for pair in blas if pair[0] != "openmp"],
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "scikit-learn": sklearn.__version__,
    }


def _digits(n_samples: int, dtype: type = np.float64) -> tuple[np.ndarray, np.ndarray]:
    X, y = load_digits(return_X_y=True)
    return (X[:n_samples] / 16).astype(dtype), y[:n_samples]


def _spikes(n_samples: int) -> tuple[np.ndarray, np.ndarray]:
    X, y = load_digits(return_X_y=True)
    return (X[:n_samples] > 7).astype(np.float64), y[:n_samples]


def _diabetes(n_samples: int) -> tuple[np.ndarray, np.ndarray]:
    X, y = load_diabetes(return_X_y=True)
    return X[:n_samples], y[:n_samples]


def _wave(n_samples: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 5, (n_samples, 1))
    return x, np.cos(x[:, 0]) + 0.1 * rng.standard_normal(n_samples)


def _stream(model, X, y, size, **first):
    for start in range(0, len(y), size):
        model.partial_fit(X[start : start + size], y[start : start + size], **first)
    return model


def _single_layer():
    X, y = _digits(500)
    return EPSNNClassifier(random_state=0).fit(X[:400], y[:400]), X[400:]


def _single_layer_batches():
    X, y = _digits(500)
    return EPSNNClassifier(batch_size=100, max_iter=3, random_state=1).fit(X[:400], y[:400]), X[400:]


def _two_classes_float32():
    X, y = _digits(400, np.float32)
    weight = np.random.default_rng(0).uniform(0, 2, 300)
    model = EPSNNClassifier(20, class_weight="balanced", random_state=0)
    return model.fit(X[:300], y[:300] % 2, sample_weight=weight), X[300:]


def _hidden():
    X, y = _digits(500)
    return EPSNNClassifier(30, random_state=0).fit(X[:400], y[:400]), X[400:]


def _two_hidden_sigmoid():
    X, y = _digits(400)
    model = EPSNNClassifier((20, 15), activation=["sigmoid", "heaviside"], max_iter=4, random_state=0)
    return model.fit(X[:300], y[:300]), X[300:]


def _three_hidden():
    X, y = _digits(300)
    return EPSNNClassifier((15, 12, 10), max_iter=3, random_state=0).fit(X[:200], y[:200]), X[200:]


def _binary_hidden():
    X, y = _spikes(400)
    model = EPSNNClassifier(25, weights="binary", fit_intercept=False, max_iter=4, random_state=0)
    return model.fit(X[:300], y[:300]), X[300:]


def _ternary_heaviside():
    X, y = _spikes(400)
    model = EPSNNClassifier(
        weights=Levels((-1, 0, 1), probabilities=[0.2, 0.6, 0.2]), output_activation="heaviside", random_state=0
    )
    return model.fit(X[:300], y[:300]), X[300:]


def _levels_gain():
    X, y = _diabetes(300)
    model = EPSNNRegressor(12, weights=Levels([-1.0, -0.3, 0.3, 1.0], gain=1.0), max_iter=4, random_state=0)
    return model.fit(X[:200], y[:200]), X[200:]


def _number_prior():
    X, y = _spikes(400)
    model = EPSNNClassifier(
        20,
        prior=GaussianPrior(variance=1.0),
        inference=Newton(temperature=0.5, power=1.0),
        output_activation="sigmoid",
        max_iter=4,
        random_state=0,
    )
    return model.fit(X[:300], y[:300]), X[300:]


def _options():
    X, y = _digits(400)
    model = EPSNNClassifier(
        20,
        prior=GaussianPrior(anchor=0.2, spectral_exponent=0.5),
        inference=Newton(n_sweeps=4, temperature=[0.4, 0.6]),
        output_activation=HeavisideOutput(noise_variance=0.5),
        shuffle=False,
        batch_size=150,
        max_iter=3,
        random_state=0,
    )
    return model.fit(X[:300], y[:300]), X[300:]


def _spike_and_slab():
    X, y = _digits(400)
    prior = BernoulliGaussianPrior(active_probability=0.3)
    return EPSNNClassifier(20, prior=prior, max_iter=4, random_state=0).fit(X[:300], y[:300]), X[300:]


def _laplace():
    X, y = _diabetes(300)
    return EPSNNRegressor(prior=LaplacePrior(scale=0.5), random_state=0).fit(X[:200], y[:200]), X[200:]


def _mixture():
    X, y = _digits(400)
    prior = GaussianMixturePrior(weights=(0.3, 0.7))
    return EPSNNClassifier(prior=prior, max_iter=4, random_state=0).fit(X[:300], y[:300]), X[300:]


def _average_ep():
    X, y = _digits(400)
    model = EPSNNClassifier(inference="average_ep", max_iter=3, random_state=0)
    return model.fit(X[:300], y[:300]), X[300:]


def _average_ep_hidden():
    X, y = _spikes(400)
    model = EPSNNClassifier(
        15,
        inference=AverageEP(damping=0.05, n_sweeps=10),
        max_iter=2,
        random_state=0,
    )
    return model.fit(X[:300], y[:300]), X[300:]


def _regressor():
    X, y = _diabetes(442)
    return EPSNNRegressor(random_state=0).fit(X[:300], y[:300]), X[300:]


def _population():
    x, y = _wave(300)
    rates = PopulationEncoder(40, output="rates").fit_transform(x)
    return EPSNNRegressor(25, max_iter=4, random_state=0).fit(rates[:200], y[:200]), rates[200:]


def _heated():
    x, y = _wave(200)
    targets = np.column_stack([y, y**2])
    return EPSNNRegressor(20, random_state=0).fit(x[:120], targets[:120]), x[120:]


def _noise_in_training():
    x, y = _wave(200)
    model = EPSNNRegressor((10, 8), inference=Newton(validation_fraction=0), max_iter=3, random_state=0)
    return model.fit(x[:120], y[:120]), x[120:]


def _known_noise():
    X, y = _diabetes(300)
    return EPSNNRegressor(12, noise_variance=3000.0, max_iter=4, random_state=0).fit(X[:200], y[:200]), X[200:]


def _sparse():
    X, y = _spikes(400)
    model = EPSNNClassifier(20, max_iter=4, random_state=0).fit(sparse.csr_array(X[:300]), y[:300])
    return model, sparse.csr_array(X[300:])


def _no_rotation():
    X, y = _digits(400)
    model = EPSNNClassifier(
        20,
        prior=GaussianPrior(spectral_exponent=0.0),
        inference=Newton(rotate_inputs=False),
        fit_intercept=False,
        max_iter=3,
    )
    return model.set_params(random_state=3).fit(X[:300], y[:300]), X[300:]


def _classifier_stream():
    X, y = _digits(500)
    model = EPSNNClassifier(20, forgetting=0.8, random_state=0)
    return _stream(model, X[:400], y[:400], 100, classes=range(10)), X[400:]


def _regressor_stream():
    X, y = _diabetes(400)
    return _stream(EPSNNRegressor(random_state=0), X[:300], y[:300], 50), X[300:]


def _fit_then_stream():
    x, y = _wave(300)
    model = EPSNNRegressor(12, max_iter=2, random_state=0).fit(x[:150], y[:150])
    return _stream(model, x[150:250], y[150:250], 50), x[250:]


def _warm_start():
    X, y = _digits(400)
    model = EPSNNClassifier(15, warm_start=True, max_iter=2, random_state=0).fit(X[:300], y[:300])
    return model.fit(X[:300], y[:300]), X[300:]


def _warm_regressor():
    x, y = _wave(200)
    model = EPSNNRegressor(10, warm_start=True, max_iter=2, random_state=0).fit(x[:150], y[:150])
    return model.fit(x[:150], y[:150]), x[150:]


def _shards():
    X, y = _digits(500)
    return EPSNNClassifier(15, n_shards=3, n_jobs=2, max_iter=3, random_state=0).fit(X[:400], y[:400]), X[400:]


def _merged():
    from copy import deepcopy

    X, y = _digits(500)
    base = EPSNNClassifier(random_state=0).partial_fit(X[:200], y[:200], classes=range(10))
    parts = [deepcopy(base).partial_fit(X[rows], y[rows]) for rows in (slice(200, 300), slice(300, 400))]
    return merge(base, parts), X[400:]


def _frozen():
    X, y = _spikes(400)
    model = EPSNNClassifier(12, weights="binary", max_iter=3, random_state=0).fit(X[:300], y[:300])
    return model.freeze("sample", random_state=0), X[300:]


CONFIGURATIONS = {
    name.lstrip("_"): globals()[name]
    for name in (
        *("_single_layer", "_single_layer_batches", "_two_classes_float32", "_hidden", "_two_hidden_sigmoid"),
        *("_three_hidden", "_binary_hidden", "_ternary_heaviside", "_levels_gain", "_number_prior", "_options"),
        *("_spike_and_slab", "_laplace", "_mixture", "_average_ep", "_average_ep_hidden", "_regressor", "_population"),
        *("_heated", "_noise_in_training", "_known_noise", "_sparse", "_no_rotation", "_classifier_stream"),
        *("_regressor_stream", "_fit_then_stream", "_warm_start", "_warm_regressor", "_shards", "_merged", "_frozen"),
    )
}


def results(name: str) -> dict[str, np.ndarray]:
    """Everything that a configuration's fitted model says, as arrays."""
    with threadpool_limits(1, user_api="blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, X = CONFIGURATIONS[name]()
        if hasattr(model, "classes_"):
            found = {"prediction": model.predict_proba(X), "potentials": np.hstack(model.predict_potentials(X))}
        else:
            mean, std = model.predict(X, return_std=True)
            found = {"prediction": mean, "std": std, "noise_variance": np.asarray(model.noise_variance_)}
        found |= model.predict_uncertainty(X)._asdict()
        for attribute in ("coefs_", "intercepts_", "coefs_variance_", "intercepts_variance_", "map_coefs_"):
            found[attribute] = np.concatenate([part.ravel() for part in getattr(model, attribute)])
        found |= {f"history_{key}": np.asarray(values) for key, values in model.history_.items()}
        found["counts"] = np.array(list(model.update_counts_.values()))
    return found


def digest(values: np.ndarray) -> str:
    """Hash of an array's bits."""
    values = np.ascontiguousarray(values)
    return hashlib.sha256(f"{values.dtype.str}{values.shape}".encode() + values.tobytes()).hexdigest()[:16]


def record(name: str) -> dict[str, object]:
    """What is kept of a configuration: hashes, and the first predictions as numbers."""
    found = results(name)
    shown = np.round(found["prediction"][:SHOWN].astype(float), 6).tolist()
    return {"hashes": {key: digest(values) for key, values in found.items()}, "first_predictions": shown}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", required=True, help="record the results on this machine")
    parser.parse_args()
    records = {name: record(name) for name in CONFIGURATIONS}
    PATH.write_text(json.dumps({"machine": machine(), "records": records}, indent=1) + "\n", encoding="utf-8")
    print(f"{len(records)} configurations in {PATH}")
