"""What packages of every kind have."""

FILES = {
    "pyproject.toml": """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "$distribution"
version = "0.1.0"
dependencies = ["threedis"]

[project.optional-dependencies]
test = ["pytest>=8"]

[project.entry-points.threedis]
$name = "$module"

[tool.setuptools]
packages = ["$module"]
""",
    "README.md": """
# $distribution

A plugin of ThreeDIS. `pip install -e .`, and `threedis plugins` lists it;
`pip install -e '.[test]'` and `pytest` run its conformance suite.
""",
}
