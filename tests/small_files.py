"""A model of one atom in the formats that tests write by hand."""

CRYST1 = "CRYST1   27.940   43.300   50.190  90.00  90.00  90.00 P 21 21 21    4"
ATOM = "ATOM      1  CA AALA A   1      11.000  12.000  13.000  0.50 10.00           C  "
ANISOU = "ANISOU    1  CA AALA A   1      100    200    300      0     10      0       C  "
MMCIF = {
    "_cell.length_a": "27.94",
    "_cell.length_b": "43.3",
    "_cell.length_c": "50.19",
    "_cell.angle_alpha": "90",
    "_cell.angle_beta": "90",
    "_cell.angle_gamma": "90",
    "_symmetry.space_group_name_H-M": "'P 21 21 21'",
    "_atom_site.group_PDB": "ATOM",
    "_atom_site.id": "1",
    "_atom_site.type_symbol": "C",
    "_atom_site.label_atom_id": "CA",
    "_atom_site.label_alt_id": "A",
    "_atom_site.label_comp_id": "ALA",
    "_atom_site.label_asym_id": "A",
    "_atom_site.label_seq_id": "1",
    "_atom_site.auth_seq_id": "1",
    "_atom_site.auth_asym_id": "A",
    "_atom_site.Cartn_x": "1.0",
    "_atom_site.Cartn_y": "2.0",
    "_atom_site.Cartn_z": "3.0",
    "_atom_site.occupancy": "0.5",
    "_atom_site.B_iso_or_equiv": "10.0",
    "_atom_site.pdbx_formal_charge": "0",
    "_atom_site.pdbx_PDB_model_num": "1",
    "_atom_site_anisotrop.id": "1",
    **{f"_atom_site_anisotrop.U[{i}][{j}]": "0.1" for i, j in ((1, 1), (2, 2), (3, 3), (1, 2), (1, 3), (2, 3))},
}


def mmcif_of(items):
    return "data_x\n" + "".join(f"{name} {value}\n" for name, value in items.items())
