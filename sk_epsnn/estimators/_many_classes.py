"""What differs in a single layer that tells many classes apart: sizes, and how wide the posterior is in predictions.

Covariances, potentials and passes cost as much for each class as for any other, however few its rows are, so all of
them follow from the product of sizes that they cost. And independent Gaussians of many classes are too wide together:
the largest of many potentials that are off by themselves beats the right one, where those of a posterior over all
classes would be off together. How much too wide they are is for held-out rows to say.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Classes that compete are many from so many on.
MANY_CLASSES = 65
#: Their covariance matrices together have at most so many numbers: each counts in every product with a row.
MANY_JOINT_ENTRIES = 2**20
#: Potentials of a batch, at most.
MANY_BATCH_POTENTIALS = 2**23
#: Sweeps over each of several batches: more of them go after what the next batches say otherwise.
SWEEPS_OF_MANY = 1
#: Before held-out rows judge the passes have at most so many potentials together, but there are some at least ...
MANY_PASS_POTENTIALS, LEAST_OF_MANY = 2**25, 4
#: ... and these follow at most.
LAST_OF_MANY = 2
#: Factors on the covariances in predictions, of which held-out rows choose ...
MANY_WIDTHS = (1.0, 0.3, 0.1, 0.03)
#: ... by at most so many potentials, but by some rows at least.
JUDGED_POTENTIALS, LEAST_JUDGES = 2**18, 50


@dataclass(frozen=True)
class ManyClasses:
    """Sizes for so many rows and classes.

    Attributes
    ----------
    n_samples, n_classes : int
    """

    n_samples: int
    n_classes: int

    @property
    def n_potentials(self) -> int:
        """Potentials of the outputs, of all rows."""
        return self.n_samples * self.n_classes

    def batch_size(self, joint: bool) -> int:
        """Rows of a batch, at least: one of each class on average, or all where weights are independent.

        A batch takes the average share of a batch out of what is known of each class, also where it has none of its
        rows.
        """
        return min(self.n_classes if joint else self.n_samples, MANY_BATCH_POTENTIALS // self.n_classes)

    def passes(self) -> int:
        """Passes before held-out rows judge, at most."""
        return max(LEAST_OF_MANY, MANY_PASS_POTENTIALS // self.n_potentials)

    def judges(self, most: int) -> int:
        """Rows that are held out, at most; a few where classes are however many."""
        return min(most, max(JUDGED_POTENTIALS // self.n_classes, LEAST_JUDGES))
