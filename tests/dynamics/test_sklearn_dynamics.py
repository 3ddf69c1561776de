import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from rom.dynamics import (
    DMD,
    DiscreteOperatorInference,
    FourierLibrary,
    NeuralODE,
    OperatorInference,
    PolynomialLibrary,
    SINDy,
)

MODELS = [
    SINDy(threshold=0.0),
    OperatorInference(ridge=1e-9),
    DiscreteOperatorInference(ridge=1e-9),
    DMD(),
    NeuralODE(hidden=(4,), max_iter=2, random_state=0),
]


@parametrize_with_checks(MODELS)
def test_sklearn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("library", [PolynomialLibrary(3), PolynomialLibrary() + FourierLibrary()])
def test_libraries_are_cloned_and_reached_by_name(library):
    model = SINDy(library)
    copy = clone(model)
    assert copy.library is not library
    assert copy.library.names(["x"]) == library.names(["x"])
    nested = (
        "library__degree" if isinstance(library, PolynomialLibrary) else "library__first__degree"
    )
    assert model.set_params(**{nested: 5}).get_params()[nested] == 5
