"""Profiles: dialects of metrics, each of which is one TOML file.

A profile holds what an organisation decides once for all of its services: which families there are, what
their labels may say, which buckets and limits they have, and which instruments there are for what no
instrumentation records. A profile is data. Everything that it says could also be written by hand, as
options, export views and instruments.
"""

from otel_prom_bridge.profiles.loading import BUILT_IN, GENERATION, PROFILES, load_profile
from otel_prom_bridge.profiles.own_instruments import Instruments, InstrumentSpec
from otel_prom_bridge.profiles.profile import Budget, Family, Label, Present, Profile, Source

__all__ = [
    "BUILT_IN",
    "Budget",
    "GENERATION",
    "PROFILES",
    "Family",
    "InstrumentSpec",
    "Instruments",
    "Label",
    "Present",
    "Profile",
    "Source",
    "load_profile",
]
