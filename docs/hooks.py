"""A Sphinx extension of this site: equations as MathML, and docstrings of this package as autodoc reads them."""

import re
from typing import Any

from docutils.nodes import SkipNode
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)


def setup(app: Any) -> dict[str, bool]:
    """Connects the functions of this file with a build."""
    app.add_html_math_renderer("mathml", (inline_math, None), (block_math, None))
    app.connect("autodoc-process-docstring", process_docstring, priority=400)  # before napoleon reads the lines
    app.connect("autodoc-process-signature", process_signature)
    app.connect("autodoc-skip-member", skip_member)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def inline_math(writer: Any, node: Any) -> None:
    """Writes an equation within a line."""
    writer.body.append(mathml(node, block=False))
    raise SkipNode


def block_math(writer: Any, node: Any) -> None:
    """Writes an equation on a line of its own."""
    writer.body.append(f'<div style="overflow-x: auto; margin: 1.2em 0">{mathml(node, block=True)}</div>')
    raise SkipNode


def mathml(node: Any, block: bool) -> str:
    """Returns an equation as MathML. What docutils does not know has another name, or is left to the browser."""
    text = re.sub(r"\\[bB]igg?[lrm]?(?![a-zA-Z])", "", node.astext()).replace("\\dots", "\\ldots")
    try:
        return tex2mathml(text, as_block=block)
    except MathError as error:
        LOGGER.warning("%s in the equation %s", error, text, location=node)
        return ""


def process_docstring(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Escapes the signs outside code, because they have a meaning in reStructuredText, and our docstrings mean the signs."""
    if what in ("attribute", "property"):
        lines.insert(0, "")  # napoleon takes what stands before a colon in the first line for a type
    parts = re.split(r"(`[^`]*`)", "\n".join(lines))
    code, text = re.compile("`"), re.compile(r"([*|\\]|_\b)")
    lines[:] = "".join(part if code.match(part) else text.sub(r"\\\1", part) for part in parts).split("\n")


def process_signature(
    app: Any, what: str, name: str, thing: Any, options: Any, signature: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """Leaves out the two arguments that Flax gives to every module."""
    return signature and re.sub(r", parent=<[^>]*>, name=None", "", signature), returned


def skip_member(app: Any, what: str, name: str, thing: Any, skip: bool, options: Any) -> bool | None:
    """Skips the fields of a record, which have no docstrings: their comments are on the pages of the records."""
    return True if (getattr(thing, "__doc__", None) or "").startswith("Alias for field number") else None
