"""Probabilistic spiking networks written out: loops over steps, a trace for every synapse and compartment.

Nothing here knows the package's fast form. Weights are named as in `SpikingNetwork.shapes`.
"""

from itertools import product

import numpy as np
from scipy.special import expit, logsumexp


def trace(kernels, spikes, delay):
    """What synapses read: sum over lags of kernel times spikes; (n_kernels, n_steps, ...)."""
    result = np.zeros((len(kernels), *spikes.shape))
    for f, kernel in enumerate(kernels):
        for t in range(len(spikes)):
            for lag in range(t + 1 - delay):
                result[f, t] += kernel[lag] * spikes[t - delay - lag]
    return result


def own_kernel(network, n_steps):
    """What a neuron reads of itself."""
    return (1 - network.feedback) * network.feedback ** np.arange(n_steps)[None]


def neurons(network, weights, x, y, hidden):
    """Potentials and what each synapse reads, of one sample and one run: for every layer (potential, spikes, traces).

    ``x`` (n_steps, n_in), ``y`` (n_steps, n_out), ``hidden`` list of (n_steps, n_units).
    """
    kernels, layers = network.synapse.kernels(len(x)), []
    spikes = [x, *hidden, y]
    for layer in range(network.n_layers):
        mine, traces = spikes[layer + 1], {}
        traces["weights"] = trace(kernels, spikes[layer], network.delay)
        if f"recurrent{layer}" in weights:
            traces["recurrent"] = trace(kernels, mine, 1)
        if f"feedback{layer}" in weights:
            traces["feedback"] = trace(own_kernel(network, len(x)), mine, 1)[0]
        if layer == network.n_layers - 1 and "skip" in weights:
            traces["skip"] = trace(kernels, x, network.delay)
        u = np.zeros(mine.shape) + weights[f"bias{layer}"]
        for kind, read in traces.items():
            name = kind if kind == "skip" else f"{kind}{layer}"
            u = u + (weights[name] * read if kind == "feedback" else np.einsum("foi,fti->to", weights[name], read))
        layers.append((u, mine, traces))
    return layers


def log_bernoulli(u, spikes):
    """Log probability of spikes, given potentials, at each step."""
    return (spikes * u - np.logaddexp(0, u)).sum(-1)


def all_trains(n_steps, sizes):
    """Every way in which hidden layers may fire."""
    n_units = sum(sizes)
    for bits in product((0.0, 1.0), repeat=n_steps * n_units):
        trains = np.array(bits).reshape(n_steps, n_units)
        yield np.split(trains, np.cumsum(sizes)[:-1], axis=1)


def log_evidence(network, weights, x, y):
    """``log p(y | x)`` by the sum over all hidden trains."""
    terms = []
    for hidden in all_trains(len(x), network.hidden):
        terms.append(sum(log_bernoulli(u, spikes).sum() for u, spikes, _ in neurons(network, weights, x, y, hidden)))
    return logsumexp(terms)


def score_at(network, layers, t):
    """Gradient of the log probability of all spikes at one step in every weight."""
    result = {}
    for layer, (u, spikes, traces) in enumerate(layers):
        error = spikes[t] - expit(u[t])
        result[f"bias{layer}"] = error
        for kind, read in traces.items():
            name = kind if kind == "skip" else f"{kind}{layer}"
            if kind == "feedback":
                result[name] = error * read[t]
            else:
                result[name] = error[None, :, None] * read[:, t][:, None, :]
                if kind == "recurrent":
                    result[name] = result[name] * (1 - np.eye(len(error)))
    return result


def online_update(network, runs, kappa, factors):
    """``sum_t sum_k g_t^k e_t^k`` with a trace ``e_t = kappa e_(t-1) + score_t`` for each weight and compartment.

    ``runs`` has the layers of each compartment; ``factors(v)`` gives (hidden, visible) of shape (n_compartments,).
    """
    n_steps, last = len(runs[0][0][0]), network.n_layers - 1
    v = np.zeros(len(runs))
    traces = [None] * len(runs)
    total = None
    for t in range(n_steps):
        v = kappa * v + [log_bernoulli(layers[-1][0][t], layers[-1][1][t]) for layers in runs]
        hidden, visible = factors(v)
        for k, layers in enumerate(runs):
            now = score_at(network, layers, t)
            traces[k] = now if traces[k] is None else {n: kappa * traces[k][n] + now[n] for n in now}
            g = {
                n: visible[k] if n in (f"weights{last}", f"bias{last}", f"feedback{last}", "skip") else hidden[k]
                for n in now
            }
            part = {n: g[n] * traces[k][n] for n in now}
            total = part if total is None else {n: total[n] + part[n] for n in now}
    return total


def differences(function, weights, step=1e-3):
    """Central differences of fourth order of a function of the weights."""
    result = {}
    for name, array in weights.items():
        slope = np.zeros(array.shape)
        for place in np.ndindex(array.shape):
            for steps, share in ((1, 8), (2, -1)):
                for sign in (1, -1):
                    moved = {n: a.copy() for n, a in weights.items()}
                    moved[name][place] += sign * steps * step
                    slope[place] += sign * share * function(moved) / (12 * step)
        if name.startswith("recurrent"):
            slope *= 1 - np.eye(array.shape[-1])
        result[name] = slope
    return result
