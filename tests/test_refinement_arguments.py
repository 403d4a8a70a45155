"""Arguments of the turnkey refinement that are something else."""

import pytest

from jax_occupancy.example import read_example
from jax_occupancy.refinement._refine import check_options, model_of, reflections_of


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (("mle", "held", 8, None), ValueError, "target must be one of ml, ls"),
        (("ml", "free", 8, None), ValueError, "b_factors must be 'held' or 'group'"),
        (("ml", "held", -1, None), ValueError, "starts must be the number of random starts"),
        (("ml", "held", 8, "x"), TypeError, r"mesh must be a jax\.sharding\.Mesh, not str"),
    ],
)
def test_options(options, error, message):
    with pytest.raises(error, match=message):
        check_options(*options)


def test_model_and_reflections_that_were_exchanged():
    model, reflections = read_example()
    assert (model_of(model), reflections_of(reflections)) == (model, reflections)
    with pytest.raises(TypeError, match="model must be a Model or the path of one, not Reflections"):
        model_of(reflections)
    with pytest.raises(TypeError, match="reflections must be Reflections or the path of a file, not Model"):
        reflections_of(model)
