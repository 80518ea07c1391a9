"""Random numbers that are a hash of a seed, of the values in a row, of its step and of a column: nothing is remembered.

They are those of splitmix64, whose state counts on by one increment (Steele, Lea and Flood, OOPSLA 2014).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Float64s = NDArray[np.float64]
Integers = NDArray[np.integer]
Words = NDArray[np.uint64]

# Increment, shifts and multipliers of splitmix64; the top 53 bits fill a double.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ROUNDS = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)))
_UNIT = 2.0**-53
# Steps count on by another increment than columns do (a multiplier of Steele and Vigna, 2022).
_PER_STEP = np.uint64(0xD1342543DE82EF95)


def mix(words: Words) -> Words:
    """Scramble 64-bit words in place by the splitmix64 finaliser, a bijection that keeps 0; returns `words`."""
    for shift, multiplier in _ROUNDS:
        words ^= words >> shift
        words *= multiplier
    words ^= words >> np.uint64(31)
    return words


def counters_of(columns: Integers) -> Words:
    """The words of columns, numbered from 0: the multiples 1, 2, ... of the golden increment, modulo 2**64."""
    return (columns.astype(np.uint64) + np.uint64(1)) * _GOLDEN


def row_keys(values: Float64s, seed: int, steps: Integers | None = None) -> Words:
    """Hash the seed and the values of each row into one word a row.

    Parameters
    ----------
    values : array of shape (n_rows, n_features)
        C-ordered, without negative zeros.
    seed : int
    steps : integer array of shape (n_rows,), default=None
        The step of its sample that each row is, from 0, if it is one. At step 0 the word is that of a row without.

    Returns
    -------
    keys : array of words of shape (n_rows,)
    """
    # Every word is scrambled before it is summed: float32 values and integers leave most low bits zero, and a plain
    # linear combination of such words would give different rows the same key.
    words = mix(values.view(np.uint64) + counters_of(np.arange(values.shape[1])))
    keys = words.sum(axis=1, dtype=np.uint64)
    if steps is not None:
        keys += mix(steps.astype(np.uint64) * _PER_STEP)
    return _with_seed(keys, seed)


def sparse_row_keys(rows: sparse.csr_array, seed: int) -> Words:
    """`row_keys` of sparse float64 rows, each place once: the sum over zeros, put right where there is a value.

    Parameters
    ----------
    rows : CSR array of shape (n_samples, n_features)
    seed : int

    Returns
    -------
    keys : array of words of shape (n_samples,)
    """
    counters = counters_of(np.arange(rows.shape[1]))
    zeros = mix(counters.copy())
    words = mix((rows.data + 0.0).view(np.uint64) + counters[rows.indices]) - zeros[rows.indices]
    sums = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(words, dtype=np.uint64)])
    return _with_seed(np.diff(sums[rows.indptr]) + zeros.sum(dtype=np.uint64), seed)


def _with_seed(keys: Words, seed: int) -> Words:
    keys += mix(np.array([seed], dtype=np.uint64))
    return mix(keys)


def uniforms(keys: Words, n_columns: int) -> Float64s:
    """Return numbers uniform on [0, 1), multiples of 2**-53, of shape (len(keys), n_columns)."""
    return uniforms_at(keys[:, np.newaxis], counters_of(np.arange(n_columns)))


def uniforms_at(keys: Words, counters: Words) -> Float64s:
    """The numbers of rows of these keys in columns of these counters, which are broadcast together.

    Parameters
    ----------
    keys, counters : array of words

    Returns
    -------
    uniforms : array
        On [0, 1), multiples of 2**-53.
    """
    words = mix(keys + counters)
    words >>= np.uint64(11)
    return words * _UNIT
