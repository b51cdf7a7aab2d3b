"""How Sphinx builds these pages: sphinx-build -W -n --keep-going -b html docs docs/_build/html (`make docs`)"""

from pri3d_zoo import __version__

project = "pri3d-zoo"
author = "the pri3d-zoo authors"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"pri3d-zoo {version}"

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"  # a parameter without a word about it is in the signature
napoleon_numpy_docstring = False

# Names of other projects: their inventories would have to be downloaded, and a build needs no network.
nitpick_ignore_regex = [
    (r"py:.*", r"(torch|timm|numpy|pathlib|os|collections|typing|argparse|enum|omegaconf|PIL|scipy)\..*"),
    (
        r"py:class",
        r"pri3d_zoo\.training\.networks\.sparse\..*\.CoordinateManager",
    ),  # how kernel maps are shared, inside
    (r"py:.*", r"(.*\.)?(Tensor|Path|NDArray|Any|Callable|Iterator|Sequence|Mapping|Schema)"),
]
