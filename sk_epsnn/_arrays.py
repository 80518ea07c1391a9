"""Arrays of any library that keeps the Python array API standard: those of NumPy, PyTorch, CuPy.

The functions here, ``sqrt(x)`` and the like, find the library of the array that they are given, so that formulas read
like the theory and run where the data are; arrays of NumPy take the shortest way. What is decided once and is small
(axes, random starts, labels) is worked out in NumPy and moved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import fields, is_dataclass, replace
from functools import wraps
from typing import Any, TypeAlias

import numpy as np
from scipy import sparse
from scipy.linalg import eigh
from scipy.linalg.lapack import dpotrf, dpotri

from sk_epsnn._sklearn import array_to_numpy, device, standard_namespace

#: An array of any library; annotations stay with the mathematics.
Array: TypeAlias = Any
#: Numbers of each array that `in_chunks` works on at a time: these and what comes of them stay in a processor's cache.
CACHED = 32_768
#: What NumPy's own functions take: its arrays, and the numbers that come of arrays without axes.
_OF_NUMPY = (np.ndarray, np.generic)


class HoldsArrays:
    """Base of the classes, other than dataclasses, whose attributes may be arrays; see `converted`."""


def array_namespace(array: Array) -> Any:
    """Functions for an array: NumPy itself for one of its own or a sparse one, else the standard's for its library."""
    return np if isinstance(array, _OF_NUMPY) or sparse.issparse(array) else standard_namespace(array)


def to_numpy(array: Array) -> np.ndarray:
    """The array as one of NumPy on the CPU, itself if it is one."""
    return array if isinstance(array, np.ndarray) else array_to_numpy(array, standard_namespace(array))


def _named(function: Callable[..., Array], name: str, summary: str) -> Callable[..., Array]:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = summary
    return function


def _elementwise(name: str, summary: str) -> Callable[[Array], Array]:
    """A function of every entry: of all of these the ones that are called most."""
    in_numpy = getattr(np, name)

    def anywhere(x: Array) -> Array:
        if type(x) is np.ndarray or isinstance(x, np.generic):
            return in_numpy(x)
        return getattr(standard_namespace(x), name)(x)

    return _named(anywhere, name, summary)


def _of_library(name: str, summary: str, *, linalg: bool = False, joins: bool = False) -> Callable[..., Array]:
    """A function of the standard, taken from the library of its first argument (``joins``: a list of arrays)."""
    in_numpy = getattr(np.linalg if linalg else np, name)

    def anywhere(first: Any, *others: Any, **options: Any) -> Array:
        array = first[0] if joins else first
        if type(array) is np.ndarray or isinstance(array, np.generic):
            return in_numpy(first, *others, **options)
        namespace = standard_namespace(array)
        return getattr(namespace.linalg if linalg else namespace, name)(first, *others, **options)

    return _named(anywhere, name, summary)


sqrt = _elementwise("sqrt", "Square root of every entry.")
exp = _elementwise("exp", "Exponential of every entry.")
expm1 = _elementwise("expm1", "``exp(x) - 1``, accurate near 0.")
log = _elementwise("log", "Natural logarithm of every entry.")
log1p = _elementwise("log1p", "``log(1 + x)``, accurate near 0.")
logaddexp = _of_library("logaddexp", "``log(exp(x) + exp(y))`` of two arrays.")
hypot = _of_library("hypot", "``sqrt(x**2 + y**2)`` of two arrays.")
absolute = _elementwise("abs", "Size of every entry.")
copysign = _of_library("copysign", "The size of the first array with the sign of the second.")
maximum = _of_library("maximum", "The larger of two, entry by entry.")
minimum = _of_library("minimum", "The smaller of two, entry by entry.")
where = _of_library("where", "Entries of the second argument where the first is true, else of the third.")

product_over = _of_library("prod", "Product over an ``axis``.")
position_of_largest = _of_library("argmax", "Index of the largest entry along an ``axis``.")

zeros_like = _of_library("zeros_like", "Zeros of the shape, dtype and device of an array.")
ones_like = _of_library("ones_like", "Ones of the shape, dtype and device of an array.")
empty_like = _of_library("empty_like", "Array yet to be filled, of the shape, dtype and device of another.")
full_like = _of_library("full_like", "One value, in the shape, dtype and device of an array.")
permute_dims = _of_library("permute_dims", "The same entries with the axes in another order.")
reshape = _of_library("reshape", "The same entries in another shape.")
concat = _of_library("concat", "Arrays joined along an ``axis`` that they have.", joins=True)
stack = _of_library("stack", "Arrays joined along a new ``axis``.", joins=True)
entries = _of_library("take", "Entries at the given indices, along an ``axis``.")

vecdot = _of_library("vecdot", "Inner products along the last axis.")
solve = _of_library("solve", "Solutions of systems of linear equations, one matrix each.", linalg=True)
inverse = _of_library("inv", "Inverse of every matrix.", linalg=True)
cholesky = _of_library("cholesky", "Lower Cholesky factor of every matrix.", linalg=True)
eigenvalues = _of_library("eigvalsh", "Eigenvalues of every symmetric matrix, ascending.", linalg=True)
_eigenvectors = _of_library("eigh", "Eigenvalues, ascending, and eigenvectors of every symmetric matrix.", linalg=True)
diagonal = _of_library("diagonal", "Diagonal of every matrix.", linalg=True)
_sign_and_log = _of_library("slogdet", "Sign and logarithm of the size of every determinant.", linalg=True)


def inverse_of_positive(matrices: Array) -> Array:
    """Inverse of every symmetric matrix, shape (n, k, k): fast where they are positive definite and NumPy's."""
    if not isinstance(matrices, np.ndarray):
        return inverse(matrices)
    result, above = np.empty_like(matrices), ~np.tri(matrices.shape[1], dtype=bool)
    for matrix, into in zip(matrices, result, strict=True):
        factor, fails = dpotrf(matrix, lower=1)
        half, singular = (factor, 1) if fails else dpotri(factor, lower=1)
        if singular:
            return inverse(matrices)
        # LAPACK writes the lower triangle.
        into[:] = half
        np.copyto(into, half.T, where=above)
    return result


def largest_eigenvectors(matrix: Array, n: int) -> tuple[Array, Array]:
    """So many of the largest eigenvalues of a symmetric matrix, ascending, and their eigenvectors as columns."""
    left = matrix.shape[0] - n
    if left and isinstance(matrix, np.ndarray):
        # Without the vectors of the others, which cost most.
        return eigh(matrix, subset_by_index=(left, left + n - 1), check_finite=False)
    moments, vectors = _eigenvectors(matrix)
    return moments[left:], vectors[:, left:]


def clip(x: Array, min: Any = None, max: Any = None) -> Array:
    """Entries kept within ``min`` and ``max``, each of which may be missing."""
    if type(x) is not np.ndarray:
        return array_namespace(x).clip(x, min, max)
    # What `numpy.clip` does, without its ways round.
    if max is None:
        return np.maximum(x, min)
    return np.minimum(x, max) if min is None else np.clip(x, min, max)


def sum_over(x: Array, axis: int | None = None, keepdims: Any = False) -> Array:
    """Sum over an ``axis``, over everything without one, in the dtype of the array."""
    if type(x) is np.ndarray:
        return np.add.reduce(x, axis=axis, keepdims=keepdims)
    return array_namespace(x).sum(x, axis=axis, keepdims=keepdims)


def largest(x: Array, axis: int | None = None, keepdims: Any = False) -> Array:
    """Largest entry, along an ``axis`` if one is given."""
    if type(x) is np.ndarray:
        return np.maximum.reduce(x, axis=axis, keepdims=keepdims)
    return array_namespace(x).max(x, axis=axis, keepdims=keepdims)


def smallest(x: Array, axis: int | None = None, keepdims: Any = False) -> Array:
    """Smallest entry, along an ``axis`` if one is given."""
    if type(x) is np.ndarray:
        return np.minimum.reduce(x, axis=axis, keepdims=keepdims)
    return array_namespace(x).min(x, axis=axis, keepdims=keepdims)


def log_determinant(matrices: Array) -> Array:
    """Logarithm of the size of the determinant of every matrix."""
    return _sign_and_log(matrices)[1]


def astype(array: Array, dtype: Any, *, copy: bool = True) -> Array:
    """The array in a dtype of its library, or in the one of that name, such as ``"float64"``; sparse ones too."""
    if isinstance(array, _OF_NUMPY) or hasattr(array, "toarray"):
        return array.astype(dtype, copy=copy)
    namespace = standard_namespace(array)
    return namespace.astype(array, getattr(namespace, dtype) if isinstance(dtype, str) else dtype, copy=copy)


def total_of(array: Array) -> float:
    """Sum of all entries, accumulated in float64."""
    if type(array) is np.ndarray:
        return float(np.add.reduce(array, axis=None, dtype=np.float64))
    namespace = array_namespace(array)
    return float(namespace.sum(array, dtype=namespace.float64))


def is_any(array: Array) -> bool:
    """Whether any entry is true."""
    if type(array) is np.ndarray:
        return bool(np.logical_or.reduce(array, axis=None))
    return bool(array_namespace(array).any(array))


def is_all(array: Array) -> bool:
    """Whether every entry is true."""
    if type(array) is np.ndarray:
        return bool(np.logical_and.reduce(array, axis=None))
    return bool(array_namespace(array).all(array))


def how_many(array: Array) -> int:
    """Number of entries that are true, or not 0."""
    return int(array_namespace(array).count_nonzero(array))


def epsilon(array: Array) -> float:
    """Distance from 1 to the next number of the array's dtype."""
    return float(array_namespace(array).finfo(array.dtype).eps)


def smallest_normal(array: Array) -> float:
    """Smallest positive number of the array's dtype that keeps every digit."""
    return float(array_namespace(array).finfo(array.dtype).smallest_normal)


def largest_finite(array: Array) -> float:
    """Largest number of the array's dtype."""
    return float(array_namespace(array).finfo(array.dtype).max)


def _new(name: str, reference: Array, *shape: Any, dtype: Any) -> Array:
    namespace = array_namespace(reference)
    dtype = reference.dtype if dtype is None else getattr(namespace, dtype) if isinstance(dtype, str) else dtype
    return getattr(namespace, name)(*shape, dtype=dtype, device=device(reference))


def new_zeros(reference: Array, shape: tuple[int, ...], dtype: Any = None) -> Array:
    """Zeros beside another array: of its library, on its device, and of its dtype unless another is given."""
    return _new("zeros", reference, shape, dtype=dtype)


def new_ones(reference: Array, shape: tuple[int, ...], dtype: Any = None) -> Array:
    """Ones beside another array: of its library, on its device, and of its dtype unless another is given."""
    return _new("ones", reference, shape, dtype=dtype)


def new_empty(reference: Array, shape: tuple[int, ...], dtype: Any = None) -> Array:
    """Array yet to be filled, beside another: of its library, on its device, and of its dtype unless one is given."""
    return _new("empty", reference, shape, dtype=dtype)


def new_identity(reference: Array, size: int, dtype: Any = None) -> Array:
    """Identity matrix beside another array: of its library, on its device, and of its dtype unless one is given."""
    return _new("eye", reference, size, dtype=dtype)


def new_array(reference: Array, values: Sequence[float], dtype: Any = None) -> Array:
    """Numbers as an array beside another: of its library, on its device, and of its dtype unless one is given."""
    return _new("asarray", reference, values, dtype=dtype)


def copy_of(array: Array) -> Array:
    """A copy, for changes in place."""
    return array_namespace(array).asarray(array, copy=True)


def argument_to_numpy(value: Any) -> Any:
    """An argument as an array of NumPy if it is an array of any library; lists and the like stay as they are."""
    return to_numpy(value) if hasattr(value, "__dlpack__") else value


def like(values: Array, reference: Array) -> Array:
    """An array as one of the library and device of another, in its own dtype; sparse ones go with NumPy."""
    values, xp = to_numpy(values), array_namespace(reference)
    return values if xp is np else xp.asarray(np.ascontiguousarray(values), device=device(reference))


def special(function: Callable[..., Array]) -> Callable[..., Array]:
    """A function of `scipy.special` for arrays anywhere: SciPy knows PyTorch and CuPy, others go through NumPy."""

    @wraps(function)
    def anywhere(*arrays: Array) -> Array:
        xp = array_namespace(arrays[0])
        if xp is np or xp.__name__.endswith(("torch", "cupy")):
            return function(*arrays)
        return like(function(*(to_numpy(array) for array in arrays)), arrays[0])

    return anywhere


def in_chunks(function: Callable[..., Any], *arrays: Array, size: int = CACHED) -> Any:
    """An elementwise function of arrays of one shape, worked out for a few rows of NumPy at a time.

    Parameters
    ----------
    function : callable
        Gives an array of the shape of its arguments, or a tuple, named or not, of such.
    *arrays : arrays of shape (n_rows, ...)
        Those of other libraries are passed on as they are.
    size : int
        Numbers of an array in one call, at least one row.

    Returns
    -------
    result : array or tuple of arrays
        What the function gives for all rows.
    """
    n_rows = arrays[0].shape[0]
    if type(arrays[0]) is not np.ndarray or arrays[0].size <= size or n_rows == 1:
        return function(*arrays)
    step = max(1, size * n_rows // arrays[0].size)
    first = function(*(array[:step] for array in arrays))
    several = isinstance(first, tuple)
    results = [np.empty((n_rows, *part.shape[1:]), part.dtype) for part in (first if several else (first,))]
    for start in range(0, n_rows, step):
        rows = slice(start, start + step)
        parts = function(*(array[rows] for array in arrays)) if start else first
        for result, part in zip(results, parts if several else (parts,), strict=True):
            result[rows] = part
    if not several:
        return results[0]
    return type(first)(*results) if hasattr(first, "_fields") else tuple(results)


def is_singular(error: Exception) -> bool:
    """Whether it is the error of a library that a matrix has no inverse."""
    return type(error).__name__.endswith("LinAlgError")


def take(array: Array, chosen: Any) -> Array:
    """Some of the rows, by a slice, by indices or by a mask (of NumPy)."""
    xp = array_namespace(array)
    if xp is np or isinstance(chosen, slice):
        return array[chosen, ...]
    chosen = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
    return xp.take(array, like(chosen, array), axis=0)


def evenly_spread(n_rows: int, n_chosen: int) -> np.ndarray:
    """Indices of at most so many of some rows, ascending."""
    return np.unique(np.linspace(0, n_rows - 1, min(n_chosen, n_rows)).astype(int))


def repeat_rows(array: Array, times: int) -> Array:
    """Every row so many times in a row; the array itself if that is once."""
    return array if times == 1 else array_namespace(array).repeat(array, times, axis=0)


def converted(thing: Any, convert: Callable[[Array], Array]) -> Any:
    """Copy of a structure with every array in it converted: arrays in lists, tuples, dataclasses and `HoldsArrays`."""
    if hasattr(thing, "__dlpack__"):
        return convert(thing)
    if isinstance(thing, list):
        return [converted(part, convert) for part in thing]
    if isinstance(thing, tuple):
        parts = [converted(part, convert) for part in thing]
        return type(thing)(*parts) if hasattr(thing, "_fields") else tuple(parts)
    if is_dataclass(thing) and not isinstance(thing, type):
        return replace(thing, **{field.name: converted(getattr(thing, field.name), convert) for field in fields(thing)})
    if isinstance(thing, HoldsArrays):
        result = copy(thing)
        vars(result).update({name: converted(value, convert) for name, value in vars(result).items()})
        return result
    return thing
