"""From an atom table to sharing groups and the sets that exclude each other."""

from jax_occupancy.groups._choose import automatic_groups, choose_groups
from jax_occupancy.groups._grouping import Group, Grouping, GroupSet, owners, whole_sets
from jax_occupancy.groups._hydrogens import hydrogens_on
from jax_occupancy.groups._naming import listing
from jax_occupancy.groups._phenix import format_phenix, parse_phenix
from jax_occupancy.groups._refmac import format_refmac, parse_refmac
from jax_occupancy.groups._saying import describe_groups
from jax_occupancy.groups._servalcat import format_servalcat, parse_servalcat
from jax_occupancy.groups._toml import format_toml, parse_toml
from jax_occupancy.groups._user import UserGroup, UserGroups, UserSet, parse_state

__all__ = [
    "Group",
    "GroupSet",
    "Grouping",
    "UserGroup",
    "UserGroups",
    "UserSet",
    "automatic_groups",
    "choose_groups",
    "describe_groups",
    "format_phenix",
    "format_refmac",
    "format_servalcat",
    "format_toml",
    "hydrogens_on",
    "listing",
    "owners",
    "parse_phenix",
    "parse_refmac",
    "parse_servalcat",
    "parse_state",
    "parse_toml",
    "whole_sets",
]
