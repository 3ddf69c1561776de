from __future__ import annotations

import re

import numpy as np
import pytest
from made_reports import bare, complete

import rom
import rom.compress
import rom.dynamics
from rom.base import Compressor, Dynamics
from rom.report.cite import CHECKS, OPTIONS, PARTS, STEPPERS, bibtex, entries, methods_used

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
    tables = (*PARTS.values(), *STEPPERS.values(), *(k for _, _, k in (*CHECKS, *OPTIONS)))
    keys = {"takens1981"}.union(*tables)
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
        assert re.fullmatch(r"10\.\d{4,5}/\S+", fields.get("doi", "10.1000/none"))
        assert entry.isascii()


def test_figures_of_a_check_call_for_their_sources():
    always = {"reliable time", "skill scores", "seasonal linear forecast"}
    assert set(methods_used(None, bare().data)) == always
    assert set(methods_used(None, complete().data)) == {words for _, words, _ in CHECKS}


@pytest.mark.parametrize(
    ("search", "keys"),
    [
        ("", set()),  # a linear model: eigenvalues tell
        ("trapping region", {"schlegel2015", "goulart2012", "goulart2024"}),
        ("basin", {"kramer2021", "goulart2024"}),
        ("trapping region, basin", {"schlegel2015", "goulart2012", "kramer2021", "goulart2024"}),
    ],
)
def test_proofs_are_cited_only_where_they_were_searched_for(search, keys):
    data = bare().data.assign_attrs(certificate="bounded", certificate_search=search)
    plain = set(methods_used(None, bare().data))
    used = {words: keys for words, keys in methods_used(None, data).items() if words not in plain}
    assert {key for keys in used.values() for key in keys} == keys


def fitted(dynamics):
    t = 0.1 * np.arange(30)
    return rom.ROM(rom.Identity(), dynamics).fit(np.c_[np.cos(t), np.sin(t)], t=t)


@pytest.mark.parametrize(
    ("dynamics", "words", "keys"),
    [
        (rom.SINDy(), None, None),
        (rom.SINDy(solver="sr3"), "sr3", ("zheng2019",)),
        (rom.SINDy(n_models=3, random_state=0), "ensemble of fits", ("fasel2022",)),
    ],
)
def test_what_a_model_is_asked_for_is_cited(dynamics, words, keys):
    used = methods_used(fitted(dynamics), bare().data)
    assert used["SINDy"] == ("brunton2016",)
    assert {words for _, words, _ in OPTIONS} & set(used) == {words} - {None}
    assert used.get(words) == keys


@pytest.mark.parametrize(
    ("dynamics", "around", "keys"),
    [
        (rom.OperatorInference("A"), {}, {"hairer1993"}),
        (rom.OperatorInference("A"), {"n_around": 200}, {"hairer1993", "dormand1980"}),
        (rom.OperatorInference.from_operators(A=[[-1e9]]), {}, {"krogstad2005", "balac2013"}),
        (rom.KernelModel(), {}, None),
    ],
)
def test_the_method_that_runs_it_is_cited(dynamics, around, keys):
    model = fitted(rom.OperatorInference("A"))
    if hasattr(dynamics, "n_features_in_"):
        model.dynamics_ = dynamics
    else:
        model = fitted(dynamics)
    used = methods_used(model, bare().data.assign_attrs(around)).get("Runge-Kutta method")
    assert (None if used is None else set(used)) == keys


@pytest.mark.parametrize("keys", [[], ["peng2016"], ["sirovich1987", "lumley1967"]])
def test_bibtex_holds_what_is_asked_for(keys):
    assert re.findall(r"^@\w+\{(\w+),", bibtex(keys), flags=re.MULTILINE) == sorted(keys)
