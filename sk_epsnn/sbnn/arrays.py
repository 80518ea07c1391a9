"""Named arrays that move to other libraries together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sk_epsnn._arrays import Array


@dataclass(frozen=True, eq=False)
class NamedArrays(Mapping[str, Array]):
    """A mapping from names to arrays that `sk_epsnn._arrays.converted` looks into.

    Attributes
    ----------
    names : tuple of str
    arrays : tuple of array
    """

    names: tuple[str, ...]
    arrays: tuple[Array, ...]

    @classmethod
    def of(cls, given: Mapping[str, Array]) -> NamedArrays:
        """Those of a mapping."""
        return cls(tuple(given), tuple(given.values()))

    def __getitem__(self, name: str) -> Array:
        """The array of a name."""
        try:
            return self.arrays[self.names.index(name)]
        except ValueError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        """The names, in their order."""
        return iter(self.names)

    def __len__(self) -> int:
        """How many there are."""
        return len(self.names)
