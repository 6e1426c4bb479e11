"""Classes from a handful of examples, and what to expect of them (seconds).

python examples/04_few_examples.py
"""

from matgraft.formulas.sklearn import PrototypeClassifier

METALS = ["Cu", "Ni3Al", "TiB2", "FeAl", "ZrN", "NbC"]
INSULATORS = ["NaCl", "MgO", "CaF2", "Al2O3", "SrTiO3", "LiNbO3"]
ASKED = ["KCl", "NiAl", "SrO", "Fe0.7Cr0.2Ni0.1", "C12H22O11"]

model = PrototypeClassifier().fit(METALS + INSULATORS, ["metal"] * len(METALS) + ["insulator"] * len(INSULATORS))
expected = model.expectation_
print(f"{expected.correct} of {expected.counted} examples are named rightly when they are left out")
for formula, kind, odds, strange in zip(
    ASKED, model.predict(ASKED), model.predict_proba(ASKED), model.none_of_these(ASKED), strict=True
):
    print(f"{formula:16} {kind:10} {odds.max():.0%}{'  none of these' if strange else ''}")
