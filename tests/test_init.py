import ast
import subprocess
import sys
from pathlib import Path

import pytest

import jax_occupancy

PUBLIC = [
    "Grouping",
    "Model",
    "OccupancyTensor",
    "Reflections",
    "SeriesSolution",
    "Solution",
    "UserGroups",
    "automatic_groups",
    "concatenate",
    "group_model",
    "is_occupancy_tensor",
    "load_series",
    "load_solution",
    "load_tensor",
    "read_maps",
    "read_model",
    "read_reflections",
    "refinable_only",
    "refine",
    "refine_series",
    "save_series",
    "save_solution",
    "save_tensor",
    "split",
    "stack",
    "unstack",
    "write_example",
    "write_model",
    "zero_fixed",
]


def test_public_names_are_pinned_and_exist():
    assert jax_occupancy.__all__ == PUBLIC
    for name in PUBLIC:
        value = getattr(jax_occupancy, name)
        assert value.__doc__
        assert name in dir(jax_occupancy)


def test_unknown_name():
    with pytest.raises(AttributeError, match="no_such_name"):
        jax_occupancy.no_such_name  # noqa: B018


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import jax_occupancy", ["jax", "pandas", "gemmi", "typer", "matplotlib"]),
        ("from jax_occupancy import OccupancyTensor", ["pandas", "gemmi", "typer", "matplotlib"]),
        ("import jax_occupancy.cli", ["jax", "pandas", "gemmi", "matplotlib"]),
    ],
)
def test_imports_load_only_what_they_need(statement, absent):
    program = f"{statement}\nimport sys\nprint(*sorted(set(sys.modules) & set({absent!r})))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""


def test_version_is_that_of_the_package():
    from importlib.metadata import version

    assert jax_occupancy.__version__ == version("jax-occupancy")


# Each package and those that it may import from; what begins with an underscore at the top is for all.
ARROWS = {"core": "", "groups": "core", "io": "core groups", "xray": "core", "refinement": "core groups io xray"}
ARROWS["example"] = "io xray"
ARROWS["plotting"] = "core groups io xray refinement"
ARROWS["cli"] = "core groups io xray refinement example plotting"


@pytest.mark.parametrize("package", ARROWS)
def test_imports_follow_the_arrows_and_take_public_names_alone(package):
    for path in Path(jax_occupancy.__file__).with_name(package).glob("*.py"):
        # What waits until it is called, or is for types alone, is no arrow.
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("jax_occupancy."):
                _, other, *private = node.module.split(".")
                if other != package and not other.startswith("_"):
                    assert other in ARROWS[package].split(), path
                    assert not private, path
