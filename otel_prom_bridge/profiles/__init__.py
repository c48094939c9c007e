"""Profiles: one TOML file per dialect of metrics, and what it says.

A profile holds what an organisation decides once for all of its services: which families there are, what
their labels may say, which buckets and limits they have, and the instruments for what no instrumentation
records. It is data; whatever it says could be written as options, export views and instruments by hand.
"""

from otel_prom_bridge.profiles.instruments import Instruments, InstrumentSpec
from otel_prom_bridge.profiles.loading import BUILT_IN, GENERATION, PROFILES, load_profile
from otel_prom_bridge.profiles.profile import Family, Label, Present, Profile, Source

__all__ = [
    "BUILT_IN",
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
