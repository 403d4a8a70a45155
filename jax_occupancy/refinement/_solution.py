"""What a refinement returns."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import gemmi
import numpy as np
import pandas as pd
from jaxtyping import Float

from jax_occupancy.core import OccupancyTensor
from jax_occupancy.groups import Grouping, whole_sets
from jax_occupancy.io import Model, Reflections, format_of_name, to_gemmi, write_model
from jax_occupancy.refinement._map_data import MapData
from jax_occupancy.refinement._pruning import atoms_of_groups, full_waters, occupancies_without, unsupported_groups
from jax_occupancy.refinement._starts import Minimum
from jax_occupancy.xray import Scale, SigmaA, Sites, TwinOrbits, own_share

SUM_TOLERANCE = 1e-3
# An R-work that rises by less has not risen for those who look at three decimals.
ROUNDING_OF_R = 5e-4
# What `Solution.to_dict` tells of the scales.
SCALE = ("d_spacing", "k_overall", "k_mask", "b_anisotropic")


@dataclass(frozen=True, eq=False)
class StartEnd:
    """One number at the start and at the end of a refinement, both on the final scales.

    Example:
        >>> r_work = StartEnd(start=0.21, end=0.17)
        >>> r_work.end
        0.17
    """

    start: float
    end: float


@dataclass(frozen=True, eq=False)
class Solution:
    """Refined occupancies, how well they are known, and how they were reached.

    Attributes:
        tensor: the refined module; `tensor()` gives the occupancy of each atom, on a special position that of its site.
        occupancies: the same on the host, shape (atoms,).
        esds: standard uncertainty of each atom's occupancy, NaN where it is fixed, on a bound or only known in sum.
        b_shifts: what was added to the B factor of each atom, in Å²; None where B factors were held.
        shifts: how far each atom was moved, in Å, (atoms, 3); None where positions were held.
        priors: how wrong coordinates ("position_error", Å along each axis) and B factors of groups ("b_error", Å², the
            median, and "relative_b_error", to B of the group and of groups) and of atoms besides ("b_error_of_atoms",
            "relative_b_error_of_atoms") were taken to be, as standard deviations; "b_trend" is the part of what a
            refinement at wrong occupancies does to B factors that was found in those of the model, "b_trend_of_atoms"
            and "position_trend" that of what it does to atoms besides.
        table: one row per group, see `solution_table`.
        residues: one row per residue of each linked set and group: the occupancy it would have alone, and the
            log-likelihood that would gain.
        covariance: of the occupancies of the refined groups, B factors and positions marginalised; a frame with the
            names of the groups.
        grouping: the groups.
        sites: special positions and how the file counts them; `sites.to_file(occupancies)` is what is written.
        data: the reflections that were used, or what was cut out of a map.
        f_model: structure factors of the refined model on the scale of the data, complex, (reflections,).
        outliers: reflections that were left out, a frame with their indices and why.
        target_name: "ml", "ls" or the name of a target of your own.
        target: the value of the target: −log-likelihood (ml), or the sum of squares over that of F_obs (ls).
        sigma_a: σ_A at the end; None where the target is no likelihood.
        r_work: R of the working set, NaN for a map.
        r_free: R of the free set, NaN without one.
        scale: overall and solvent scales at the end.
        model_amplitude: amplitudes of the refined model on the scale of the data, (reflections,): those of `f_model`,
            of a twin those of all domains together; of a map their Hartley transform.
        twin: of a twin one row per law (what becomes of h, k, l), with the fraction of its domains and its esd.
        starts: number of random starts.
        minima: the distinct minima that the start, the random starts and the restarts ended in, the lowest first.
        history: one row per cycle of scaling and solving.
        result: "converged", "max_cycles", "nothing_to_refine" or the name of another `Result`.
        message: the result in a sentence, and that the target or R-work rose, if it did.
        seconds: wall-clock time of each stage.
        solvent_share: how much of the bulk solvent fills the places of absent groups, 0 to 1.
        target_label: what the value of the target is called.
        target_digits: decimals of it that say something.
        fsc_shells: for a map, its correlation with the model by shell (see `MapData.table`), else None.
        model: what was refined; None in a solution that was loaded from a file.

    Example:
        >>> from jax_occupancy import refine
        >>> from jax_occupancy.example import read_example
        >>> solution = refine(*read_example(), starts=0)
        >>> solution.table.loc[0, ["name", "note"]].tolist()
        ['A/2/SER:A', '']
        >>> solution.esds.shape == solution.occupancies.shape
        True
    """

    tensor: OccupancyTensor
    occupancies: Float[np.ndarray, " atoms"]
    esds: Float[np.ndarray, " atoms"]
    b_shifts: Float[np.ndarray, " atoms"] | None
    shifts: Float[np.ndarray, "atoms 3"] | None
    priors: Mapping[str, float]
    table: pd.DataFrame
    residues: pd.DataFrame
    covariance: pd.DataFrame
    grouping: Grouping
    sites: Sites
    data: Reflections | MapData
    f_model: np.ndarray
    outliers: pd.DataFrame
    target_name: str
    target: StartEnd
    sigma_a: SigmaA | None
    r_work: StartEnd
    r_free: StartEnd
    scale: Scale
    model_amplitude: Float[np.ndarray, " reflections"]
    twin: pd.DataFrame
    starts: int
    minima: tuple[Minimum, ...]
    history: pd.DataFrame
    result: str
    message: str
    seconds: Mapping[str, float]
    solvent_share: float = 1.0
    target_label: str = "-log-likelihood"
    target_digits: int = 2
    fsc_shells: pd.DataFrame | None = None
    model: Model | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        fit = f"reflections, r_work={self.r_work.end:.4f}, r_free={self.r_free.end:.4f}"
        if self.fsc is not None:
            fit = f"coefficients of a map, fsc={self.fsc.end:.4f}"
        return (
            f"Solution({self.result}, {len(self.table)} groups in {len(self.grouping.sets)} sets, "
            f"{self.n_reflections} {fit})"
        )

    @property
    def fsc(self) -> StartEnd | None:
        """Correlation of map and model, the mean over shells weighted by their coefficients; None for reflections."""
        shells = self.fsc_shells
        if shells is None:
            return None
        weights = shells["n"].to_numpy()
        return StartEnd(*(float(np.average(shells[f"fsc_{when}"], weights=weights)) for when in ("start", "end")))

    @property
    def risen(self) -> str:
        """What is higher at the end than at the start, both on the final scales; "" where nothing is."""
        target, r_work, digits = self.target, self.r_work, self.target_digits
        if target.end > target.start + 0.5 * 10.0**-digits:
            return f"{self.target_label} rose from {target.start:.{digits}f} to {target.end:.{digits}f}"
        if r_work.end > r_work.start + ROUNDING_OF_R:
            return f"R-work rose from {r_work.start:.4f} to {r_work.end:.4f}"
        return ""

    @property
    def n_reflections(self) -> int:
        """How many reflections were used, the free set included."""
        return self.data.n_reflections

    @property
    def n_free(self) -> int:
        """How many of them are in the free set."""
        return self.data.n_free

    @property
    def resolution(self) -> tuple[float, float]:
        """Low and high limit in Å."""
        return self.data.resolution

    @property
    def sigma_a_source(self) -> str | None:
        """The set that σ_A was estimated from, "free" or "working"; None for least squares."""
        return None if self.sigma_a is None else self.sigma_a.source

    def detwinned_amplitude(self, f_model: np.ndarray | None = None) -> Float[np.ndarray, " reflections"]:
        """F_obs, of a twin the part that is its first domain's where amplitudes of a model are shared out.

        Args:
            f_model: structure factors of another model than the refined one, such as one without a group.
        """
        data: Any = self.data
        observed, f_model = np.asarray(data.amplitude), self.f_model if f_model is None else f_model
        if self.twin.empty:
            return observed
        orbits = TwinOrbits.of(data.hkl, self.twin["law"].tolist(), cell=data.cell, spacegroup=data.spacegroup)
        square, fractions = np.abs(f_model) ** 2, np.array(self.scale.fractions)
        # Mates that were not measured have the amplitude that they have in the refined model.
        others = self.model_amplitude**2 - fractions[0] * np.abs(self.f_model) ** 2
        of_mates = fractions[1:] @ orbits.powers(square)[1:]
        powers = np.array([square, np.where(np.isfinite(of_mates), of_mates, others)])
        return observed * own_share(powers, [fractions[0], 1.0])

    @property
    def correlation(self) -> pd.DataFrame:
        """Correlation matrix of the occupancies; NaN in the rows of those on a bound."""
        spread = np.sqrt(np.diag(self.covariance))
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.covariance / np.outer(spread, spread)

    def unsupported(self, model: Model | None = None) -> tuple[str, ...]:
        """Name the groups that the data do not support and that the model can do without, for `write(without=...)`.

        Of a set it is one at most, for without it another may be supported; a ligand or a water may go that is a group
        by itself. Of a chain no residue goes, nor a lone conformer.

        Args:
            model: what was refined, for a solution that was loaded from a file.

        Raises:
            ValueError: there is no model.

        Example:
            >>> from jax_occupancy import refine
            >>> from jax_occupancy.example import read_example
            >>> refine(*read_example(), starts=0).unsupported()
            ()
        """
        return unsupported_groups(self.table, self.grouping, self._model(model).atoms)

    def full_waters(self, model: Model | None = None) -> tuple[str, ...]:
        """Name the waters that the data do not tell from full ones, for `write(full=...)`; otherwise as `unsupported`.

        These are groups by themselves, whose note says so.
        """
        return full_waters(self.table, self.grouping, self._model(model).atoms)

    def write(
        self, model: Model, path, *, shifts: bool = False, without: Collection[str] = (), full: Collection[str] = ()
    ) -> None:
        """Write the model with the refined occupancies, PDB or mmCIF by the extension of `path`.

        The sums of complete sets are kept when the values are rounded, nested ones included. On special positions
        occupancies are written as they were read, with or without 1/n inside. mmCIF files get the standard
        uncertainties in `_atom_site.occupancy_esd`. B factors and coordinates stay as they were read; with `shifts`
        they are written as they were refined.

        Args:
            without: names of groups that are left out of the file, with the hydrogens on them. The others of a complete
                set share what these had, in proportion to what they have: refine again, for that is approximate.
            full: names of groups that get an occupancy of one.

        Raises:
            KeyError: there is no group of such a name.
            ValueError: `path` is the file the model was read from, or has no known extension; or no atom is left.
        """
        gone, new = atoms_of_groups(self.grouping, without, model.atoms), self.occupancies
        if gone.any():
            new = occupancies_without(self.tensor, gone)
        new = np.where(atoms_of_groups(self.grouping, full, model.atoms), 1.0, new)
        occupancies, esds = self.sites.to_file(new), np.where(new == self.occupancies, self.esds, np.nan)
        sets = _sets_to_round(self.grouping, self.sites, occupancies)
        write_model(
            model,
            path,
            occupancies,
            # A PDB file has no place for standard uncertainties.
            esds=self.sites.to_file(esds) if format_of_name(path) == "mmcif" else None,
            b_shifts=self.b_shifts if shifts else None,
            shifts=self.shifts if shifts else None,
            sets=[[atoms for atoms in conformers if not gone[atoms].all()] for conformers in sets],
            without=gone if gone.any() else None,
        )

    def structure(self, model: Model | gemmi.Structure | None = None) -> gemmi.Structure:
        """A copy of the structure that was refined, with the refined occupancies as they stand in a file.

        Args:
            model: it, for a solution that was loaded from a file.

        Raises:
            ValueError: there is no model.

        Example:
            >>> from jax_occupancy import refine
            >>> from jax_occupancy.example import read_example
            >>> model, data = read_example()
            >>> solution = refine(model.structure, data, starts=0)
            >>> round(solution.structure()[0]["A"][1]["CB"][0].occ, 2)
            0.65
        """
        return to_gemmi(self._model(model), self.sites.to_file(self.occupancies))

    def plot(self):
        """Draw occupancies with error bars, convergence, R by resolution and correlations on one page.

        The single pictures, and files of them, are in `jax_occupancy.plotting`.

        Returns:
            A matplotlib figure.
        """
        # Refinements need no pictures, and pictures need refinements: the import waits until one is wanted.
        from jax_occupancy.plotting import plot_solution

        return plot_solution(self)

    def to_dict(self) -> dict[str, Any]:
        """What `--json` writes: the result, R factors, minima and a row per group, as plain numbers.

        NaN becomes None.
        """
        (low, high), shells = self.data.resolution, self.fsc_shells
        rows = self.table.drop(columns="n_atoms").to_dict("records")
        return _plain(
            {
                "result": self.result,
                "message": self.message,
                "target": {"name": self.target_name, **vars(self.target)},
                "r_work": vars(self.r_work),
                "r_free": vars(self.r_free),
                **({} if shells is None else {"fsc": vars(self.fsc), "fsc_shells": shells.to_dict("records")}),
                "columns": self.data.labels,
                "scale": {name: getattr(self.scale, name) for name in SCALE},
                "twin": self.twin.to_dict("records"),
                "n_reflections": self.data.n_reflections,
                "n_free": self.data.n_free,
                "resolution": [low, high],
                "seconds": dict(self.seconds),
                "starts": self.starts,
                "solvent_share": self.solvent_share,
                "priors": dict(self.priors),
                "minima": [{key: getattr(one, key) for key in ("target", "count", "max_shift")} for one in self.minima],
                "groups": [row | {"atoms": group.atoms} for row, group in zip(rows, self.grouping.groups, strict=True)],
                "residues": self.residues.to_dict("records"),
                "outliers": self.outliers.to_dict("records"),
                "history": self.history.to_dict("records"),
            }
        )

    def _model(self, model: Any) -> Any:
        """The model that is given, or else the one that was refined."""
        model = model or self.model
        if model is None:
            raise ValueError("a solution that was loaded from a file has no model: give the one that was refined")
        return model


def _sets_to_round(grouping: Grouping, sites: Sites, occupancies: np.ndarray) -> list[list[np.ndarray]]:
    """The sets whose sum in the file is that of the groups: not those of atoms that are written with 1/n inside."""
    found, wholes = [], np.array([s.whole for s in grouping])
    as_they_are = ~sites.crystallographic & (sites.counted == 1)
    for conformers in whole_sets(grouping):
        plain = [atoms[as_they_are[atoms]] for atoms in conformers]
        # A set whose members are all fixed keeps the sum that it was given.
        if not all(atoms.size for atoms in plain):
            continue
        if np.any(np.abs(sum(occupancies[a[0]] for a in plain) - wholes) < SUM_TOLERANCE):
            found.append(plain)
    return found


def _plain(value: Any) -> Any:
    """Plain Python values for JSON, None for NaN."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
