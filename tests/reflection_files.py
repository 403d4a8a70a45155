"""Small MTZ files that tests of reflections write."""

import gemmi
import numpy as np

HKL = [(1, 1, 0), (0, 0, 4), (2, 1, 3), (5, 1, 2), (1, 2, 3), (3, 3, 3)]


def write_mtz(folder, columns, *, hkl=HKL, spacegroup="P 21 21 21", name="data.mtz", wavelengths=None):
    """An MTZ file with columns {label: (type, values, name of the data set if it matters)}."""
    mtz = gemmi.Mtz(with_base=True)
    mtz.spacegroup = gemmi.SpaceGroup(spacegroup)
    ids = {}
    for dataset in dict.fromkeys(column[2] if len(column) > 2 else "native" for column in columns.values()):
        added = mtz.add_dataset(dataset)
        added.wavelength = (wavelengths or {}).get(dataset, 0.0)
        ids[dataset] = added.id
    mtz.set_cell_for_all(gemmi.UnitCell(20, 30, 40, 90, 90, 90))
    table = [np.array(hkl, float)]
    for label, (kind, values, *dataset) in columns.items():
        mtz.add_column(label, kind, ids[dataset[0] if dataset else "native"])
        table.append(np.array(values, float).reshape(-1, 1))
    mtz.set_data(np.hstack(table).astype(np.float32))
    path = folder / name
    mtz.write_to_file(str(path))
    return path


def usual(amplitude="FP", sigma="SIGFP", free="FreeR_flag", *, flags=(0, 1, 1, 1, 1, 1)):
    return {
        amplitude: ("F", [10, 20, 30, 40, 50, 60]),
        sigma: ("Q", [1, 2, 3, 4, 5, 6]),
        free: ("I", flags),
    }
