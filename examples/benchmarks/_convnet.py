"""A small convolutional network in PyTorch, tuned on held-out rows: the peer of convolution.py.

16 kernels of 5 x 5 and 32 of 3 x 3, each layer followed by ReLU and max-pooling by 2, then 128 ReLU and the classes,
with dropout around the 128. Adam on batches of 64, its rate falling to 0 along a cosine. Rate and dropout are those
that predict 15 % of the training rows best at the end of training, then the weight decay, then the number of epochs.
With these settings it is trained on all rows. PyTorch comes with ``pip install "sk_epsnn[benchmark]"``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from itertools import product
from time import process_time

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

BATCH, VALIDATION = 64, 0.15
RATES, DROPOUTS, DECAYS = (1e-3, 3e-3), (0.25, 0.5), (0.0, 1e-4)
#: The most epochs: so many rows in all, but 60 epochs on few rows and 8 on many; half of them are tried too.
MOST_ROWS, MOST_EPOCHS, LEAST_EPOCHS = 200_000, 60, 8
#: Rows that are predicted at once.
CHUNK = 1000


@dataclass(frozen=True)
class Settings:
    """Rate of Adam, share of values that dropout sets to 0, penalty of squared weights, passes over the rows."""

    rate: float
    dropout: float
    decay: float
    n_epochs: int


class ConvNetClassifier:
    """Convolutional network for images of 28 x 28 pixels, which are rows of X.

    Parameters
    ----------
    seed : int
        Of the held-out rows, of the weights at the start, of dropout and of the order of the rows.
    """

    def __init__(self, seed: int):
        self.seed = seed
        torch.set_num_threads(1)

    def fit(self, X: np.ndarray, y: np.ndarray) -> ConvNetClassifier:
        """Choose the settings on held-out rows, then train on all rows."""
        began = process_time()
        self.classes_, index = np.unique(y, return_inverse=True)
        images, labels = _images(X), torch.from_numpy(index)
        self.settings_ = self._tuned(images, labels)
        self.tuning_seconds_ = process_time() - began
        print(f"# ConvNet, seed {self.seed}: {self.settings_}", file=sys.stderr, flush=True)
        self.network_ = self._trained(self.settings_, images, labels)
        return self

    def predict_log_proba(self, X: np.ndarray) -> np.ndarray:
        """Logarithms of the probabilities of the classes, shape (n_samples, n_classes)."""
        return torch.log_softmax(_outputs(self.network_, _images(X)).double(), 1).numpy()

    def _tuned(self, images: Tensor, labels: Tensor) -> Settings:
        """Settings that predict the held-out rows best."""
        parts = train_test_split(
            np.arange(len(labels)), test_size=VALIDATION, stratify=labels.numpy(), random_state=self.seed
        )
        train, judges = ((images[part], labels[part]) for part in parts)

        def judged(settings: Settings) -> tuple[float, Settings]:
            outputs = _outputs(self._trained(settings, *train), judges[0])
            return float(nn.functional.cross_entropy(outputs, judges[1])), settings

        n_epochs = min(max(MOST_ROWS // len(labels), LEAST_EPOCHS), MOST_EPOCHS)
        best = min((judged(Settings(*pair, DECAYS[0], n_epochs)) for pair in product(RATES, DROPOUTS)), key=_loss)
        for change in (*({"decay": decay} for decay in DECAYS[1:]), {"n_epochs": n_epochs // 2}):
            best = min(best, judged(replace(best[1], **change)), key=_loss)
        return best[1]

    def _trained(self, settings: Settings, images: Tensor, labels: Tensor) -> nn.Module:
        """Network after all passes over the rows."""
        torch.manual_seed(self.seed)
        network = _network(len(self.classes_), settings.dropout)
        adam = torch.optim.Adam(network.parameters(), settings.rate, weight_decay=settings.decay)
        rates = torch.optim.lr_scheduler.CosineAnnealingLR(adam, settings.n_epochs)
        for _ in range(settings.n_epochs):
            for rows in torch.randperm(len(labels)).split(BATCH):
                adam.zero_grad()
                nn.functional.cross_entropy(network(images[rows]), labels[rows]).backward()
                adam.step()
            rates.step()
        return network.eval()


def _loss(judged: tuple[float, Settings]) -> float:
    return judged[0]


def _network(n_classes: int, dropout: float) -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Dropout(dropout), nn.Linear(32 * 5 * 5, 128), nn.ReLU()),
        *(nn.Dropout(dropout), nn.Linear(128, n_classes)),
    )


def _images(X: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(X, np.float32)).reshape(-1, 1, 28, 28)


def _outputs(network: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([network(chunk) for chunk in images.split(CHUNK)])
