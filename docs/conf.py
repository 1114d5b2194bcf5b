"""Sphinx: the pages of this folder, the generated tables (_ext/generated.py), and one executed notebook."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

from onsager_cli import __version__  # noqa: E402

project, release, version = "onsager", __version__, __version__
copyright = "the onsager authors"  # noqa: A001  Sphinx asks for this name
extensions = [
    "myst_nb",  # Markdown, and the notebook
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",  # Args, Raises and Example of the docstrings
    "sphinx_design",
    "sphinx_copybutton",
    "generated",
]
exclude_patterns = ["_build", "jupyter_execute"]
html_theme = "furo"
html_title = f"onsager {release}"
html_show_sourcelink = False
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
myst_links_external_new_tab = True
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_merge_streams = True
default_role = "code"  # `name` in docstrings
autodoc_typehints = "none"  # shapes and units are in the text; the signature has the names
autodoc_member_order = "bysource"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
highlight_language = "none"
smartquotes = False  # "--" is the start of an option, not a dash
