"""The order of an entry's rows of causes: observed signs decide, and causes that they rule out come last."""

from qa_service.model import Distinction, Observation, Sign, Text
from qa_service.model.differential import rank, single_out


def row(name: str, signs: str = "", excluded_by: str = "") -> Distinction:
    """A row with signs separated by blanks."""
    return Distinction(
        see=Text(name, name), means=Text(name, name),
        signs=tuple(map(Sign.parse, signs.split())), excluded_by=tuple(map(Sign.parse, excluded_by.split())),
    )  # fmt: skip


def seen(*signs: str) -> list[Observation]:
    """Observations of these signs, as if read from a question."""
    return [Observation(sign=Sign.parse(sign), text=sign) for sign in signs]


ROWS = (
    row("step size", "when:later what:growing", excluded_by="tried:lower_lr when:first_step"),
    row("range", "in:float16 what:inf"),
    row("data", "when:first_step"),
)


def names(*signs: str) -> list[str]:
    return [each.row.see.en for each in rank(ROWS, seen(*signs))]


def test_without_observations_the_order_is_the_entrys():
    """Without observations, rows keep the order of the entry."""
    assert names() == ["step size", "range", "data"]


def test_what_was_observed_comes_first():
    """Two signs count more than one; a sign observed twice counts once."""
    assert names("when:first_step", "in:float16", "what:inf") == ["range", "data", "step size"]
    assert names("when:later", "what:growing", "in:float16", "in:float16") == ["step size", "range", "data"]


def test_what_is_ruled_out_comes_last_with_the_reason():
    ranked = rank(ROWS, seen("tried:lower_lr", "when:later", "what:growing"))
    assert [each.row.see.en for each in ranked] == ["range", "data", "step size"]
    assert [str(one.sign) for one in ranked[-1].excluded_by] == ["tried:lower_lr"]


def singled_out(*signs: str, about: str = "") -> str | None:
    found = single_out(rank(ROWS, seen(*signs)), list(map(Sign.parse, about.split())))
    return found.row.see.en if found else None


def test_two_signs_single_out_a_row():
    """A row is singled out by two signs that speak for it, if no other row has as many.

    A single sign does not suffice; signs that the entry itself is about do not count.
    """
    assert singled_out("in:float16", "what:inf") == "range"
    assert singled_out("in:float16") is None
    assert singled_out("in:float16", "what:inf", "when:later", "what:growing") is None
    assert singled_out("in:float16", "what:inf", about="what:inf") is None
    assert singled_out() is None


def test_what_is_ruled_out_is_not_singled_out():
    assert singled_out("when:later", "what:growing") == "step size"
    assert singled_out("when:later", "what:growing", "tried:lower_lr") is None


def test_what_makes_it_go_away_singles_out_a_row():
    ranked = rank((row("range", "fine:float32"), row("step size", "what:growing")), seen("fine:float32"))
    assert single_out(ranked, ()) == ranked[0]
    assert single_out((), ()) is None
