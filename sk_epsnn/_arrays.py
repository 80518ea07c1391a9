"""Arrays of any library that keeps the Python array API standard: those of NumPy, PyTorch, CuPy.

The blocks take their functions from the namespace of the arrays that they are given, so that they run where the data
are. What is decided once and is small (axes, random starts, labels) is worked out in NumPy and moved.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import fields, is_dataclass, replace
from functools import wraps
from typing import Any, TypeAlias

import numpy as np
from scipy import sparse

from sk_epsnn._sklearn import array_to_numpy, device, standard_namespace

#: An array of any library; annotations stay with the mathematics.
Array: TypeAlias = Any


class HoldsArrays:
    """Base of the classes, other than dataclasses, whose attributes may be arrays; see `converted`."""


def array_namespace(array: Array) -> Any:
    """Functions for an array: NumPy itself for one of its own or a sparse one, else the standard's for its library."""
    return np if isinstance(array, np.ndarray) or sparse.issparse(array) else standard_namespace(array)


def to_numpy(array: Array) -> np.ndarray:
    """The array as one of NumPy on the CPU, itself if it is one."""
    return array if isinstance(array, np.ndarray) else array_to_numpy(array, standard_namespace(array))


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


__all__ = ["Array", "HoldsArrays", "array_namespace", "converted", "device", "like", "special", "take", "to_numpy"]
