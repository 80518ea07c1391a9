"""Sphinx configuration: `sphinx-build -W docs docs/_build/html`."""

import sys
from pathlib import Path

import sk_epsnn

project = "sk_epsnn"
author = copyright = "The sk_epsnn developers"
version = release = sk_epsnn.__version__

# Where `gallery_order` is.
sys.path.insert(0, str(Path(__file__).parent))

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "_templates", "images"]

# Blocks that name no language are formulas.
highlight_language = "none"

html_theme = "pydata_sphinx_theme"
html_title = "sk_epsnn"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["pages.css"]
# Only the pages of examples and of the API have neighbours to list.
html_sidebars = {"*": []}
html_theme_options = {"show_prev_next": False, "navigation_with_keys": False}

# Headings can be linked to, as on the pages of a repository.
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "dollarmath"]

# A parameter a line, where a signature is longer than a line of a narrow page.
maximum_signature_line_length = 60

autosummary_generate = True
autodoc_typehints = "none"
# Methods before attributes, each without the name of its class in the list beside a page.
autodoc_member_order = "groupwise"
toc_object_entries_show_parents = "hide"
templates_path = ["_templates"]
numpydoc_show_class_members = False

# Docstrings inherited from scikit-learn refer to its own pages.
suppress_warnings = ["ref.ref", "ref.term"]

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "within_subsection_order": "gallery_order.ReadingOrder",
    "ignore_pattern": r"[\\/](paper|benchmarks)[\\/]",
    "filename_pattern": r"[\\/]plot_",
    "remove_config_comments": True,
    "show_memory": False,
    "capture_repr": (),
    "image_srcset": ["2x"],
    "abort_on_example_error": True,
}
