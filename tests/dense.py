"""Messages between fully connected layers, as the dense connection makes them."""

from sk_epsnn.connections import Dense
from sk_epsnn.ep import mixing
from sk_epsnn.messages import observed

DENSE = Dense(1)


def spikes(probability, constant):
    """What spikes of a probability are for the layer above."""
    return DENSE.spikes(probability, constant)


def log_ratio_below(down, weights, probability):
    """Log-ratio of the spikes that enter a layer, from the message to its potentials."""
    message = mixing.to_inputs(down, weights, probability.shape[1])
    return DENSE.log_ratio(message, observed(probability), probability)
