"""Patches of images as spikes of channels: against loops, shapes that must be found, geometry, what is refused."""

from itertools import product

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_digits

from sk_epsnn import PatchSpikeEncoder
from sk_epsnn.encoders import _patch


def images(n_images=12, shape=(6, 7, 2), seed=0):
    return np.random.default_rng(seed).normal(size=(n_images, int(np.prod(shape))))


def by_loops(encoder, row, shape):
    """The code of an image, from the definitions."""
    height, width, n_colors = shape
    padding, stride, pool = encoder.padding, encoder.stride, encoder.pool_size
    image = np.zeros((height + 2 * padding, width + 2 * padding, n_colors), np.float32)
    image[padding : padding + height, padding : padding + width] = row.reshape(shape)
    _, high, wide, _ = encoder.kernels_.shape
    tops = range(0, image.shape[0] - high + 1, stride)
    lefts = range(0, image.shape[1] - wide + 1, stride)
    fires = np.array(
        [
            [
                [
                    float(np.sum(image[top : top + high, left : left + wide] * kernel, dtype=np.float64)) > threshold
                    for kernel, threshold in zip(encoder.kernels_, encoder.thresholds_, strict=True)
                ]
                for left in lefts
            ]
            for top in tops
        ]
    )
    regions = product(range(0, len(tops), pool), range(0, len(lefts), pool))
    pooled = [fires[top : top + pool, left : left + pool].reshape(-1, fires.shape[2]) for top, left in regions]
    how = np.mean if encoder.output == "rates" else np.any
    return np.concatenate([how(region, axis=0) for region in pooled]).astype(float)


@pytest.mark.parametrize("output", ["rates", "spikes"])
@pytest.mark.parametrize(("stride", "padding", "pool_size"), [(1, 1, 4), (2, 0, 1), (1, 2, 3), (3, 1, 2)])
def test_the_code_by_loops(output, stride, padding, pool_size):
    shape, X = (6, 7, 2), images()
    encoder = PatchSpikeEncoder(
        shape, n_channels=5, kernel_size=3, stride=stride, padding=padding, pool_size=pool_size, output=output,
        firing_rate=0.2, random_state=0,
    ).fit(X)  # fmt: skip
    found, new = encoder.transform(X), images(seed=1)
    np.testing.assert_allclose(found, [by_loops(encoder, row, shape) for row in X], rtol=1e-6)
    np.testing.assert_allclose(encoder.transform(new), [by_loops(encoder, row, shape) for row in new], rtol=1e-6)
    assert len(encoder.get_feature_names_out()) == found.shape[1]


def test_regions_at_the_edges_count_the_positions_that_they_have():
    """Averages over windows that hang over the edge are of what is inside (root-project/root issue 22523)."""
    encoder = PatchSpikeEncoder((1, 6), n_channels=1, kernel_size=1, padding=0, pool_size=4, random_state=0)
    encoder.fit(images(50, (1, 6)))
    high = encoder.transform(100 * np.sign(encoder.kernels_.ravel()) * np.ones((1, 6)))
    np.testing.assert_array_equal(high, [[1.0, 1.0]])


def test_channels_fire_at_shapes_that_occur():
    """Images of one bar, lying or standing: each channel is for one kind."""
    rng, X, lies = np.random.default_rng(0), np.zeros((200, 8, 8)), np.arange(200) % 2 == 0
    for image, place, lying in zip(X, rng.integers(1, 7, 200), lies, strict=True):
        image[(place, slice(None)) if lying else (slice(None), place)] = 1
    encoder = PatchSpikeEncoder(n_channels=6, kernel_size=3, padding=0, pool_size=6, firing_rate=0.1, random_state=0)
    fires = encoder.fit_transform(X.reshape(200, -1)) > 0
    preference = fires[lies].mean(0) - fires[~lies].mean(0)
    assert np.abs(preference).min() > 0.5
    assert (preference > 0).any() and (preference < 0).any()


def test_how_often_channels_fire():
    """As often as asked for, over the patches with some contrast, which all of these have."""
    X = images(200, (8, 8))
    for rate in (0.01, 0.1):
        encoder = PatchSpikeEncoder(
            n_channels=8, kernel_size=5, padding=0, pool_size=1, firing_rate=rate, random_state=0
        )
        found = encoder.fit_transform(X).reshape(-1, 8).mean(0)
        np.testing.assert_allclose(found, rate, atol=2 / (200 * 16))  # a patch at the quantile, and one beside it


def test_a_shift_by_a_stride_shifts_the_map():
    encoder = PatchSpikeEncoder((9, 9), n_channels=4, kernel_size=3, stride=2, padding=0, pool_size=1, random_state=0)
    X = images(30, (9, 9))
    before = encoder.fit_transform(X).reshape(30, 4, 4, 4)
    shifted = np.roll(X.reshape(30, 9, 9), 2, axis=2).reshape(30, -1)
    np.testing.assert_array_equal(encoder.transform(shifted).reshape(30, 4, 4, 4)[:, :, 1:], before[:, :, :-1])


@pytest.mark.parametrize("factor", [2.0**20, 2.0**-20])
def test_the_unit_of_the_pixels_does_not_matter(factor):
    X = load_digits().data[:200]
    options = {"n_channels": 8, "kernel_size": 3, "random_state": 0}
    expected = PatchSpikeEncoder(**options).fit_transform(X)
    np.testing.assert_array_equal(PatchSpikeEncoder(**options).fit_transform(factor * X), expected)


def test_types_sparse_rows_and_parts(monkeypatch):
    X = load_digits().data[:300]
    encoder = PatchSpikeEncoder(n_channels=8, kernel_size=3, random_state=0).fit(X)
    expected = encoder.transform(X)
    assert expected.dtype == np.float64 and encoder.transform(X.astype(np.float32)).dtype == np.float32
    np.testing.assert_array_equal(encoder.transform(X.astype(np.float32)), expected)
    of_sparse = PatchSpikeEncoder(n_channels=8, kernel_size=3, random_state=0, sparse_output=True)
    found = of_sparse.fit_transform(sparse.csr_array(X))
    assert sparse.issparse(found) and found.format == "csr"
    np.testing.assert_array_equal(found.toarray(), expected)
    monkeypatch.setattr(_patch, "_CHUNK", 2**12)
    np.testing.assert_array_equal(encoder.transform(X), expected)


def test_large_memory_is_not_needed(monkeypatch):
    """Parts hold no more patches than the limit says, but one image."""
    monkeypatch.setattr(_patch, "_CHUNK", 10_000)
    encoder = PatchSpikeEncoder(n_channels=8, kernel_size=3, random_state=0).fit(images(40, (8, 8)))
    assert {len(part) for part in encoder._images(images(40, (8, 8)))} == {9, 4}


@pytest.mark.parametrize("X", [np.zeros((5, 9)), np.full((5, 9), 3.0), np.ones((1, 4))], ids=["0", "3", "one row"])
def test_images_without_contrast_are_silent(X):
    encoder = PatchSpikeEncoder(kernel_size=2, padding=0).fit(X)
    assert not encoder.transform(X).any()


def test_signals_are_images_of_one_row():
    encoder = PatchSpikeEncoder(n_channels=3, kernel_size=3, padding=0, pool_size=1).fit(images(20, (1, 11)))
    assert encoder.image_shape_ == (1, 11, 1) and encoder.kernels_.shape == (3, 1, 3, 1)
    assert encoder.transform(images(2, (1, 11))).shape == (2, 27)


@pytest.mark.parametrize("shape", [(3, 4), (2,), (2, 3, 2, 1), (-2, -6), (2.0, 6), (3, 3, 2)], ids=str)
def test_shapes_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match=r"image_shape=.*must be \(height, width\).*n_features=10.*reshape"):
        PatchSpikeEncoder(shape).fit(np.zeros((3, 10)))


def test_columns_have_names():
    encoder = PatchSpikeEncoder((4, 4), n_channels=2, kernel_size=2, padding=0, pool_size=2, random_state=0)
    names = encoder.fit(images(20, (4, 4))).get_feature_names_out()
    places = product(range(2), range(2), range(2))
    assert names.tolist() == [f"row{row}_column{column}_channel{channel}" for row, column, channel in places]
    table = encoder.set_output(transform="pandas").transform(images(2, (4, 4)))
    assert table.columns.tolist() == names.tolist()
