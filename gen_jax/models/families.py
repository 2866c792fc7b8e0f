"""Looks up families by name: families of this package, of the user, and of other installed packages."""

from collections import UserDict
from collections.abc import Callable, Iterator
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points

from gen_jax.errors import UserError
from gen_jax.model import Model, family

GROUP = "gen_jax.families"  # group of the entry points by which other packages offer families


class Families(UserDict[str, Callable[..., Model]]):
    """Maps a name to a family, a function (spec, **options) -> Model.

    An installed package offers a family by an entry point of the group `gen_jax.families`. The entry point is imported
    when the family is first used.
    """

    @cached_property
    def offered(self) -> dict[str, EntryPoint]:
        """Returns the entry points of other packages, by name."""
        return {entry.name: entry for entry in entry_points(group=GROUP)}

    def __missing__(self, name: str) -> Callable[..., Model]:
        if name not in self.offered:
            raise KeyError(name)
        entry = self.offered[name]
        try:
            function = entry.load()
        except Exception as error:
            raise UserError(
                f"model {name!r} of {entry.value} fails ({error}); expected a package that can be imported"
            ) from error
        self.data[name] = family(name)(function)
        return self.data[name]

    def __contains__(self, name: object) -> bool:
        return name in self.data or name in self.offered

    def __iter__(self) -> Iterator[str]:
        yield from dict.fromkeys([*self.data, *self.offered])

    def __len__(self) -> int:
        return sum(1 for _ in self)
