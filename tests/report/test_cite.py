from __future__ import annotations

import re

import pytest
from made_reports import bare, complete

import rom.compress
import rom.dynamics
from rom.base import Compressor, Dynamics
from rom.report.cite import CHECKS, PARTS, bibtex, entries, methods_used

UNCITED = {"Identity"}  # does nothing


def test_every_method_has_its_sources_and_every_source_its_method():
    classes = {
        name
        for package in (rom.compress, rom.dynamics)
        for name in package.__all__
        if isinstance(made := getattr(package, name), type)
        and issubclass(made, Compressor | Dynamics)
    }
    assert set(PARTS) == classes - UNCITED
    keys = {"dormand1980", "hairer1993", "takens1981"}.union(
        *PARTS.values(), *(keys for _, _, keys in CHECKS)
    )
    assert set(entries()) == keys


def test_entries_are_whole_and_in_order():
    found = entries()
    assert list(found) == sorted(found)
    for key, entry in found.items():
        assert entry.startswith("@")
        assert entry.count("{") == entry.count("}")
        fields = dict(re.findall(r"^  (\w+) = \{(.*)\},?$", entry, flags=re.MULTILINE))
        assert {"author", "title", "year"} <= set(fields)
        assert len(fields) == entry.count("\n") - 1
        assert fields["year"] in key
        assert entry.isascii()


def test_figures_of_a_check_call_for_their_sources():
    assert set(methods_used(None, bare().data)) == {"reliable time", "skill scores"}
    assert set(methods_used(None, complete().data)) == {words for _, words, _ in CHECKS}


@pytest.mark.parametrize("keys", [[], ["peng2016"], ["sirovich1987", "lumley1967"]])
def test_bibtex_holds_what_is_asked_for(keys):
    assert re.findall(r"^@\w+\{(\w+),", bibtex(keys), flags=re.MULTILINE) == sorted(keys)
