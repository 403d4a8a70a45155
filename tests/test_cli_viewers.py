"""The scripts for Coot and ChimeraX: they are complete and call what these programs have."""

import ast
import dataclasses
import os
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from jax_occupancy.cli._viewers import chimerax_script, coot_script

# Of Coot's functions and their arguments those that a script may call.
COOT = {"read_pdb": 1, "make_and_draw_map": 6, "handle_read_ccp4_map": 2, "set_rotation_centre": 3}
# Of ChimeraX' commands.
CHIMERAX = {"open", "altlocs", "hide", "show", "style", "color", "key", "volume"}


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run a script with a stand-in for Coot, 0.9 or 1: the calls, and the list of buttons."""

    def run(text, *, version):
        calls, coot = [], types.ModuleType("coot")
        for name, count in COOT.items():

            def function(*given, name=name, count=count):
                assert len(given) == count
                calls.append((name, *given))

            setattr(coot, name, function)

        def dialog_box_of_buttons(title, size, buttons, close):
            assert [*map(type, (title, close, *size))] == [str, str, int, int]
            calls.append(("buttons", buttons))

        gui = types.ModuleType("coot_gui")
        gui.dialog_box_of_buttons = dialog_box_of_buttons
        monkeypatch.setitem(sys.modules, "coot", coot)
        monkeypatch.setitem(sys.modules, "coot_gui", gui if version == 1 else None)
        names = {} if version == 1 else {"dialog_box_of_buttons": dialog_box_of_buttons}
        monkeypatch.chdir(tmp_path)
        exec(compile(text, "script", "exec"), names)
        *opened, (kind, buttons) = calls
        assert kind == "buttons"
        calls.clear()
        return opened, buttons, calls

    return run


@pytest.mark.parametrize("version", [0.9, 1])
def test_coot_opens_model_and_maps_and_goes_to_the_groups(version, run, solution, example, tmp_path):
    folder = tmp_path / 'a "b" ö'
    folder.mkdir()
    files = {"refined": folder / "run.cif", "maps": {folder / "run_maps.mtz": False}}
    text = coot_script(folder / "run_coot.py", solution, example[0], **files)
    # Coot 0.9 has Python 2: no f-strings, a declared encoding
    assert text.startswith("# -*- coding: utf-8 -*-\n")
    assert not any(isinstance(node, ast.JoinedStr) for node in ast.walk(ast.parse(text)))
    opened, buttons, calls = run(text, version=version)
    maps = str(folder / "run_maps.mtz")
    assert opened == [
        ("read_pdb", str(folder / "run.cif")),
        ("make_and_draw_map", maps, "FWT", "PHWT", "", 0, 0),
        ("make_and_draw_map", maps, "DELFWT", "PHDELWT", "", 0, 1),
    ]
    assert len(buttons) == 17
    water = next(going for label, going in buttons if label.startswith("W/301/HOH   0.5"))
    water("the button")
    place = example[0].atoms.loc[example[0].atoms["resseq"] == 301, ["x", "y", "z"]].to_numpy()[0]
    [(name, *centre)] = calls
    assert name == "set_rotation_centre"
    np.testing.assert_allclose(centre, place, atol=1e-3)


def test_files_beside_the_script_are_found_where_it_was_moved_to(run, solution, example, tmp_path):
    files = {"refined": tmp_path / "run.cif", "maps": {}}
    text = coot_script(Path("elsewhere", "run_coot.py"), solution, example[0], **files)
    assert run(text, version=1)[0] == [("read_pdb", str(tmp_path / "run.cif"))]
    (tmp_path / "run.cif").touch()
    moved = coot_script(Path("lost", "run_coot.py"), solution, example[0], refined=Path("lost", "run.cif"), maps={})
    assert run(moved, version=1)[0] == [("read_pdb", "run.cif")]
    # a file of the same name where Coot was started is another one
    folder = tmp_path / "there"
    folder.mkdir()
    (folder / "run.cif").touch()
    text = coot_script(folder / "run_coot.py", solution, example[0], refined=folder / "run.cif", maps={})
    assert run(text, version=1)[0] == [("read_pdb", str(folder / "run.cif"))]


def test_what_needs_attention_is_on_top(run, solution, example, tmp_path):
    table = solution.table.copy()
    table.loc[3, "note"] = 'B fell by 4 Å²; "so"'
    table.loc[5, "note"] = "not supported: no"
    worst = table.drop(index=[3, 5]).sort_values("esd")["name"].iloc[-1]
    changed = dataclasses.replace(solution, table=table)
    maps = {tmp_path / "run_maps.mrc": True, tmp_path / "half1.mrc": False}
    text = coot_script(tmp_path / "s.py", changed, example[0], refined=tmp_path / "a.pdb", maps=maps)
    opened, buttons, _ = run(text, version=1)
    labels = [label for label, _ in buttons]
    assert labels[0].startswith(table.loc[5, "name"])
    assert labels[1].startswith(table.loc[3, "name"])
    assert labels[1].endswith('B fell by 4 Å²; "so"')
    assert labels[2].startswith(worst)
    assert opened[1:] == [("handle_read_ccp4_map", os.fspath(path), int(kind)) for path, kind in maps.items()]


@pytest.mark.parametrize("ending", [".mtz", ".mrc"])
def test_chimerax_opens_both_and_colours_by_occupancy(ending, tmp_path):
    files = {"refined": tmp_path / "run.cif", "maps": [tmp_path / f"run_maps{ending}"]}
    lines = chimerax_script(tmp_path / "run_chimerax.cxc", **files).splitlines()
    commands = [line for line in lines if not line.startswith("#")]
    assert {line.split()[0] for line in commands} <= CHIMERAX
    assert commands[0] == 'open "run.cif"'
    assert any(line.startswith("color byattribute occupancy ") for line in commands)
    opening = f'open "run_maps{ending}"'
    assert [line for line in commands if line.startswith(opening)] == [
        opening + (" structureModel #1" if ending == ".mtz" else "")
    ]
