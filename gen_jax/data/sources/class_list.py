"""Lists of classes for class maps: a JSON with the names, the colours, and the number that counts nowhere."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gen_jax.data.limits import ask
from gen_jax.data.source import Source
from gen_jax.errors import UserError, readable

Rows = Callable[[str, np.ndarray], dict[str, np.ndarray]]
NONE = 255  # mark of a number without a class
MOST = 254  # largest number of classes, so that a class, or no class, is a number of 8 bits below `NONE`


class ClassList(NamedTuple):
    """Holds the classes of maps, and how files write them.

    The classes that count are 0 to K - 1, and K stands for a pixel without a class.

    Attributes:
      origin: file of the list, for errors.
      names: names of the K classes.
      colours: colours of the K classes; empty if the list has no colours.
      numbers: [256] uint8, number in a file -> class, K for no class, `NONE` for an unknown number.
      codes: colour in a file, as one number -> class, or K for no class.
      facts: classes, colours and ignored, as in the file.
    """

    origin: str
    names: list[str]
    colours: list[list[int]]
    numbers: np.ndarray
    codes: dict[int, int]
    facts: dict[str, Any]

    @property
    def info(self) -> dict[str, Any]:
        """Returns the facts of the list that `spec.info` holds."""
        colours = {"colours": self.colours} if self.colours else {}
        return {"vocabulary": self.names, **colours, "class_list": self.facts}


def find_class_list(path: Path, setting: str | None) -> ClassList | None:
    """Returns the list of classes of a data set; None if it has none.

    Args:
      path: file or folder of the data. A folder may hold the list as `classes.json`, or with the name of the folder.
      setting: file of the list that the user names, or None.

    Raises:
      UserError: for a file that is not a list of classes.
    """
    if setting is not None:
        file = Path(setting).expanduser()
        if not file.is_file():
            raise UserError(f"data.classes {setting} does not exist; expected a JSON file with classes and colours")
        return read_class_list(file)
    files = [path / f"{path.resolve().name}.json", path / "classes.json"] if path.is_dir() else []
    for file in files:
        if file.is_file():
            content = _read_json(file)
            if isinstance(content, Mapping) and "classes" in content:
                return read_class_list(file)
    return None


def read_class_list(file: Path) -> ClassList:
    """Reads a list of classes from a JSON file.

    Args:
      file: the file.

    Raises:
      UserError: for a file that is not a list of classes.
    """
    content = _read_json(file)
    if not isinstance(content, Mapping):
        raise UserError(f"{file} holds a {type(content).__name__}; expected classes and, perhaps, colours and ignored")
    facts = {key: content[key] for key in ("classes", "colours", "ignored") if content.get(key) is not None}
    return class_list_of(facts, str(file))


def class_list_of(facts: Mapping[str, Any], origin: str) -> ClassList:
    """Returns a list of classes from its facts, which `spec.info` holds as `class_list`.

    Args:
      facts: `classes` (names in the order of their numbers), and perhaps `colours` (red, green and blue of each class)
        and `ignored` (number of a class that counts nowhere).
      origin: file of the list, for errors.

    Raises:
      UserError: for facts that do not fit together.
    """
    names, colours, ignored = facts.get("classes") or [], facts.get("colours") or [], facts.get("ignored")
    if not _are_names(names):
        raise UserError(f"classes of {origin} are {str(names)[:60]}; expected a list of 1 to {MOST} different names")
    if colours and not _are_colours(colours, len(names)):
        raise UserError(
            f"colours of {origin} are {str(colours)[:60]}; expected {len(names)} different colours [red, green, blue] of 0 to "
            f"255, one for each class"
        )
    if ignored is not None and (type(ignored) is not int or not 0 <= ignored <= 255):
        raise UserError(f"ignored of {origin} is {ignored!r}; expected the number of a class, 0 to 255")
    counted = [number for number in range(len(names)) if number != ignored]
    if not counted:
        raise UserError(f"only class of {origin} is ignored; expected a class that counts")
    numbers = np.full(256, NONE, np.uint8)
    numbers[counted] = np.arange(len(counted))
    if ignored is not None:
        numbers[ignored] = len(counted)
    codes = {_code(colour): int(numbers[number]) for number, colour in enumerate(colours)}
    counted_colours = [list(colours[number]) for number in counted] if colours else []
    return ClassList(origin, [names[number] for number in counted], counted_colours, numbers, codes, {**facts})


def classes_of_pixels(classes: ClassList, pixels: np.ndarray) -> np.ndarray:
    """Returns the class of each pixel [...], uint8; `NONE` for a pixel whose number or colour is unknown.

    Args:
      classes: the classes.
      pixels: numbers [H, W], or colours [H, W, 3], of uint8.
    """
    if pixels.ndim == 2:
        return classes.numbers[pixels]
    parts = pixels.astype(np.int32)
    colours, places = np.unique(parts[..., 0] << 16 | parts[..., 1] << 8 | parts[..., 2], return_inverse=True)
    table = np.array([classes.codes.get(int(colour), NONE) for colour in colours], np.uint8)
    return table[places].reshape(pixels.shape[:2])


def is_class_map(classes: ClassList, pixels: np.ndarray) -> bool:
    """Returns whether an image is a map of classes: whether most of its pixels have a number or a colour of the list.

    Args:
      classes: the classes.
      pixels: numbers [H, W], or colours [H, W, 3], of uint8.
    """
    return bool((classes_of_pixels(classes, pixels) != NONE).mean() > 0.5)


def checked_classes(classes: ClassList, pixels: np.ndarray, origin: str) -> np.ndarray:
    """Returns the class of each pixel [H, W], uint8; the number of classes stands for no class.

    Args:
      classes: the classes.
      pixels: numbers [H, W], or colours [H, W, 3], of uint8.
      origin: file of the pixels, for the error.

    Raises:
      UserError: for the first pixel whose number or colour is unknown.
    """
    x = classes_of_pixels(classes, pixels)
    unknown = np.argwhere(x == NONE)
    if not len(unknown):
        return x
    row, column = unknown[0].tolist()
    value = pixels[row, column].tolist()
    if pixels.ndim == 2:
        fault = f"number {value}, which is no class"
        expected = f"{_listed_numbers(classes)}, as in {classes.origin}"
    elif not classes.colours:
        fault = f"colour {tuple(value)}"
        expected = f"a grey picture of class numbers, because {classes.origin} lists no colours"
    else:
        colours = np.array(classes.colours)
        nearest = int(np.abs(colours - pixels[row, column]).sum(1).argmin())
        fault = f"colour {tuple(value)}, which is no class"
        expected = (
            f"a colour of {classes.origin}. The nearest is {classes.names[nearest]!r}, "
            f"{tuple(classes.colours[nearest])}"
        )
    raise UserError(f"pixel in row {row}, column {column} of {origin} has {fault}; expected {expected}")


def class_map_source(
    name: str, shape: tuple[int, ...], sizes: dict[str, int], rows: Rows, classes: ClassList
) -> Source:
    """Returns a source of class maps.

    Args:
      name: name of the data.
      shape: height and width.
      sizes: number of rows of each split.
      rows: function (split, row numbers [n]) -> maps `x` [n, H, W].
      classes: the classes.
    """
    return Source(
        name=name,
        kind="class_map",
        shape=tuple(shape),
        dtype=np.dtype(np.uint8),
        sizes=sizes,
        rows=rows,
        content="",
        limits=(0, len(classes.names)),
        info=classes.info,
    )


def _listed_numbers(classes: ClassList) -> str:
    numbers = np.flatnonzero(classes.numbers != NONE)
    return f"0 to {numbers[-1]}" if len(numbers) == numbers[-1] + 1 else f"0 to {numbers[-2]}, or {numbers[-1]}"


def _read_json(file: Path) -> Any:
    ask(file.stat().st_size, file)
    with readable(f"{file}", "a JSON file"):
        return json.loads(file.read_text(encoding="utf-8-sig"))


def _are_names(names: Any) -> bool:
    texts = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return texts and 1 <= len(names) <= MOST and len({*names}) == len(names)


def _are_colours(colours: Any, num: int) -> bool:
    if not isinstance(colours, list) or len(colours) != num:
        return False
    for colour in colours:
        if not isinstance(colour, list) or len(colour) != 3:
            return False
        if any(type(part) is not int or not 0 <= part <= 255 for part in colour):
            return False
    return len({_code(colour) for colour in colours}) == num


def _code(colour: list[int]) -> int:
    return colour[0] << 16 | colour[1] << 8 | colour[2]
