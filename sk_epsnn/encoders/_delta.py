"""Spikes where a signal has moved."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted, validate_data

from sk_epsnn._rollback import unchanged_on_error
from sk_epsnn._sequences import Sequences, as_sequences, has_steps, validate_sequences
from sk_epsnn._sklearn import Interval, StrOptions, fit_context
from sk_epsnn.encoders._encoder import DTYPES, TINY, Encoder, Float64s, one_per_feature

Signals = NDArray[np.floating]

# Elements of one temporary (2 MB in float64): the loop over steps shall have many signals at a time.
_CHUNK_ELEMENTS = 2**18
# The share of changes from step to step that exceed the automatic threshold, or that it passes over.
_FEW = 0.1
# A difference of two rounded numbers is off by so many times the rounding of the larger one,
_ROUNDINGS = 2.0
# which shall never make a move of much less than a threshold one.
_MOST_SLACK = 0.25
# Levels, in thresholds, up to which float64 holds every integer.
_LARGEST_LEVEL = 2.0**52
_LARGEST_HALF = 0.5 * float(np.finfo(np.float64).max)


class DeltaSpikeEncoder(Encoder):
    """Send-on-delta code giving spikes (0 or 1), an ON or an OFF one where a signal has moved by a threshold.

    Every feature has a reference level, at first its value at the first step of the sample. At a step where the signal
    is a threshold or more above the reference, its ON channel spikes, and the reference moves up by as many whole
    thresholds as there are between them; where it is a threshold or more below, the OFF channel spikes and the
    reference moves down. So each channel spikes once in a step, however far the signal has jumped, the reference stays
    within a threshold of the signal, and a signal that does not move is silent.

    Parameters
    ----------
    threshold : "auto", float or array-like of shape (n_features,), default="auto"
        How far a signal moves for a spike, in the units of the feature, positive. "auto" looks at the changes of each
        feature from one step to the next in fit: it is a size that at most a tenth of them exceed, or, for a feature
        that hardly ever changes, one that nine tenths of the changes that there are reach.

    Attributes
    ----------
    threshold_ : ndarray of shape (n_features,)
        Thresholds used, in the units of the features: infinite, so that there are no spikes, for a feature that never
        changes in fit, where "auto". Of shape (1,) if X had two axes.
    n_features_in_, feature_names_in_ : int, ndarray of str
        Length of the last axis of X in fit, and the names of the columns if they were all strings.

    See Also
    --------
    PopulationEncoder : Codes the level of a signal, step by step.

    Notes
    -----
    The channels of a feature named ``x0`` are ``x0_on`` and ``x0_off``, side by side. The level at the first step is
    not coded, and a step says nothing of how often its threshold was crossed: beside the spikes a network may need the
    signals themselves.

    A table of shape (n_samples, n_steps) holds one signal in each row, and becomes a table: the columns ``x0_on`` and
    ``x0_off`` are those of its first step. To have steps in the result give it as ``X[:, :, np.newaxis]``.

    It is not random, and the spikes up to a step depend on the signal up to there. A signal that moves by exactly a
    threshold, but for the rounding of its dtype, counts as having moved by it.

    References
    ----------
    .. [1] M. Miskowicz, "Send-on-delta concept: an event-based data reporting strategy", Sensors 6, 49-63, 2006.
    .. [2] P. Lichtsteiner, C. Posch and T. Delbruck, "A 128x128 120 dB 15 us latency asynchronous temporal contrast
       vision sensor", IEEE Journal of Solid-State Circuits 43, 566-576, 2008 (ON and OFF events).

    Examples
    --------
    >>> from sk_epsnn import DeltaSpikeEncoder
    >>> encoder = DeltaSpikeEncoder(threshold=1.0)
    >>> spikes = encoder.fit_transform([[[0.0], [0.5], [1.0], [3.5], [2.5], [1.0]]])
    >>> spikes[0].T
    array([[0., 0., 1., 1., 0., 0.],
           [0., 0., 0., 0., 0., 1.]])
    >>> encoder.get_feature_names_out()
    array(['x0_on', 'x0_off'], dtype=object)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "threshold": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither"), "array-like"],
    }

    def __init__(self, threshold="auto"):
        self.threshold = threshold

    def _suffixes(self) -> list[str]:
        return ["_on", "_off"]

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Find the threshold of each feature.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_steps, n_features) or (n_samples, n_steps)
            Finite real values, but for NaN in all features after the last step of a sample.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted encoder.

        Raises
        ------
        ValueError
            If the threshold or X is not valid; the message names the remedy.
        """
        with unchanged_on_error(self):
            sequences = self._sequences(X, reset=True)
            self.threshold_ = self._find_threshold(sequences)
            self._has_steps = has_steps(X)
        return self

    def transform(self, X: ArrayLike) -> Signals:
        """Encode the signals of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_steps, n_features) or (n_samples, n_steps)
            With as many axes as in `fit`, and any number of steps if there are three.

        Returns
        -------
        X_encoded : ndarray of shape (n_samples, n_steps, 2 * n_features) or (n_samples, 2 * n_steps)
            Spikes, 0 or 1, NaN after the last step of a sample. float32 if X is float32, else float64.

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        ValueError
            If X is not valid, or if ``set_output`` asks for a data frame and X has three axes.
        """
        check_is_fitted(self)
        if has_steps(X) != self._has_steps:
            fitted = "of three axes" if self._has_steps else "with one signal in each row"
            raise ValueError(
                f"DeltaSpikeEncoder was fitted on X {fitted}. Give it X of as many axes as in fit; one signal in each "
                "row is X[:, :, numpy.newaxis] with three."
            )
        if self._has_steps:
            self._refuse_table()
        sequences = self._sequences(X, reset=False)
        X = sequences.padded(sequences.rows)
        encoded = np.empty((*X.shape[:2], 2 * X.shape[2]), dtype=X.dtype)
        for part, levels in self._levels(X):
            moves = np.diff(levels, axis=1, prepend=levels[:, :1])
            encoded[part, :, 0::2] = moves > 0.0
            encoded[part, :, 1::2] = moves < 0.0
        encoded[np.isnan(X[:, :, 0])] = np.nan
        return encoded if self._has_steps else encoded.reshape(len(X), -1)

    def _sequences(self, X: ArrayLike, *, reset: bool) -> Sequences:
        """Return the signals of X, one feature where X is a table."""
        if has_steps(X):
            return validate_sequences(self, X, dtype=DTYPES, reset=reset)
        table = validate_data(self, X, dtype=DTYPES, ensure_all_finite="allow-nan", reset=reset)
        return as_sequences(table[:, :, np.newaxis], some=reset)

    def _find_threshold(self, sequences: Sequences) -> Float64s:
        """Return the threshold of each feature in its own units, at least the smallest normal number."""
        n_features = sequences.rows.shape[1]
        if not isinstance(self.threshold, str):
            return np.maximum(one_per_feature("threshold", self.threshold, n_features), TINY)
        # Rows that follow each other, but for the last of one sample and the first of the next.
        inside = np.diff(sequences.samples) == 0
        return np.array([_usual_change(column, inside) for column in sequences.rows.T])

    def _levels(self, X: Signals) -> Iterator[tuple[slice, Float64s]]:
        """Go through samples in parts: the part, and the reference at each step, in thresholds above the first one."""
        threshold = 0.5 * self.threshold_
        for part in gen_batches(len(X), max(1, _CHUNK_ELEMENTS // max(1, X[0].size))):
            # Halves, here as everywhere: the difference itself may overflow.
            signal = 0.5 * X[part].astype(np.float64)
            with np.errstate(over="ignore"):
                moved = np.clip((signal - signal[:, :1]) / threshold, -_LARGEST_LEVEL, _LARGEST_LEVEL)
                slack = _rounding(X.dtype, signal, signal[:, :1]) / threshold
            nearest = np.round(moved)
            moved = np.where(np.abs(moved - nearest) <= np.minimum(slack, _MOST_SLACK), nearest, moved)
            lowest, highest = np.floor(moved), np.ceil(moved)
            levels = np.zeros_like(moved)
            for step in range(1, X.shape[1]):
                # Level where it is, unless the signal is a whole threshold away: then next to the signal.
                levels[:, step] = np.clip(levels[:, step - 1], lowest[:, step], highest[:, step])
            yield part, levels


def _rounding(dtype: np.dtype, first: Float64s, second: Float64s) -> Float64s:
    """How far the difference of two numbers of this dtype may be off."""
    return _ROUNDINGS * float(np.finfo(dtype).eps) * np.maximum(np.abs(first), np.abs(second))


def _usual_change(values: Signals, inside: NDArray[np.bool_]) -> float:
    """The automatic threshold of a feature from its values at steps, of which those inside go on to the next."""
    halves = 0.5 * values.astype(np.float64)
    changes = np.abs(np.diff(halves))
    changes[changes <= _rounding(values.dtype, halves[1:], halves[:-1])] = 0.0
    changes = changes[inside]
    moves = changes[changes > 0.0]
    if len(moves) == 0:
        return np.inf
    # Sizes that occur, so that a signal of whole numbers moves by whole numbers of thresholds.
    of_all = np.quantile(changes, 1.0 - _FEW, method="inverted_cdf")
    of_moves = np.quantile(moves, _FEW, method="inverted_cdf")
    return max(2.0 * min(float(max(of_all, of_moves)), _LARGEST_HALF), TINY)
