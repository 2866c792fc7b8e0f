"""Pairs of a target `x` and its condition `c`: their names, their hash, and both as one source of rows."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gen_jax.data.cache import content_hash, files_hash
from gen_jax.data.kinds import kind_of
from gen_jax.data.source import Source, size_of
from gen_jax.data.sources.class_list import ClassList
from gen_jax.data.sources.fields import paired
from gen_jax.data.sources.splits import Places
from gen_jax.errors import UserError, choose

WAY = "pairs"  # part of the hash


class Pairs(NamedTuple):
    """Holds the two fields of paired data, and what their hash depends on.

    Attributes:
      target: rows of the target.
      condition: rows of the condition; None for rows without a condition.
      names: names of the target and of the condition.
      files: files that the rows depend on.
      places: numbers of the rows of each split.
      check: refuses pairs that do not fit, by their row numbers; None if all pairs fit.
    """

    target: Source
    condition: Source | None
    names: tuple[str, str | None]
    files: Sequence[Path]
    places: Places
    check: Callable[[np.ndarray], None] | None = None


def source_of_pairs(pairs: Pairs, options: Mapping[str, Any], classes: ClassList | None = None) -> Source:
    """Returns paired data as one source, whose hash depends on all that changes its rows.

    Args:
      pairs: the two fields.
      options: the `data` section of a config. `content` in it is the hash of the content, if it is known.
      classes: the classes of maps; by default None.

    Raises:
      UserError: for `data.classes` without maps, and as `refuse_scale`.
    """
    target, condition = pairs.target, pairs.condition
    fields = [target] if condition is None else [target, condition]
    if options.get("classes") is not None and not any("class_list" in field.info for field in fields):
        raise UserError(
            f"data.classes is {options['classes']} and {target.name} holds no class maps; expected most pixels of the first map "
            f"to have a number, or a colour, of this list"
        )
    refuse_scale(options, condition)
    content = options.get("content")
    if content is None:
        numbers = [[split, np.asarray(rows, np.int64).tobytes().hex()] for split, rows in pairs.places.items()]
        facts = [WAY, list(pairs.names), size_of(options), numbers, None if classes is None else classes.facts]
        if options.get("condition_scale") is not None:
            facts.append(options["condition_scale"])
        content = content_hash(files_hash([*pairs.files]), facts, *(field.content for field in fields))
    source = target._replace(content=content) if condition is None else paired(target, condition, content)
    if pairs.check is None:
        return source
    check = pairs.check

    def rows(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        check(pairs.places[split][indices])
        return source.rows(split, indices)

    return source._replace(rows=rows)


def refuse_scale(options: Mapping[str, Any], condition: Source | None) -> None:
    """Refuses a ratio of sides that does not fit.

    Args:
      options: the `data` section of a config, of which `condition_scale` and `resize` are read.
      condition: the condition, if there is one.

    Raises:
      UserError: for rows whose sides `data.resize` does not set, or a condition without pictures.
    """
    scale = options.get("condition_scale")
    if scale is None:
        return
    if options.get("resize") is None:
        raise UserError(
            f"data.condition_scale is {scale} and data.resize is None; expected a ratio from 1 up and the sides of the rows"
        )
    if condition is None or not kind_of(condition).still:
        raise UserError(f"data.condition_scale is {scale}; expected pictures as data.condition")


def names_of(
    options: Mapping[str, Any], origin: str, choices: Sequence[str], default: str | None = None
) -> tuple[str, str | None]:
    """Returns the names of the target and of the condition.

    Args:
      options: the `data` section of a config, of which `target` and `condition` are read.
      origin: name of the data, for errors.
      choices: names of the fields.
      default: the target, if `data.target` is not set. Without a default, it is the only field beside the condition.

    Raises:
      UserError: for an unknown name, no target, or one name for both.
    """
    target, condition = options.get("target"), options.get("condition")
    if condition is not None:
        choose(f"data.condition of {origin}:", condition, choices)
    if target is None:
        partners = [name for name in choices if name != condition]
        target = default if default in partners else partners[0] if len(partners) == 1 else None
        if target is None:
            raise UserError(
                f"data.target of {origin} is not set; expected one of {', '.join(partners) or 'two fields'}"
            )
    choose(f"data.target of {origin}:", target, choices)
    if target == condition:
        partners = [name for name in choices if name != target]
        raise UserError(
            f"data.condition of {origin} is {condition!r}, as is data.target; expected another field: "
            f"{', '.join(partners) or 'there is none'}"
        )
    return target, condition
