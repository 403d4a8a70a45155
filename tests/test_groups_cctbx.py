"""phenix selections beside those of cctbx, atom for atom."""

import json
import random
import subprocess

import pytest
from test_xray_structure_factors import cctbx_python

from jax_occupancy.groups import automatic_groups, choose_groups, format_phenix, parse_phenix
from jax_occupancy.groups._phenix_selection import PhenixSelections
from jax_occupancy.groups._table import AtomTable
from jax_occupancy.io import atoms_within, read_model

MODELS = ("1g8a_multiconformer.pdb", "1orc.pdb", "1pfe.cif.gz", "4ms6.pdb", "4xof.pdb", "5i55.cif", "x3200.pdb")
CCTBX = """
import json, sys, iotbx.pdb
read = iotbx.pdb.input(file_name=sys.argv[1])
hierarchy, settings = read.construct_hierarchy(), read.crystal_symmetry().special_position_settings()
cache, atoms = hierarchy.atom_selection_cache(special_position_settings=settings), hierarchy.atoms()
places = [[*(round(x, 3) for x in a.xyz), a.name.strip(), a.parent().altloc.strip()] for a in atoms]
found = [list(cache.iselection(text)) for text in json.load(sys.stdin)]
json.dump([places, found], sys.stdout)
"""
EDGES = """
not water|hetero|hetatm|element C|name ' CA '|name 'CA'|resname HOH|resname ' ZN'|altloc ' '|altid A
icode ' '|not altloc ' ' and not water|name C*|name ?A|name *B*|name [CN]A|name C[^A]*|name O5'|name H5''
resseq 5*|resseq 1:|resseq :20|resid 10:12|resid 10 : 12|resseq 10: 12|resid 5 through 9|resi 7 through 9999
(chain A or chain B) and not (name CA or name N)|chain A or chain B name CA|chain A altloc B|element BR or water
not chain A or chain B|all|none|name ca and CHAIN A|resname ala|nucleotide and name P|icode A
not chain A not water|single_atom_residue|bfactor > 30|bfactor<20 and water|occupancy = 1|occupancy < 0.6 or water
within(3.5, resseq 11) and water|residues_within(4, hetero and not water)|within (2.0, (resseq 10 or water) and chain A)
not within(6, element S) and name CA|segid ' '|segid "    "|segid PROA|optional chain QQ|pepnames and name CA
"""


def labels_of(atoms):
    """Values that selections may ask for, quoted where they must be."""
    return {
        key: [f"{value}" if str(value).isalnum() else f'"{value or " "}"' for value in atoms[column].unique()]
        for key, column in (("chain", "chainid"), ("altloc", "altloc"), ("element", "element"))
    } | {
        "resname": atoms["resname"].unique().tolist(),
        "name": atoms["name"].unique().tolist(),
        "icode": ["' '", "A"],
    }


def random_selections(atoms, n):
    """Random expressions of the labels of a model."""
    rng = random.Random(n)
    labels, numbers = labels_of(atoms), sorted(set(atoms["resseq"]))

    def operand():
        key = rng.choice([*labels, "number", "number", "word"])
        if key == "word":
            return rng.choice(
                ["water", "hetero", "all", "none", "altid A", "name C*", "name *1", "resname A*", "name ?A"]
            )
        if key != "number":
            return f"{key} {rng.choice(labels[key])}"
        low, high = sorted(rng.choices(numbers, k=2))
        ranges = [f"{low}:{high}", f"{low}:", f":{high}", f"{low}", f" {low} : {high}"]
        through = f"resid {low} through {high}"
        return rng.choice([f"resseq {rng.choice(ranges)}", f"resid {rng.choice(ranges)}", through])

    def expression(depth):
        if depth == 0 or rng.random() < 0.2:
            return operand()
        left, right = expression(depth - 1), expression(depth - 1)
        made = rng.choice([f"{left} and {right}", f"{left} or {right}", f"({left}) and ({right})", f"{left} {right}"])
        return rng.choice([made, made, f"not ({made})", f"({made})"])

    return [expression(rng.choice([0, 1, 2, 3])) for _ in range(n)]


def asked_of_cctbx(path, selections, model):
    """For each selection the positions in our table of the atoms that cctbx finds."""
    python = cctbx_python()
    run = subprocess.run([python, "-c", CCTBX, str(path)], input=json.dumps(selections), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    places, found = json.loads(run.stdout)
    xyz = model.atoms[["x", "y", "z"]].round(3).to_numpy().tolist()
    ours = zip(xyz, model.atoms["name"], model.atoms["altloc"], strict=True)
    position = {(*place, name, letter): i for i, (place, name, letter) in enumerate(ours)}
    order = [position[tuple(place)] for place in places]
    return [sorted(order[i] for i in one) for one in found]


@pytest.mark.parametrize("name", MODELS)
def test_selections_match_the_atoms_that_cctbx_finds(data_dir, name):
    model = read_model(data_dir / name)
    edges = EDGES.strip().replace("\n", "|").split("|")
    selections = [*edges, *random_selections(model.atoms, 300)]
    if model.format == "mmcif":
        # cctbx ends a stretch at a TER record, which mmCIF has not; ours end at the same place in both.
        selections = [text for text in selections if "through" not in text]
    assert len(selections) >= 200
    theirs = asked_of_cctbx(data_dir / name, selections, model)
    ours = PhenixSelections(AtomTable(model.atoms), lambda atoms, distance: atoms_within(model, atoms, distance))
    found = [ours.select(text).tolist() for text in selections]
    different = [text for text, a, b in zip(selections, found, theirs, strict=True) if a != b]
    assert not different
    assert sum(map(bool, theirs)) > 100


@pytest.mark.parametrize("name", MODELS)
def test_cctbx_finds_our_groups_by_what_we_write(data_dir, name):
    model = read_model(data_dir / name)
    grouping = automatic_groups(model.atoms)
    user = parse_phenix(format_phenix(grouping, model.atoms))
    selections = [text.removeprefix("phenix: ") for group in user.groups.values() for text in group.selection]
    theirs = asked_of_cctbx(data_dir / name, selections, model)
    assert sorted(theirs) == sorted(group.atoms.tolist() for group in grouping.groups if group.refinable)
    again = choose_groups(model.atoms, user, select=None)
    assert {(g.name, *g.atoms.tolist(), g.start) for g in again.groups} == {
        (g.name, *g.atoms.tolist(), g.start) for g in grouping.groups
    }
