"""Targets that a user brings: one class, given to `refine`; and wrong ones, which find no answer and say so."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

from jax_occupancy import refine
from jax_occupancy.refinement import RefinementError, Result, _refine
from jax_occupancy.xray import LeastSquares, Target

pytestmark = pytest.mark.usefixtures("x64")


class StudentT(Target):
    """Long tails: an amplitude that is far off pulls less the farther it is."""

    name, label, digits = "student-t", "-log-likelihood (t)", 1
    observed: Float[Array, " reflections"]
    spread: Float[Array, " reflections"]
    weight: Float[Array, " reflections"]

    @classmethod
    def from_observations(cls, observations, sigma_a, *, dtype=None):
        spread = np.sqrt(observations.sigma**2 + sigma_a.variance / 2)
        return cls(*(jnp.asarray(one, dtype) for one in (observations.amplitude, spread, ~observations.free)))

    def __call__(self, amplitude):
        return self.weight * 2.5 * jnp.log1p(((amplitude - self.observed) / self.spread) ** 2 / 4)


@pytest.fixture(scope="module")
def coarse(example):
    """Half the resolution, an eighth of the reflections."""
    model, data, _ = example
    return model, data.select(data.d_spacing() > 2.6)


def test_a_student_t_likelihood_is_one_class(example):
    model, data, truth = example
    solution = refine(model, data, target=StudentT, starts=0)
    assert solution.result == "converged"
    assert np.abs(solution.occupancies - truth).max() < 0.03
    assert solution.sigma_a_source == "free"
    told = solution.to_dict()["target"]
    assert (told["name"], told["end"]) == ("student-t", solution.target.end)


@jax.custom_jvp
def turned(misfit):
    """The same value, with derivatives that point the other way."""
    return misfit


turned.defjvp(lambda primals, tangents: (primals[0], -tangents[0]))


class Turned(LeastSquares):
    """Contradicts itself."""

    def __call__(self, amplitude):
        return turned(super().__call__(amplitude))

    def information(self, amplitude):
        return 2 * self.weight


class NoNumber(LeastSquares):
    """Has no value."""

    def __call__(self, amplitude):
        return jnp.nan * super().__call__(amplitude)


class Crawling(LeastSquares):
    """Believes in a curvature that makes its steps a thousand times too short."""

    def information(self, amplitude):
        return 1000 * super().information(amplitude)


@pytest.mark.parametrize(
    ("target", "results"),
    [(Turned, ["stalled"]), (NoNumber, ["not_finite"]), (Crawling, ["max_steps", "max_cycles"])],
)
def test_a_search_that_finds_no_answer_is_not_called_converged(coarse, target, results):
    if target is Turned:
        with pytest.raises(RefinementError, match=r"contradict its values\. Use throw=False"):
            refine(*coarse, target=target, starts=0, outliers=False, b_factors="held")
    solution = refine(*coarse, target=target, starts=0, outliers=False, b_factors="held", throw=False)
    assert solution.result in results
    if solution.result != "max_cycles":  # which says how much they still moved
        sentence = Result[solution.result].sentence
        assert solution.message == f"{sentence[0].upper()}{sentence[1:]}."
    assert "At rest" not in solution.message


class OfOtherData(LeastSquares):
    """Fits the model to the amplitudes of other reflections."""

    @classmethod
    def from_observations(cls, observations, sigma_a, *, dtype=None):
        return cls.from_data(np.roll(observations.amplitude, 1), observations.free, dtype=dtype)


def test_an_r_work_that_rises_is_told(coarse, example):
    """From the true occupancies every other target than one of these data makes R worse."""
    solution = refine(*coarse, target=OfOtherData, start=example[2], starts=0, outliers=False, b_factors="held")
    assert solution.target.end < solution.target.start
    assert solution.r_work.end > solution.r_work.start + 5e-4
    rise = f"R-work rose from {solution.r_work.start:.4f} to {solution.r_work.end:.4f}"
    assert solution.risen == rise
    assert solution.message.endswith(
        f"But {rise}: this is no better than the start; look at outliers and sigmas first."
    )


def test_a_target_that_rises_is_told(coarse, monkeypatch):
    """As if the search had begun where it ended."""

    def backwards(problem, **stage):
        problem, state = search(problem, **stage)
        solved = state.solved._replace(x=problem.start("model"))
        return problem, dataclasses.replace(state, solved=solved, begin=np.asarray(state.objective.amplitude(state.x)))

    search = _refine.search
    monkeypatch.setattr(_refine, "search", backwards)
    solution = refine(*coarse, starts=0, outliers=False, b_factors="held", positions="held")
    start, end = solution.target.start, solution.target.end
    assert end > start
    assert f"But -log-likelihood rose from {start:.2f} to {end:.2f}: this is no better" in solution.message
