"""The site: ``nox -s docs`` builds it, with warnings as errors, after it has run every code block (`conftest`)."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import greenzmq

project = "greenzmq"
author = "The greenzmq developers"
copyright = author  # noqa: A001  # Sphinx calls it that
version = release = greenzmq.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "generated",
]
exclude_patterns = ["_build", "_run", "_ext", "conftest.py"]

myst_enable_extensions = ["deflist", "colon_fence"]
myst_heading_anchors = 3

smartquotes = False  # messages are searched for as they are raised
default_role = "py:obj"
add_module_names = False
toc_object_entries_show_parents = "hide"
autodoc_typehints = "none"  # numpydoc sections have the types, in words
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

html_theme = "furo"
html_title = f"greenzmq {release}"
html_static_path = ["_static"]
html_css_files = ["greenzmq.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "top_of_page_buttons": [],
    "light_css_variables": {"color-brand-primary": "#16734a", "color-brand-content": "#16734a"},
    "dark_css_variables": {"color-brand-primary": "#5fd3a0", "color-brand-content": "#5fd3a0"},
}

copybutton_prompt_text = r"^\$ "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True
