"""The documentation as a site: `make docs` builds it in build/site, and fails on dead links."""

project = "geosync"
extensions = ["myst_parser"]
exclude_patterns = ["conf.py"]
html_theme = "furo"
html_title = "geosync"
html_copy_source = False
html_show_sphinx = False
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]
