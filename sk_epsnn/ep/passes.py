"""Messages that pass a layer of neurons on their way down."""

from __future__ import annotations

from sk_epsnn._arrays import Array, expm1
from sk_epsnn.messages import Derivatives, SpikeMoments


def neuron_message(moments: SpikeMoments, log_ratio: Array) -> Derivatives:
    """Message to ``u`` given the log-ratio ``log q1(v=1)/q1(v=0)`` that came down (eq. 31), whatever the neuron.

    ``Z = 1 + p (exp(log_ratio) - 1)`` up to a constant, so everything follows from ``p`` and its derivatives;
    ``kappa`` uses the heat equation ``dp/dS = p'' / 2``.

    Parameters
    ----------
    moments : SpikeMoments of shape (n_samples, n_units)
    log_ratio : array of shape (n_samples, n_units)
        In nats.

    Returns
    -------
    down : Derivatives of shape (n_samples, n_units)
    """
    p, first, second = moments
    odds = expm1(log_ratio)
    lam = odds / (1 + p * odds)
    g = lam * first
    return Derivatives(g, g * g - lam * second, -lam * second)
