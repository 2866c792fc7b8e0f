"""Settings of the site. `generate.py` writes the pages that are generated."""

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))

import generate  # noqa: E402

generate.generate(DOCS)

project = "gen_jax"
author = "The gen_jax authors"
html_title = "gen_jax"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "hooks"]
exclude_patterns = ["_build", "families"]  # the fragments in `families` are parts of the generated pages
nb_execution_mode = "off"  # the tests execute the notebooks
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
default_role = "code"
add_module_names = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Options", "params_style")]
autodoc_typehints = "none"
autodoc_member_order = "bysource"
html_theme = "sphinx_book_theme"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "home_page_in_toc": True,
    "navbar_persistent": [],  # the menu at the left has the search
    "show_navbar_depth": 1,
    "use_download_button": False,
}
html_math_renderer = "mathml"  # a browser draws it, so a page needs no script from elsewhere
