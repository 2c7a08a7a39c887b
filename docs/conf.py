"""Sphinx reads the docs through this. Pages are Markdown (MyST)."""

from parley import __version__

project = "Parley"
author = copyright = "The Parley authors"
version = release = __version__
extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"Parley {version}"
exclude_patterns = ["_build"]
nitpicky = True
