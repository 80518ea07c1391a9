"""Array functions find the library of their argument: on another one they give what NumPy gives, and its arrays."""

from typing import NamedTuple

import numpy as np
import pytest

from sk_epsnn import _arrays

strict = pytest.importorskip("array_api_strict")

X = np.array([[0.5, 2.0, 0.25], [1.5, 0.75, 3.0], [0.1, 1.0, 0.2]])
MATRICES = np.stack([X @ X.T + np.eye(3), X.T @ X + 2 * np.eye(3)])
#: What NumPy calls a function, where that is not its name here.
CALLS = {
    **{name: (X,) for name in ("sqrt", "exp", "expm1", "log", "log1p", "zeros_like", "ones_like")},
    **{name: (X, X[::-1]) for name in ("hypot", "copysign", "maximum", "minimum", "vecdot")},
}
RENAMED = {
    "absolute": (np.abs, (-X,), {}),
    "sum_over": (np.sum, (X,), {"axis": 1}),
    "product_over": (np.prod, (X,), {"axis": 1, "keepdims": True}),
    "largest": (np.max, (X,), {"axis": 0}),
    "position_of_largest": (np.argmax, (X,), {"axis": 0}),
    "clip": (np.clip, (X,), {"min": 0.3, "max": 1.0}),
    "full_like": (np.full_like, (X, 7.0), {}),
    "where": (np.where, (X > 1, X, -X), {}),
    "reshape": (np.reshape, (X, (9, 1)), {}),
    "entries": (np.take, (X, np.array([2, 0])), {"axis": 1}),
    "solve": (np.linalg.solve, (MATRICES, X[None, :, :]), {}),
    "inverse": (np.linalg.inv, (MATRICES,), {}),
    "cholesky": (np.linalg.cholesky, (MATRICES,), {}),
    "eigenvalues": (np.linalg.eigvalsh, (MATRICES,), {}),
    "diagonal": (np.linalg.diagonal, (MATRICES,), {}),
    "log_determinant": (lambda m: np.linalg.slogdet(m)[1], (MATRICES,), {}),
    "copy_of": (np.copy, (X,), {}),
}
CASES = {**{name: (getattr(np, name), given, {}) for name, given in CALLS.items()}, **RENAMED}


def on_strict(value):
    return strict.asarray(value) if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize("name", sorted(CASES))
def test_functions_in_two_libraries(name):
    in_numpy, given, options = CASES[name]
    expected = in_numpy(*given, **options)
    function = getattr(_arrays, name)
    np.testing.assert_array_equal(function(*given, **options), expected)
    result = function(*(on_strict(value) for value in given), **options)
    assert type(result) is type(strict.asarray(0.0))
    np.testing.assert_allclose(np.asarray(result), expected, rtol=1e-15)


@pytest.mark.parametrize("name", ["concat", "stack"])
def test_joined_arrays(name):
    expected = getattr(np, name)([X, 2 * X], axis=1)
    np.testing.assert_array_equal(getattr(_arrays, name)([X, 2 * X], axis=1), expected)
    result = getattr(_arrays, name)([strict.asarray(X), strict.asarray(2 * X)], axis=1)
    np.testing.assert_array_equal(np.asarray(result), expected)


@pytest.mark.parametrize("convert", [np.asarray, strict.asarray], ids=["numpy", "strict"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_and_new_arrays(convert, dtype):
    array, info = convert(X.astype(dtype)), np.finfo(dtype)
    assert (_arrays.epsilon(array), _arrays.smallest_normal(array)) == (info.eps, info.smallest_normal)
    assert _arrays.largest_finite(array) == info.max
    assert _arrays.total_of(array) == X.astype(dtype).sum(dtype=np.float64)
    assert _arrays.is_any(array > 2.5) is True and _arrays.is_all(array > 2.5) is False
    assert _arrays.how_many(array > 2.5) == 1
    for made, expected in (
        (_arrays.new_zeros(array, (2, 3)), np.zeros((2, 3))),
        (_arrays.new_ones(array, (2,)), np.ones(2)),
        (_arrays.new_identity(array, 4), np.eye(4)),
        (_arrays.new_array(array, (0.5, 2.0)), [0.5, 2.0]),
        (_arrays.astype(array, "float64"), X.astype(dtype).astype(np.float64)),
    ):
        assert type(made) is type(array)
        np.testing.assert_array_equal(np.asarray(made), expected)
    assert _arrays.new_zeros(array, (1,)).dtype == array.dtype
    assert _arrays.new_empty(array, (5, 1), "float64").shape == (5, 1)
    assert _arrays.astype(array, "float64").dtype == _arrays.new_zeros(array, (1,), "float64").dtype


def test_numbers_of_numpy_stay_with_numpy():
    assert isinstance(_arrays.clip(np.float64(-1.0), min=0.0), np.float64)
    assert _arrays.array_namespace(np.float32(1)) is np


class Pair(NamedTuple):
    total: np.ndarray
    product: np.ndarray


@pytest.mark.parametrize("kind", [Pair, lambda *parts: tuple(parts), lambda total, product: total])
@pytest.mark.parametrize(("size", "expected"), [(100, [7]), (21, [7]), (20, [6, 1]), (6, [2, 2, 2, 1]), (1, [1] * 7)])
def test_in_chunks(kind, size, expected):
    """The rows of a chunk, each worked out once, in what the function gives."""
    x, y = np.arange(21.0).reshape(7, 3), np.linspace(0, 1, 21).reshape(7, 3)
    rows = []

    def function(a, b):
        rows.append(a.shape[0])
        return kind(a + b, (a * b).astype(np.float32))

    result, whole = _arrays.in_chunks(function, x, y, size=size), kind(x + y, (x * y).astype(np.float32))
    assert rows == expected
    assert type(result) is type(whole)
    for part, other in zip(result, whole, strict=True) if isinstance(whole, tuple) else ((result, whole),):
        assert part.dtype == other.dtype
        np.testing.assert_array_equal(part, other)


def test_in_chunks_of_another_library_and_of_nothing():
    array = strict.asarray(X)
    assert _arrays.in_chunks(lambda x: x, array, size=1) is array
    assert _arrays.in_chunks(np.sqrt, np.zeros((0, 3)), size=1).shape == (0, 3)
    assert _arrays.in_chunks(np.sqrt, np.zeros((5, 0)), size=1).shape == (5, 0)


@pytest.mark.parametrize("k", [1, 2, 9])
def test_inverses_of_positive_matrices(k):
    """Those of other matrices too, by the longer way."""
    root = np.random.default_rng(0).standard_normal((3, k, 2 * k))
    positive = root @ root.swapaxes(1, 2)
    indefinite = positive.copy()
    indefinite[1] *= -1
    for matrices in (positive, indefinite):
        found = _arrays.inverse_of_positive(matrices)
        np.testing.assert_allclose(found @ matrices, np.tile(np.eye(k), (3, 1, 1)), atol=1e-9)


def test_inverses_of_positive_matrices_are_symmetric():
    root = np.random.default_rng(0).standard_normal((3, 5, 9))
    found = _arrays.inverse_of_positive(root @ root.swapaxes(1, 2))
    np.testing.assert_array_equal(found, found.swapaxes(1, 2))


def test_what_has_no_inverse_is_said():
    with pytest.raises(np.linalg.LinAlgError):
        _arrays.inverse_of_positive(np.zeros((1, 3, 3)))


@pytest.mark.parametrize("n", [1, 4, 6])
def test_largest_eigenvectors(n):
    root = np.random.default_rng(0).standard_normal((6, 9))
    matrix = root @ root.T
    values, vectors = _arrays.largest_eigenvectors(matrix, n)
    assert vectors.shape == (6, n) and (np.diff(values) > 0).all()
    np.testing.assert_allclose(values, np.linalg.eigvalsh(matrix)[6 - n :], rtol=1e-9)
    np.testing.assert_allclose(matrix @ vectors, vectors * values, atol=1e-9)
