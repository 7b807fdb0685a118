"""The text of an answer: the entry's text with measured numbers filled in, or a sentence that none was found."""

from collections.abc import Sequence

from qa_service.model import PLACEHOLDER, Answer, AnswerStatus, Entry, Evidence, Lang, RunStatus, Subject, Text
from qa_service.presentation.numbers import format_number

_NOT_MEASURED_YET = "…"
_NOT_MEASURED = Text("（没有测得）", "(not measured)")
_DID_NOT_RUN = Text(
    "实验“{}”没有跑完，所以文中缺少它的数。", "The experiment “{}” did not finish, so its numbers are missing here."
)
_NOT_COVERED = Text(
    "numstab 的知识库里没有这个问题的答案。它只讲深度学习里的数值稳定性；下面是最接近的几个问题：",
    "The knowledge base of numstab does not cover this. It is about numerical stability in deep learning; "
    "the nearest questions in it are:",
)
_CLARIFY = Text(
    "这句话可能是在问下面几个不同的问题，你指的是哪一个？", "This could mean different things. Which one do you mean?"
)


_ACKNOWLEDGED = Text(
    "不客气。还有别的现象或数字，接着发就行。", "You are welcome. Should anything else turn up, send it along."
)


def answer_text(answer: Answer) -> str:
    """The answer as markdown in its language."""
    if answer.status is AnswerStatus.ACKNOWLEDGED:
        return _ACKNOWLEDGED[answer.lang]
    if answer.entry is not None:
        missing = [one.experiment.title[answer.lang] for one in answer.evidence if one.run.status is not RunStatus.RAN]
        failures = [_DID_NOT_RUN[answer.lang].format(title) for title in missing]
        return "\n\n".join([fill_placeholders(answer.entry, answer.evidence, answer.lang), *failures])
    opening = _CLARIFY if answer.status is AnswerStatus.CLARIFY else not_covered_text(answer.subject)
    nearest = "\n".join(f"- {match.entry.question[answer.lang]}" for match in answer.matches[:3])
    return f"{opening[answer.lang]}\n\n{nearest}"


def not_covered_text(subject: Subject | None) -> Text:
    """The opening sentence for a question that is not covered; names its subject where it is known."""
    if subject is None:
        return _NOT_COVERED
    return Text(
        f"这像是在问{subject.name.zh}，numstab 的知识库不涵盖它：这里只讲深度学习里的数值稳定性。最接近的几个问题是：",
        f"This seems to be about {subject.name.en}, which numstab does not cover: its knowledge base is about "
        "numerical stability in deep learning. The nearest questions in it are:",
    )


def fill_placeholders(entry: Entry, evidence: Sequence[Evidence], lang: Lang) -> str:
    """The entry's answer with each [[block.name]] replaced by that metric or parameter; "…" if not measured yet."""
    values = {
        f"{block.id}.{name}": format_number(value, lang)
        for block in entry.evidence
        for name, value in block.params.items()
    }
    for one in evidence:
        if one.variant == 0:  # of a comparison, the text quotes the first run
            values |= placeholder_values(one, lang)
    return PLACEHOLDER.sub(lambda found: values.get(f"{found[1]}.{found[2]}", _NOT_MEASURED_YET), entry.answer[lang])


def placeholder_values(evidence: Evidence, lang: Lang) -> dict[str, str]:
    """Placeholder name "block.name" → its text: parameters and metrics; "not measured" where the run did not finish."""
    values = {name: format_number(value, lang) for name, value in evidence.params.items()}
    for name in evidence.experiment.metrics:
        ran = evidence.run.status is RunStatus.RAN
        values[name] = format_number(evidence.run.measured.get(name), lang) if ran else _NOT_MEASURED[lang]
    return {f"{evidence.block}.{name}": value for name, value in values.items()}
