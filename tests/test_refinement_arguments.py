"""Arguments of the turnkey refinements that are something else, and what both have in common."""

import inspect

import pytest

import jax_occupancy
from jax_occupancy.example import read_example
from jax_occupancy.refinement import Options

# What users call: while tests run, annotations are checked before the functions look for themselves.
refine, refine_series = map(inspect.unwrap, (jax_occupancy.refine, jax_occupancy.refine_series))
WRONG = [
    ({"target": "mle"}, ValueError, "target must be one of ml, ls or a target of your own, not 'mle'"),
    ({"b_factors": "free"}, ValueError, "b_factors must be one of atom, group, held, not 'free'"),
    ({"positions": "all"}, ValueError, "positions must be one of atom, group, held, not 'all'"),
    ({"positions": "group"}, ValueError, "by atom do not go with positions by group: choose .group. for both"),
    ({"position_error": 0.0}, ValueError, "position_error must be a standard deviation in Å, above 0, not 0.0"),
    ({"b_error": -1.0}, ValueError, "b_error must be a standard deviation in Å², above 0, not -1.0"),
    ({"starts": -1}, ValueError, "starts must be the number of random starts"),
    ({"start": "middle"}, ValueError, "start must be 'model', 'even', 'random'"),
    ({"mesh": "x"}, TypeError, r"mesh must be a jax\.sharding\.Mesh, not str"),
    ({"tolerance": 1.0}, TypeError, "{} has no option 'tolerance'; there are target, b_factors, positions"),
]


@pytest.mark.parametrize(("option", "error", "message"), WRONG)
@pytest.mark.parametrize("function", [refine, refine_series])
def test_options_are_checked_before_any_file_is_read(function, option, error, message):
    files = "none.mtz" if function is refine else ["none.mtz"]
    with pytest.raises(error, match=message.format(function.__name__)):
        function("none.pdb", files, **option)


def test_one_data_set_and_many_are_refined_with_the_same_options():
    one, many = (inspect.signature(function).parameters for function in (refine, refine_series))
    own = ["model", "reflections", "datasets", "names"]
    shared = [
        {name: (p.kind, p.default) for name, p in parameters.items() if name not in own} for parameters in (one, many)
    ]
    assert shared[0] == shared[1]
    assert list(shared[0]) == ["groups", "mesh", "throw", "progress", "options"]
    assert one["options"].kind == inspect.Parameter.VAR_KEYWORD
    assert not set(shared[0]) & set(inspect.signature(Options).parameters)


def test_model_and_reflections_that_were_exchanged():
    model, reflections = read_example()
    with pytest.raises(TypeError, match="model must be a Model or the path of one, not Reflections"):
        refine(reflections, reflections)
    with pytest.raises(TypeError, match="reflections must be Reflections or the path of a file, not Model"):
        refine(model, model)
