"""Automatic settings of steps on mini-batches that follow from the number of rows."""

from __future__ import annotations

from collections.abc import Sequence

from sk_epsnn.estimators._defaults import (
    LEAST_MINI_BATCH,
    LEAST_PASSES,
    LEAST_PASSES_OF_IMAGES,
    LEAST_STEPS,
    LEAST_TEMPERATURE,
    MINI_BATCH_SHARE,
    MINI_BATCH_SHARE_OF_MANY,
    MOST_MINI_BATCH,
    MOST_OF_MANY,
    MOST_PASSES,
    MOST_TEMPERATURE,
    N_STEPS,
    STEPS_OF_IMAGES,
    VERY_DEEP_WIDTH,
    WARM_EXPONENT,
    WARM_EXPONENT_OF_DEEP,
    WARM_EXPONENT_OF_IMAGES,
    WARM_ROWS,
    WARM_TEMPERATURE,
)


def mini_batch(n_samples: int, n_passes: int | None) -> int:
    """Rows of a mini-batch of so many rows in all, for a number of passes if one is given."""
    size = min(max(int(MINI_BATCH_SHARE * n_samples), LEAST_MINI_BATCH), MOST_MINI_BATCH)
    size = max(size, min(int(MINI_BATCH_SHARE_OF_MANY * n_samples), MOST_OF_MANY))
    if n_passes is None:
        return size
    return min(size, max(n_passes * n_samples // LEAST_STEPS, size // 2, LEAST_MINI_BATCH))


def enough(patches: bool) -> tuple[int, int]:
    """Steps on mini-batches that are enough, and passes of which there are not fewer; with convolutions or without."""
    return (STEPS_OF_IMAGES, LEAST_PASSES_OF_IMAGES) if patches else (N_STEPS, LEAST_PASSES)


def passes(n_samples: int, batch_size: int, patches: bool) -> int:
    """Passes of steps on mini-batches of so many rows."""
    n_steps, least = enough(patches)
    n_batches = max(1, -(-n_samples // batch_size))
    return min(max(-(-n_steps // n_batches), least), MOST_PASSES)


def temperature_of(n_samples: int, widths: Sequence[int], winner: bool, patches: bool) -> float:
    """Temperature of a classifier with hidden layers of these widths that trains by steps on mini-batches.

    That of outputs of which exactly one fires does not depend on the rows, but with convolutions. Every patch of an
    image teaches a kernel, which many rows would soon make so sure that its spikes teach it nothing.
    """
    if patches:
        return round(WARM_TEMPERATURE * max(1.0, n_samples / WARM_ROWS) ** WARM_EXPONENT_OF_IMAGES, 3)
    exponent = WARM_EXPONENT if len(widths) < 3 else WARM_EXPONENT_OF_DEEP
    warm = WARM_TEMPERATURE if winner else WARM_TEMPERATURE * (n_samples / WARM_ROWS) ** exponent
    share = 1.0 if len(widths) < 4 else min(min(widths) / VERY_DEEP_WIDTH, 1.0)
    return round(share * min(max(warm, LEAST_TEMPERATURE), MOST_TEMPERATURE), 3)
