"""Fixtures that more than one test file uses."""

import atexit
import os
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

# Most of what the tests cost is compiling, and most of it is the same program in another test, another worker of
# pytest-xdist or a process that a test starts: all of them find it in one folder, which lasts as long as the run.
# It must be there before JAX is imported, and a folder that is set already is used as it is.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="jax-occupancy-tests-")
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

# XLA has two code generators for CPUs. The newer one takes half as long again to compile a refinement, whose programs
# run no faster for it. A later XLA, which may have dropped the older one and ends the process at a flag that it does
# not know, is left alone; so is the 64-bit run of `.ci/run`, where the variable is set and empty.
if "XLA_FLAGS" not in os.environ and version("jaxlib").startswith("0.10."):
    os.environ["XLA_FLAGS"] = "--xla_cpu_use_fusion_emitters=false"

import jax
import pytest

PRECISION = bool(jax.config.jax_enable_x64)


def pytest_collection_modifyitems(config, items):
    """A session of 64-bit JAX leaves out the tests that switch to it by themselves: they say the same in any."""
    if PRECISION:
        switching = [item for item in items if {"x64", "dtype"} & set(getattr(item, "fixturenames", ()))]
        config.hook.pytest_deselected(items=switching)
        items[:] = [item for item in items if item not in set(switching)]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real structures named by JAX_OCCUPANCY_DATA; the test is skipped where there is none."""
    folder = os.environ.get("JAX_OCCUPANCY_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("real data not available: set JAX_OCCUPANCY_DATA to the folder that holds 4xof.pdb and 4xof.mtz")
    return Path(folder)


@pytest.fixture(autouse=True, scope="module")
def precision_is_restored():
    """The command line switches to float64 for good; the next file of tests begins as the session did."""
    yield
    jax.config.update("jax_enable_x64", PRECISION)


@pytest.fixture(autouse=True, scope="module")
def programs_are_given_back():
    """Each compiled program takes memory maps, of which Linux allows a process 65,530: beyond, compiling crashes it."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and len(maps.read_text().splitlines()) > 20_000:
        jax.clear_caches()


@pytest.fixture
def x64():
    """64-bit JAX for one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    """Both float types, with 64-bit JAX for the second."""
    with jax.enable_x64(request.param == "float64"):
        yield request.param


@pytest.fixture(scope="session")
def example(tmp_path_factory):
    """Model, reflections and true occupancies of the simulated crystal."""
    from jax_occupancy import read_model, read_reflections, write_example

    files = write_example(tmp_path_factory.mktemp("example"))
    return read_model(files.model), read_reflections(files.reflections), files.truth


@pytest.fixture(scope="session")
def solution(example):
    """The example as `refine` gives it, in float64, with a single other start."""
    from jax_occupancy import refine

    with jax.enable_x64(True):
        return refine(*example[:2], starts=1)


@pytest.fixture(scope="session")
def held_solution(example):
    """The example with its B factors held, which are the true ones."""
    from jax_occupancy import refine

    with jax.enable_x64(True):
        return refine(*example[:2], b_factors="held")


@pytest.fixture(scope="session")
def refined(example):
    """The steps of a refinement of the example: the problem in the end, the answer and what is known of it."""
    from jax_occupancy.refinement import Options, assess, prepare, search, settle

    with jax.enable_x64(True):
        problem, state, posterior = settle(*search(prepare(*example[:2], options=Options(starts=1))))
        return problem, state, assess(problem, state, posterior)
