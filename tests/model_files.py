"""Lines of models that tests write by hand, PDB and mmCIF."""

CRYST1 = "CRYST1   27.940   43.300   50.190  90.00  90.00  90.00 P 21 21 21    4"


def pdb_line(
    name, altloc=" ", *, serial="1", record="ATOM", resname="ALA", chain="A", resseq=1, icode=" ", x=1.0,
    occupancy="  1.00", b=" 10.00", element="C", charge="",
):  # fmt: skip
    return (
        f"{record:<6}{serial:>5} {name:<4}{altloc}{resname:>3} {chain}{resseq:>4}{icode}   "
        f"{x:8.3f}{2:8.3f}{3:8.3f}{occupancy}{b}          {element:>2}{charge}"
    )


def anisou(atom_line, u11):
    return "ANISOU" + atom_line[6:28] + f"{u11:7d}{200:7d}{300:7d}{-10:7d}{20:7d}{30:7d}" + atom_line[70:]


def write_pdb(folder, lines, name="model.pdb"):
    path = folder / name
    path.write_text("\n".join([CRYST1, *lines, "END", ""]))
    return path


MMCIF = """data_x
_cell.length_a 27.94
_cell.length_b 43.30
_cell.length_c 50.19
_cell.angle_alpha 90
_cell.angle_beta 90
_cell.angle_gamma 90
_symmetry.space_group_name_H-M 'P 21 21 21'
loop_
_atom_site.group_PDB
_atom_site.id
_atom_site.type_symbol
_atom_site.label_atom_id
_atom_site.label_alt_id
_atom_site.label_comp_id
_atom_site.label_asym_id
_atom_site.label_seq_id
_atom_site.pdbx_PDB_ins_code
_atom_site.Cartn_x
_atom_site.Cartn_y
_atom_site.Cartn_z
_atom_site.occupancy
_atom_site.B_iso_or_equiv
_atom_site.pdbx_formal_charge
_atom_site.auth_seq_id
_atom_site.auth_asym_id
_atom_site.pdbx_PDB_model_num
"""
MMCIF_ROWS = [
    "ATOM   7 C CA A ALA A 1 ? 1.0 2.0 3.0 0.3333(4) 10.0 ? -5 LongA 1",
    "ATOM   3 C CA . SER A 2 B 2.0 2.0 3.0 1.00 11.0 ? 10 LongA 1",
    "ATOM   9 C CA B GLY A 1 ? 3.0 2.0 3.0 ? 12.0 ? -5 LongA 1",
    "HETATM 4 ZN ZN . ZN B . ? 4.0 2.0 3.0 . 13.0 2 201 LongA 1",
    "HETATM 5 O O . HOH C . ? 5.0 2.0 3.0 0.5 14.0 ? 301 LongA 1",
]


def write_mmcif(folder, rows=MMCIF_ROWS, *, header=MMCIF, tail="", name="model.cif"):
    path = folder / name
    path.write_text(header + "\n".join(rows) + "\n" + tail)
    return path
