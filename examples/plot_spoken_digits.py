"""
Spoken digits: a decision as it forms
=====================================

A network of leaky neurons listens to recordings of spoken digits, step by step. After every step it says how probable
each digit is, and how much of its doubt comes from not knowing its weights: the doubt falls while the word goes on.

The recordings are those of the `Free Spoken Digit Dataset <https://github.com/Jakobovski/free-spoken-digit-dataset>`_
(CC BY-SA 4.0), which do not come with this package. Get them by ``git clone`` and run this as
``python plot_spoken_digits.py free-spoken-digit-dataset/recordings``. Without a folder it takes
``spoken_digits.npz`` in the folder that the environment variable ``SK_EPSNN_DATA`` names; without that it makes sounds.
"""

# %%
# From a sound to rates
# ---------------------
# As in the inner ear there are channels for bands of frequencies, narrow ones for low tones and wide ones for high
# tones. The rate of a channel in a step of 32 ms says how loud its band is: 1 is the loudest of the recording, 0 is
# 60 decibels below.

import os
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.io import wavfile
from scipy.signal import lfilter, stft
from sklearn.metrics import accuracy_score, log_loss

from sk_epsnn import LIF, EPSNNClassifier, ReliabilityDisplay, SpikeRasterDisplay, Stochastic
from sk_epsnn.plotting import PALETTE

SAMPLING, WINDOW, HOP = 8000, 256, 128  # samples a second, of a window, from one window to the next
N_BANDS, N_STEPS = 64, 25


def filter_bank(n_bins=512):
    """Triangles over frequencies, equally wide on the mel scale: shape (N_BANDS, n_bins / 2 + 1)."""
    mel = np.linspace(*(2595 * np.log10(1 + np.array([80, 3900]) / 700)), N_BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    frequency = np.fft.rfftfreq(n_bins, 1 / SAMPLING)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    weight = np.clip(np.minimum((frequency - low) / (middle - low), (high - frequency) / (high - middle)), 0, None)
    nearest = np.abs(frequency - middle).argmin(axis=1)
    weight[np.arange(N_BANDS), nearest] += weight.sum(axis=1) == 0  # low bands may lie between two frequencies
    return weight / weight.sum(axis=1, keepdims=True)


BANK = filter_bank()


def rates_of(sound):
    """Rates in [0, 1], shape (N_STEPS, N_BANDS), NaN after the end of a sound that is shorter."""
    sharpened = np.append(sound[0], sound[1:] - 0.97 * sound[:-1])
    _, _, spectrum = stft(sharpened, SAMPLING, "hann", WINDOW, WINDOW - HOP, nfft=512)
    decibels = 10 * np.log10(BANK @ np.abs(spectrum) ** 2 + 1e-12)
    rates = np.clip((decibels - np.percentile(decibels, 99.5)) / 60 + 1, 0, 1).T[: 2 * N_STEPS]
    ended = np.full((2 * N_STEPS, N_BANDS), np.nan)
    ended[: len(rates)] = rates
    return ended.reshape(N_STEPS, 2, N_BANDS).mean(axis=1)


# %%
# The recordings
# --------------
# A file is named ``digit_speaker_number.wav``; numbers 0 to 4 are for tests. Where there are none, ten words are made
# up, each of two tones that glide in its own way.


def sound_of(path):
    """The samples of a file, between -1 and 1."""
    rate, sound = wavfile.read(path)
    if rate != SAMPLING:
        sys.exit(f"{path} has {rate} samples a second, but the bands are for {SAMPLING}: resample it first.")
    return (sound if sound.ndim == 1 else sound[:, 0]) / 2**15


def from_recordings(folder):
    """Rates, digits, and which recordings are for tests."""
    paths = sorted(folder.glob("*_*_*.wav"))
    names = np.array([path.stem.split("_") for path in paths])
    X = np.stack([rates_of(sound_of(path)) for path in paths])
    return X, names[:, 0].astype(int), names[:, 2].astype(int) < 5


def from_array(path):
    """The same of recordings whose rates were worked out before, in steps of 16 ms."""
    with np.load(path) as data:
        X, length = data["X"] / 255, data["length"]
        X[np.arange(X.shape[1]) >= length[:, None]] = np.nan
        return X.reshape(len(X), N_STEPS, 2, N_BANDS).mean(axis=2), data["label"].astype(int), data["test"]


def made_up(n_sounds=60, seed=0):
    """The same of sounds that are made: two tones each, in noise."""
    rng = np.random.default_rng(seed)
    words = rng.uniform([[200], [900]], [[900], [3000]], size=(10, 2, 3))  # begin, middle and end, in Hz
    X, y = [], np.repeat(np.arange(10), n_sounds)
    for word in y:
        n_samples = int(rng.uniform(0.3, 0.75) * SAMPLING)
        time = np.linspace(0, 2, n_samples)
        tones = words[word] * rng.normal(1, 0.12, size=(2, 1))
        phases = [2 * np.pi * np.interp(time, range(3), tone).cumsum() / SAMPLING for tone in tones]
        X.append(rates_of(np.sin(phases).sum(axis=0) + 0.2 * rng.standard_normal(n_samples)))
    return np.stack(X), y, np.arange(len(y)) % n_sounds < 10


def load(given):
    """Rates, digits and which recordings are for tests, from where they are."""
    place = Path(given or os.environ.get("SK_EPSNN_DATA", "recordings"))
    if (array := place if place.suffix == ".npz" else place / "spoken_digits.npz").is_file():
        return "spoken digits", *from_array(array)
    if next(place.glob("*_*_*.wav"), None):
        return "spoken digits", *from_recordings(place)
    if given:
        sys.exit(f"{given} is no folder of recordings such as 7_jackson_0.wav, and holds no spoken_digits.npz.")
    print("There are no recordings: see the head of this script for how to get them. These are sounds made up.")
    return "sounds made up", *made_up()


what, X, y, is_test = load(sys.argv[1] if len(sys.argv) > 1 else None)
X = X.astype(np.float32)
train = np.random.default_rng(0).permutation(np.flatnonzero(~is_test))[:700]
X_train, y_train, X_test, y_test = X[train], y[train], X[is_test], y[is_test]
print(f"{what}: {len(X_train)} for training, {len(X_test)} for tests; {X.shape[1]} steps of {X.shape[2]} bands")

# %%
# Learning to listen
# ------------------
# Each of 48 neurons forgets a fifth of what it has heard from one step to the next, and fires where the rest exceeds
# its threshold. The outputs read how often it did so in each fifth of the word. A network that has only ever heard
# whole words would be too sure of itself after their first sounds, so every word is given a second time, cut off at a
# random step: NaN says that it has ended. Few passes, and no words held out to judge the temperature, keep it short.


def up_to(words, step):
    """The same words with nothing after a step, one for all or for each."""
    later = np.arange(N_STEPS) >= np.broadcast_to(step, len(words))[:, None]
    return np.where(later[:, :, None], np.float32(np.nan), words)


length = np.isfinite(X_train[:, :, 0]).sum(axis=1)
cut = up_to(X_train, np.random.default_rng(1).integers(1, length + 1))
X_train, y_train = np.concatenate([X_train, cut]), np.tile(y_train, 2)

LEAK = 0.8
SHORT = Stochastic(n_passes=6, validation_fraction=0)
listener = EPSNNClassifier(48, activation=LIF(leak=LEAK, readout=5), inference=SHORT, random_state=0)
listener.fit(X_train, y_train)

# %%
# Beside it a network without time, which sees the mean of all steps.

static = EPSNNClassifier(48, inference=SHORT, random_state=0).fit(np.nanmean(X_train, axis=1), y_train)

_, axis = plt.subplots(figsize=(5.5, 4.2), layout="constrained")
for name, model, rows in (("over time", listener, X_test), ("mean over time", static, np.nanmean(X_test, axis=1))):
    probability = model.predict_proba(rows)
    accuracy, loss = accuracy_score(y_test, probability.argmax(axis=1)), log_loss(y_test, probability)
    display = ReliabilityDisplay.from_predictions(y_test, probability, n_bins=10, name=name, ax=axis)
    print(f"{name}: accuracy {accuracy:.3f}, log loss {loss:.3f} nats, ECE {display.ece:.3f}")

# %%
# The decision as it forms
# ------------------------
# What the network says of the first steps of a word is what it says of a word that ends there. Every second test word
# is heard so.

X_test, y_test = X_test[::2], y_test[::2]
steps = np.arange(1, N_STEPS + 1)
probability = np.stack([listener.predict_proba(up_to(X_test, step)) for step in steps], axis=1)
uncertainty = [listener.predict_uncertainty(up_to(X_test, step)) for step in steps]
total, epistemic = (np.stack([getattr(u, part) for u in uncertainty], axis=1) for part in ("total", "epistemic"))
for step in steps[4::5]:
    right = (probability[:, step - 1].argmax(axis=1) == y_test).mean()
    said = probability[:, step - 1].max(axis=1).mean()
    print(f"after step {step:2d}: accuracy {right:.3f}, mean confidence {said:.3f}, ", end="")
    print(f"uncertainty {total[:, step - 1].mean():.2f} nats, {epistemic[:, step - 1].mean():.2f} of it epistemic")

# %%
# Two words of those that it gets right in the end: the one that clears up most doubt, and the one in doubt for longest.
# From top to bottom: the rates that it hears; which hidden neurons fire, with the most probable weights; the
# probabilities of the digits, that of the right one in bold; and the doubt, which before the first sound is
# log(10) = 2.3 nats.

right = np.flatnonzero(probability[:, -1].argmax(axis=1) == y_test)
words = right[[(total[right, 0] - total[right, -1]).argmax(), total[right].sum(axis=1).argmax()]]
frozen = listener.freeze()

BLUE, *rest, SKY = PALETTE
TRUE = {"color": BLUE, "linewidth": 2.5, "zorder": 3}
DASHES = ["--", "-.", ":", (0, (6, 1, 1, 1))]
OTHERS = [{"color": color, "linestyle": dash} for color, dash in zip(rest, DASHES, strict=True)]
REST = {"color": "lightgray", "linewidth": 0.8}

# sphinx_gallery_thumbnail_number = 2
figure, axes = plt.subplots(4, 2, figsize=(7.2, 8.6), sharex=True, sharey="row", layout="constrained")
for (heard, fires, says, doubts), word in zip(axes.T, words, strict=True):
    sound = X_test[word][np.isfinite(X_test[word, :, 0])]
    n_heard = len(sound)
    heard.imshow(sound.T, origin="lower", aspect="auto", cmap="magma", vmin=0, vmax=1)
    heard.set(title=f"“{y_test[word]}”")
    traces = lfilter([1 - LEAK], [1, -LEAK], sound, axis=0)
    spikes = traces @ frozen.coefs_[0] + frozen.intercepts_[0] >= 0
    SpikeRasterDisplay(spikes[None].astype(float)).plot(ax=fires, s=25)
    fires.set(xlabel="", ylabel="")
    likeliest = probability[word].max(axis=0).argsort()[::-1]
    others = iter(OTHERS)
    for digit in likeliest:
        style = TRUE if digit == y_test[word] else next(others, REST)
        says.plot(probability[word, :n_heard, digit], label=None if style is REST else f"{digit}", **style)
    says.legend(loc="upper right", ncols=5, columnspacing=0.8, handlelength=1.2, handletextpad=0.3, fontsize="small")
    doubts.plot(total[word, :n_heard], color="black", label="total")
    doubts.fill_between(np.arange(n_heard), epistemic[word, :n_heard], color=SKY, label="of the weights")
    doubts.axhline(np.log(10), color="gray", linestyle=":", linewidth=1)
    doubts.set(xlabel="step of 32 ms")
axes[0, 0].set(xticks=range(0, N_STEPS, 5), xlim=(-0.5, max(np.isfinite(X_test[words, :, 0]).sum(axis=1)) - 0.5))
axes[0, 0].set(ylabel="band, low to high")
axes[1, 0].set(ylabel="hidden neuron")
axes[2, 0].set(ylabel="probability", yticks=np.linspace(0, 1, 6), ylim=(0, 1.25))
axes[3, 0].set(ylabel="uncertainty (nats)", ylim=(0, 2.5))
axes[3, 0].legend(loc="upper right", bbox_to_anchor=(1, 0.9), fontsize="small")
plt.show()
