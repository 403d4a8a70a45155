"""Scripts that open the refined model and its maps in Coot and ChimeraX."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import jax_occupancy
from jax_occupancy._tables import occupancy, worst_first
from jax_occupancy.io import Model
from jax_occupancy.refinement import Solution

COOT = """\
# -*- coding: utf-8 -*-
# Written by jax-occupancy {version}, for Coot 0.9 and 1: Calculate, Run Script
# Opens the refined model and its maps, and lists the groups as buttons, first what needs attention.
import os

import coot

try:
    dialog_box_of_buttons  # in Coot 0.9 all functions have one namespace
except NameError:
    from coot_gui import dialog_box_of_buttons

FOLDER = {folder}
GROUPS = [
{groups}
]


def here(name):
    inside = os.path.join(FOLDER, name)
    return name if os.path.exists(name) and not os.path.exists(inside) else inside


def going_to(place):
    return lambda *_: coot.set_rotation_centre(*place)


{opening}
buttons = [[label, going_to(place)] for label, place in GROUPS]
dialog_box_of_buttons("Occupancies", [700, 500], buttons, "Close")
"""

CHIMERAX = """\
# Written by jax-occupancy {version}, for ChimeraX: open {name}
# All conformers as sticks, atoms coloured by their occupancy.
open {model}
altlocs show
hide cartoons
show atoms
style stick
color byattribute occupancy target a palette 0,#d55e00:0.5,#f0e442:1,#0072b2
key #d55e00:0 #f0e442:0.5 #0072b2:1
{maps}"""


def coot_script(path: Path, solution: Solution, model: Model, *, refined: Path, maps: Mapping[Path, bool]) -> str:
    """A script for Coot, where a button for each group, the worst first, goes to the centre of its atoms.

    Of each map it must be known whether it is one of differences; an MTZ file has both kinds.
    """
    xyz, rows, buttons = model.atoms[["x", "y", "z"]].to_numpy(float), solution.table.to_dict("records"), []
    for i in worst_first(solution):
        if (atoms := solution.grouping.groups[i].atoms).size:
            label = f"{rows[i]['name']}   {occupancy(rows[i])}   {rows[i]['note']}".rstrip()
            place = ", ".join(f"{one:.3f}" for one in xyz[atoms].mean(axis=0))
            buttons.append(f"    ({_quoted(label)}, ({place})),")
    opening = [f"coot.read_pdb(here({_quoted(_from(path, refined))}))"]
    for one, is_difference in maps.items():
        file = f"here({_quoted(_from(path, one))})"
        if one.suffix == ".mtz":
            opening += [
                f'coot.make_and_draw_map({file}, "FWT", "PHWT", "", 0, 0)',
                f'coot.make_and_draw_map({file}, "DELFWT", "PHDELWT", "", 0, 1)',
            ]
        else:
            opening.append(f"coot.handle_read_ccp4_map({file}, {int(is_difference)})")
    texts = {"groups": "\n".join(buttons), "opening": "\n".join(opening), "folder": _quoted(str(path.resolve().parent))}
    return COOT.format(version=jax_occupancy.__version__, **texts)


def chimerax_script(path: Path, *, refined: Path, maps: Iterable[Path]) -> str:
    """Commands for ChimeraX, which looks for files from the folder of the script on."""
    lines = []
    for number, one in enumerate(maps, start=2):
        file = _quoted(_from(path, one))
        if one.suffix == ".mtz":
            lines += [
                "# Maps of crystals need the bundle Clipper (Tools, More Tools)",
                f"open {file} structureModel #1",
            ]
        else:
            lines += [f"open {file}", f"volume #{number} style mesh sdLevel 3"]
    texts = {"model": _quoted(_from(path, refined)), "maps": "\n".join([*lines, ""])}
    return CHIMERAX.format(version=jax_occupancy.__version__, name=path.name, **texts)


def _from(script: Path, file: Path) -> str:
    """The name of a file, from the folder of the script if it is in there."""
    file, folder = file.resolve(), script.resolve().parent
    return str(file.relative_to(folder) if file.is_relative_to(folder) else file)


def _quoted(text: str) -> str:
    """A text in quotation marks, as Python (of any version) and ChimeraX take it."""
    return json.dumps(text, ensure_ascii=False)
