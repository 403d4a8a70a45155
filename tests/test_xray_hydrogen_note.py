from jax_occupancy.xray import hydrogen_note


def test_only_without_hydrogens():
    note = hydrogen_note(["C", "N", "HG", "HO", "He"])
    assert note is not None
    assert note.startswith("The model has no hydrogens")
    assert hydrogen_note(["C", "h"]) is None
    assert hydrogen_note(["C", " D"]) is None
    assert hydrogen_note([]) is None
