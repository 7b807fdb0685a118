"""The class `RecurringLines`, which groups lines of a log by their shape and gives the rows of recurring shapes."""

from qa_service.parsing.logs.recurring import RecurringLines


def test_the_rows_are_the_same_when_they_are_asked_for_again():
    lines = RecurringLines()
    for number, text in enumerate(
        ["| loss | acc |", "| 0.9 | 0.1 |", "| 0.8 | 0.2 |", "error 0.5 at 3", "error 0.4 at 4"] * 2
    ):
        lines.keep(number, text)
    first = [row.text for row in lines.rows(None, has_loss=False)]
    assert first
    assert [row.text for row in lines.rows(None, has_loss=False)] == first
