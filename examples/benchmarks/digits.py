"""The digits that come with scikit-learn: accuracy in stratified 5-fold cross-validation."""

from __future__ import annotations

from functools import partial

from _common import Bar, Configuration, Measures, argument_parser, run_and_report
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline

from sk_epsnn import EPSNNClassifier, RateSpikeEncoder


def make_model(n_steps: int, hidden: tuple[int, ...], seed: int, start: int) -> Pipeline:
    """The classifier on so many spikes of each pixel; 0 stands for the raw pixels."""
    classifier = EPSNNClassifier(hidden_layer_sizes=hidden, random_state=start)
    if n_steps == 0:
        return make_pipeline(classifier)
    return make_pipeline(RateSpikeEncoder(feature_range=(0, 16), n_steps=n_steps, random_state=seed), classifier)


def run(n_steps: int, hidden: tuple[int, ...], shuffle: bool, seed: int, start: int) -> Measures:
    """Mean accuracy over the folds of one seed, from one random start."""
    X, y = load_digits(return_X_y=True)
    folds = StratifiedKFold(5, shuffle=shuffle, random_state=seed if shuffle else None)
    model = make_model(n_steps, hidden, seed, start)
    return {"accuracy": float(cross_val_score(model, X, y, cv=folds, error_score="raise").mean())}


def configurations() -> list[Configuration]:
    """Those with bars; then for information other spikes and layers, and the folds in the order of the file."""
    table: list[tuple[str, int, tuple[int, ...], bool, list[Bar]]] = [
        ("digits, raw pixels", 0, (), True, [Bar("accuracy", low=0.95)]),
        ("digits, 16 spikes a pixel", 16, (), True, [Bar("accuracy", low=0.93)]),
        ("digits, one spike a pixel", 1, (), True, []),
        ("digits, raw pixels, 60 hidden", 0, (60,), True, []),
        ("digits, raw pixels, two hidden layers of 60", 0, (60, 60), True, [Bar("accuracy", low=0.93)]),
        ("digits, raw pixels, three hidden layers of 60", 0, (60, 60, 60), True, [Bar("accuracy", low=0.93)]),
        ("digits, raw pixels, 100 hidden", 0, (100,), True, [Bar("accuracy", low=0.975)]),
        ("digits, one spike a pixel, 60 hidden", 1, (60,), True, []),
        ("digits, 16 spikes a pixel, 60 hidden", 16, (60,), True, []),
        ("digits, raw pixels, folds not shuffled", 0, (), False, []),
        ("digits, one spike a pixel, folds not shuffled", 1, (), False, []),
    ]
    return [
        Configuration(name, partial(run, n_steps, hidden, shuffle), bars)
        for name, n_steps, hidden, shuffle, bars in table
    ]


def main() -> None:
    """Run all configurations."""
    run_and_report(configurations(), argument_parser(__doc__.splitlines()[0]).parse_args())


if __name__ == "__main__":
    main()
