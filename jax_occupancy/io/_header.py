"""What a file says about the experiment."""

from collections.abc import Iterable

from gemmi import cif  # pyright: ignore[reportMissingModuleSource]  (compiled, has stubs)

_WORDS = {
    "electron": ("ELECTRON",),
    "neutron": ("NEUTRON", "NUCLEAR REACTOR", "SPALLATION"),
    "xray": (
        "X-RAY",
        "XRAY",
        "SYNCHROTRON",
        "ROTATING ANODE",
        "SEALED TUBE",
        "POWDER DIFFRACTION",
        "FIBER DIFFRACTION",
    ),
}
_ITEMS = (
    "_exptl.method",
    "_diffrn_radiation.pdbx_scattering_type",
    "_diffrn_radiation.probe",
    "_diffrn_source.source",
)
# In Å: electrons of 100 to 300 kV have 0.037 to 0.020, X-rays and neutrons of any crystallographer are longer.
_LONGEST_OF_ELECTRONS = 0.1


def radiations_in(texts: Iterable[str]) -> tuple[str, ...]:
    """The kinds of radiation that are spoken of.

    >>> radiations_in(["NEUTRON DIFFRACTION; X-RAY DIFFRACTION"]), radiations_in(["SOLUTION NMR"])
    (('neutron', 'xray'), ())
    """
    said = " ".join(texts).upper()
    return tuple(kind for kind, words in _WORDS.items() if any(word in said for word in words))


def radiations_of_block(block: cif.Block) -> tuple[str, ...]:
    """The kinds of radiation that a block of mmCIF states."""
    return radiations_in(cif.as_string(text) for item in _ITEMS for text in block.find_values(item))


def radiations_of_pdb(source: bytes) -> tuple[str, ...]:
    """The kinds of radiation that the EXPDTA records of a PDB file state."""
    return radiations_in(line.decode("latin-1") for line in source.split(b"\n") if line.startswith(b"EXPDTA"))


def radiation_of_wavelength(wavelength: float | None) -> str | None:
    """Electrons, if the wavelength in Å is too short for anything else."""
    return "electron" if wavelength is not None and wavelength < _LONGEST_OF_ELECTRONS else None
