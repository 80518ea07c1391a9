"""
A position read from spikes, step by step
=========================================

Cells that each prefer another place fire while something moves. With ``readout="each"`` a regressor has a target for
every step: here where it is, and where it will be eight steps later. Its stream takes the spikes as they come in, and
says after every step what it expects and how sure it is. You get both errors, and how often the error bars hold.
"""

# %%
# Spikes of forty cells
# ---------------------
# The position drifts along a track from 0 to 1. A cell fires the more often the nearer it is to the place that the cell
# prefers, at most in 3 of 10 steps; a single step says little.

import matplotlib.pyplot as plt
import numpy as np

from sk_epsnn import LIF, EPSNNRegressor, PredictionBandDisplay, SpikeRasterDisplay

N_STEPS, N_CELLS, AHEAD = 120, 40, 8
rng = np.random.default_rng(0)


def walks(n_samples):
    """Positions, shape (n_samples, n_steps), and spikes, shape (n_samples, n_steps, n_cells)."""
    speed = np.zeros((n_samples, N_STEPS))
    for t in range(1, N_STEPS):
        speed[:, t] = 0.95 * speed[:, t - 1] + 0.004 * rng.standard_normal(n_samples)
    place = rng.uniform(0, 1, (n_samples, 1)) + speed.cumsum(axis=1)
    position = np.abs((place + 1) % 2 - 1)  # turns round at the ends
    distance = position[..., np.newaxis] - np.linspace(-0.05, 1.05, N_CELLS)
    rate = 0.01 + 0.3 * np.exp(-0.5 * (distance / 0.08) ** 2)
    return position, (rng.random(rate.shape) < rate).astype(float)


position, spikes = walks(100)
new_position, new_spikes = walks(20)

# %%
# Two targets for every step
# --------------------------
# NaN says that a step has no targets: what comes after the end is not known. The leak of the traces is chosen in `fit`.


def targets(position):
    """Where it is and where it will be, shape (n_samples, n_steps, 2)."""
    later = np.full_like(position, np.nan)
    later[:, :-AHEAD] = position[:, AHEAD:]
    return np.stack([np.where(np.isnan(later), np.nan, position), later], axis=2)


regressor = EPSNNRegressor(activation=LIF(readout="each")).fit(spikes, targets(position))
print(f"leak {regressor.leak_[0]:.2f}, R^2 of new walks {regressor.score(new_spikes, targets(new_position)):.3f}")

# %%
# As they come in
# ---------------
# ``step`` takes the spikes of one step of every walk. What it gives is what ``predict`` gives for that step.

stream = regressor.stream(n_samples=len(new_spikes))
steps = [stream.step(now) for now in new_spikes.swapaxes(0, 1)]
mean, std = (np.stack(part, axis=1) for part in zip(*steps, strict=True))
assert np.allclose(mean, regressor.predict(new_spikes))

truth = targets(new_position)
known = ~np.isnan(truth)
within = np.abs(truth - mean) < 1.96 * std
for output, name in enumerate(("now", f"in {AHEAD} steps")):
    error = np.sqrt(np.nanmean((truth - mean)[..., output] ** 2))
    share = within[..., output][known[..., output]].mean()
    print(f"position {name}: error {error:.3f}, within 1.96 standard deviations in {100 * share:.0f} of 100 steps")

# %%
# Picture
# -------
# The spikes of one walk, and what the stream says of it: narrow where it is, and wider where it will be.

figure, (upper, *lower) = plt.subplots(3, 1, figsize=(7, 7.5), sharex=True, layout="constrained")
SpikeRasterDisplay.from_predictions(new_spikes, ax=upper)
upper.set(xlabel="", ylabel="cell", title="One walk, as it comes in")
for output, (axis, name) in enumerate(zip(lower, ("now", f"in {AHEAD} steps"), strict=True)):
    PredictionBandDisplay.from_predictions(range(N_STEPS), mean=mean[0, :, output], std=std[0, :, output], ax=axis)
    axis.plot(truth[0, :, output], color="black", linestyle="--", label="true")
    axis.set(xlabel="", ylabel=f"position {name}", ylim=(-0.3, 1.5))
    axis.get_legend().remove()
lower[0].legend(loc="upper left", ncols=3, fontsize="small")
lower[1].set_xlabel("step")
plt.show()
