import json

import pytest

from matgraft.core.files import to_json
from matgraft.core.findings import Action
from matgraft.core.verdict import EXIT_WORSE, TONES, Caution, Damage, Outcome, Reason, Use, Verdict, worst_exit_code


def caution(code: str, damage: Damage) -> Caution:
    return Caution(code=code, damage=damage, text=f"text of {code}")


def test_a_verdict_reads_itself_back() -> None:
    whole = Verdict(
        outcome=Outcome.MIXED,
        against="the foundation",
        headline="Energy 7.6 instead of 40.1 meV/atom.",
        reasons=(Reason(about="energy", speaks="for", text="Energy: better."),),
        cautions=(
            Caution(
                code="forgetting", damage=Damage.HARM, text="moved", actions=(Action(settings={"replay.size": 32}),)
            ),
        ),
        fit_for=(Use(use="barriers"),),
        not_fit_for=(Use(use="pressures", reason="stress was not trained"),),
        chosen="full was kept",
    )
    content = json.loads(to_json(whole.model_dump(mode="json")))
    assert (content["level"], content["tone"], content["exit_code"]) == ("mixed", "caution", 0)
    assert Verdict.model_validate(content) == whole


@pytest.mark.parametrize(
    ("outcome", "level"),
    [
        (Outcome.BETTER, "better than the foundation"),
        (Outcome.WORSE, "worse than the foundation"),
        (Outcome.NO_BETTER, "no better than the foundation"),
        (Outcome.RESERVED, "better on the test, with reservations"),
        (Outcome.UNDECIDED, "undecided"),
    ],
)
def test_the_level_names_the_baseline_where_it_reads_on(outcome: Outcome, level: str) -> None:
    assert Verdict(outcome=outcome, against="the foundation", headline="").level == level


def test_every_outcome_has_a_tone_and_only_the_bad_and_the_unjudged_an_exit_code() -> None:
    assert set(TONES) == set(Outcome)
    codes = {outcome: Verdict(outcome=outcome, headline="").exit_code for outcome in Outcome}
    assert {outcome: code for outcome, code in codes.items() if code} == {
        Outcome.WORSE: 6,
        Outcome.WORSE_FOR_SOME: 6,
        Outcome.NOT_FIT: 1,
        Outcome.UNJUDGED: 6,
    }
    assert worst_exit_code(Verdict(outcome=outcome, headline="") for outcome in Outcome) == EXIT_WORSE
    assert worst_exit_code([]) == 0


def test_the_gravest_caution_comes_first_and_equals_keep_their_order() -> None:
    cautions = (
        *(caution("proportions", Damage.NOTE), caution("few-groups", Damage.DOUBT)),
        *(caution("forgetting", Damage.HARM), caution("validation", Damage.HARM)),
    )
    judged = Verdict(outcome=Outcome.RESERVED, headline="", cautions=cautions)
    assert [one.code for one in judged.cautions] == ["forgetting", "validation", "few-groups", "proportions"]
    assert judged.first is judged.cautions[0]
    assert Verdict(outcome=Outcome.BETTER, headline="", cautions=cautions[:1]).first is None
