"""How Sphinx builds the documentation: `sphinx-build -W --keep-going docs SITE`."""

import re
from importlib.metadata import version as version_of
from typing import Any

project = "trio_h2"
author = "the maintainers of trio_h2"
release = version = version_of("trio-h2")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinxcontrib.mermaid",
]
exclude_patterns = ["_build"]
default_role = "literal"  # docstrings mark names with single backticks, as Markdown does
# Pygments has no lexer for HAProxy's configuration, which is shown without colours. Sphinx takes names of attributes
# for references, and two classes may have attributes of one name.
suppress_warnings = ["misc.highlighting_failure", "ref.python"]

myst_heading_anchors = 3
myst_fence_as_directive = ["mermaid"]

html_theme = "furo"
html_title = f"trio_h2 {release}"
html_show_copyright = False

napoleon_use_ivar = True
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}

ENTRY = r"    [\w.]+(, [\w.]+)*: "


def sections_by_other_names(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Sections have headings that say more than napoleon's words, which it needs above each.

    `Config` lists its attributes in groups; what a block raises stands below "Entering it raises:" and its like.
    """
    for at in range(len(lines) - 3, -1, -1):
        heading, second, third = lines[at : at + 3]
        if heading == "Raises:" or not re.match(r"\S.*:$", heading):
            continue
        if not second and re.match(ENTRY, third):
            lines.insert(at + 2, "Attributes:")
        elif "raises" in heading.lower() and re.match(ENTRY, second):
            lines[at + 1 : at + 1] = ["", "Raises:"]


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", sections_by_other_names, priority=100)  # before napoleon's
