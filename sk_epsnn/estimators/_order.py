"""Streams of labels that come sorted: many rows of one class, then many of another."""

from __future__ import annotations

import warnings

import numpy as np
from scipy.special import betaln, gammaln

#: Rows of one class after another that are worth a word: as many, and this share of all rows before.
_LEAST_RUN, _LEAST_SHARE = 10, 0.2
#: Before any other class has come it may be that the others are rare: then a call that brings so many as above, or as
#: many here by several calls.
_LEAST_START = 100
#: ... and how improbable they are to be where the order is random.
_RARE = 0.1
#: Share of the largest class in a call that is taken to bring this class, and the border to the next.
_ONE_CLASS = 0.9


class LabelOrder:
    """How often every class has come in a stream, and how often in the last calls, if these brought one class.

    Parameters
    ----------
    before, lately : array of shape (n_classes,)
        Rows of each class before those calls, and in them.
    at_once : int
        Rows of the largest of those calls.
    told : bool
        Whether a warning has been given.
    """

    def __init__(self, before: np.ndarray, lately: np.ndarray, at_once: int = 0, told: bool = False):
        self.before, self.lately, self.at_once, self.told = before, lately, at_once, told

    @classmethod
    def of(cls, index: np.ndarray, n_classes: int) -> LabelOrder:
        """After rows in an order that does not matter, given the position of each row's class."""
        return cls(np.bincount(index, minlength=n_classes), np.zeros(n_classes, int))

    def after(self, index: np.ndarray) -> LabelOrder:
        """The same after one more call. It does not matter in what order the rows of a call are."""
        counts = np.bincount(index, minlength=len(self.before))
        if counts.max() < _ONE_CLASS * counts.sum():
            return LabelOrder(self.before + self.lately + counts, np.zeros_like(counts), 0, self.told)
        if self.lately.any() and self.lately.argmax() == counts.argmax():
            return LabelOrder(self.before, self.lately + counts, max(self.at_once, len(index)), self.told)
        return LabelOrder(self.before + self.lately, counts, len(index), self.told)

    @property
    def looks_sorted(self) -> bool:
        """Whether the last calls would hardly have brought one class if the order of the rows were random."""
        n_before, n_lately, n_classes = int(self.before.sum()), int(self.lately.sum()), len(self.before)
        if n_lately < max(_LEAST_RUN, _LEAST_SHARE * n_before):
            return False
        n_of_class, mass = int(self.lately.max()), 1.0
        if n_before < _LEAST_RUN:
            mass = float(n_classes)
            if n_of_class < n_lately or (self.at_once < _LEAST_RUN and n_lately < _LEAST_START):
                return False
        # The tail of Polya's law, with what is worth so many rows of classes that are equally frequent. There are as
        # many places where such a run may begin as there are rows.
        number = np.arange(n_of_class, n_lately + 1)
        mine = mass / n_classes + int(self.before[self.lately.argmax()])
        others = mass + n_before - mine
        log_choices = gammaln(n_lately + 1) - gammaln(number + 1) - gammaln(n_lately - number + 1)
        log_tail = log_choices + betaln(mine + number, others + n_lately - number) - betaln(mine, others)
        return bool((n_classes + n_before) * np.exp(log_tail).sum() < _RARE)

    def warned(self, labels: np.ndarray, stacklevel: int) -> LabelOrder:
        """Warn where the rows look sorted, once in a stream."""
        if self.told or not self.looks_sorted:
            return self
        warnings.warn(
            f"The last {self.lately.sum()} rows are all, or all but a few, of class {labels[self.lately.argmax()]}. A "
            "stream that is sorted by class is learned badly: bring the rows in random order, or use fit, which "
            "shuffles them. If the order is random and other classes are rare, all is well. (This is said once.)",
            UserWarning,
            stacklevel=stacklevel + 1,
        )
        return LabelOrder(self.before, self.lately, self.at_once, told=True)
