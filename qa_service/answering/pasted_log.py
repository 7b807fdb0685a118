"""The entry that a pasted log asks for by itself, and whether a question says anything beside its log."""

from qa_service.model.diagnosis import Diagnosis
from qa_service.parsing import ParsedQuestion
from qa_service.parsing.text import simplify_chinese
from qa_service.patterns import lazy_pattern

_SAYS_NOTHING_MORE = lazy_pattern(
    r"(?>[\W\d_]"
    r"|\b(?:hi|hello|hey|all|guys|please|pls|plz|help|me|my|i|we|can|could|you|anyone|someone|tell|know|explain|see|look"
    r"|at|a|an|and|so|but|the|this|these|that|it|here|is|are|was|s|re|do|does|did|in|of|to|for|with|on|from|what|whats"
    r"|why|how|wrong|happen|happens|happened|happening|going|mean|means|problem|issue|log|logs|output|run|runs|training"
    r"|train|after|now|get|got|getting|have|having|ok|okay|normal|healthy|fine|thanks|thank|fix|should|there|any|idea"
    r"|ideas|below|following|suddenly)\b"
    r"|请问|请|各位|大家好?|大佬们?|求助|求救|求|救命|帮忙?|我|你|您|的|了|吗|呢|吧|啊|这个?|那个?|些|是|在|有|没有?|就|都|又|把|给"
    r"|看看?|一下|下面|以下|如下|上面|日志|输出|打印|训练|模型|跑|时候?|过程|出|现|问题|情况|怎么(?:回事|办|了|样)?|为什么|为何"
    r"|什么|原因|意思|哪里|错|毛病|不对|正常|健康|谁|能|可以|知道|解释|分析|然后|突然|谢谢|感谢|好|嘛|样|会|要|如何|解决)*+"
)
"""Matches the rest of a question that only asks what its log says, such as "hi all, please help"."""


def entry_of_log(diagnosis: Diagnosis | None, *, alone: bool) -> str:
    """The entry that a pasted log asks for by itself; "" where the words of the question decide.

    `alone` says whether nothing else is asked, see `asks_by_its_log_alone`.
    A certain cause is answered whatever the words are. A log without a question of its own is answered by its likely
    cause, else by what goes wrong in it: its lines look like those of many other runs, so they are not matched.
    """
    if diagnosis is None:
        return ""
    first = next(iter(diagnosis.hypotheses), None)
    if first and (first.certainty == "certain" or (alone and first.certainty == "likely")):
        return diagnosis.causes[first.cause].entry
    if not alone:
        return ""
    from qa_service.diagnosis.symptoms import symptom_entry  # as what made the diagnosis has

    return symptom_entry(diagnosis)


def asks_by_its_log_alone(question: ParsedQuestion) -> bool:
    """Whether there is nothing beside the log but words that ask what it says: "what is wrong here?"."""
    return question.log is not None and bool(_SAYS_NOTHING_MORE.fullmatch(simplify_chinese(question.log.prose).lower()))
