"""Parses questions: language, parameters, observations, logs, single numbers, picks among candidates, follow-ups."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from qa_service.formula.mentions import Mention, find_mention
from qa_service.model import Lang, NamedValues, Observation, Part, Value
from qa_service.parse_cache import ParseCache
from qa_service.parsing.changes import Rescaling, Reseeding, asks_again, read_rescaling, read_reseeding
from qa_service.parsing.language import detect_language, is_other_language, language_shown, strip_tracebacks
from qa_service.parsing.logs import LogReading, read_log
from qa_service.parsing.numerals import numerals_to_digits
from qa_service.parsing.observations import SIGN_TABLES, observe_question, speaks_of_training
from qa_service.parsing.ordinals import parse_ordinal
from qa_service.parsing.parameters import PARAMETER_TABLES, Quantity, extract_parameters, single_quantity
from qa_service.parsing.particulars import PARTICULAR_TABLE, read_particulars
from qa_service.parsing.posts import code_of_post, read_post
from qa_service.parsing.spelling import correct_spelling
from qa_service.parsing.text import MAX_QUESTION_CHARS, check_text, nfkc, simplify_chinese, summarise_paste
from qa_service.patterns import lazy_pattern

_SHORT_WORDS, _REMARK_WORDS = 8, 16  # a Chinese character counts as a word
_ELLIPTICAL_START = lazy_pattern(
    r"^(?:那|换成|改成|改用|再|还有|如果|and\b|what about|how about|what if|but\b|with\b|in\b|now\b)"
    r"|\binstead\b"
)
_FAILURE_REPORT = lazy_pattern(
    r"(?:也|还是|还|都|依然|仍然?)(?:没有?|无)(?:什么)?(?:用|效果?|变化|改善)|(?:也|还是|依然|仍然?)不(?:行|管用"
    r"|起作用)$|试过了"
    r"|\b(?:does|did|do)(?: not|n['’]?t) (?:help|work|change anything)\b|\bno (?:effect|luck)\b|\bstill the same\b"
)
_REFERS_BACK = lazy_pattern(
    r"\b(?:it|its|this|that|these|those|they|them|also|too|either)\b|它|这个?|上面|刚才|前面|也"
)
_CONTENT = lazy_pattern(
    r"\b(?:and|but|if|it|is|isn|are|aren|not|t|that|this|they|so|what|how|about|then|does|doesn|do|don|with"
    r"|without|in|now)\b"
    r"|[那如果不是的话呢它这样又怎么样会\W]"
)
_AROUND_NUMBER = lazy_pattern(
    r"\b(?:and|but|if|it|is|what|how|about|with|in|now|then|or|ok|so|make|made|set|use|try|take|to|of|at|be|was|were|let|s|the"
    r"|a|an|instead|please|value|number|for|would|happens?|give|put|change|that|this|times|ones|factors|copies"
    r"|terms|numbers|multiples|items|them)\b"
    r"|[那如果是的话呢它要这样又怎么会换成改用取为到再把设试看值个次和变调]|\W"
)
_ASKS_FOR_MORE = lazy_pattern(
    r"(?:那么?|所以|可是|but|and|so|ok)?[,\s]*(?:为什么(?:呢|会这样)?|怎么(?:办|做|解决|改)(?:呢)?|还有(?:别的"
    r"|其他|什么)?(?:的)?(?:办法|方法|原因|可能)?"
    r"|(?:能|可以)?(?:再)?(?:详细|具体)一?点?(?:说明?|讲|解释)?一?下?|举个例子|然后呢|没看?懂|不懂|什么意思"
    r"|why|how(?: so)?|what else|anything else|more details?|(?:can you )?explain(?: more)?|i do(?:n['’]?t"
    r"| not) (?:understand|get it)"
    r"|go on|and then|such as|for example|what (?:should|can|do) i do(?: now| next)?)(?:吗|呢)?[\s.!?。]*"
)
_ASKS_WHY = lazy_pattern(
    r"(?:那么?|所以|可是|but|and|so|ok)?[,\s]*(?:为什么(?:呢|会这样)?|(?:能|可以)?(?:再)?(?:详细|具体)一?点?(?:说明?|讲|解释)?一?下?"
    r"|没?看?懂|不懂|什么意思|原理(?:是什么)?|怎么(?:理解|解释)|why(?: (?:is that|so))?|how so"
    r"|(?:can you |please )?explain(?: more| why| that| it)?|more details?|i do(?:n['’]?t| not) (?:understand|get it))"
    r"(?:吗|呢)?[\s.!?。]*"
)
_ASKS_WHAT_TO_DO = lazy_pattern(
    r"(?:那么?|所以|可是|但是?|but|and|so|ok)?[,\s]*(?:(?:那|我)?(?:该|应该|要)?怎么(?:办|做|解决|改|修)(?:才好)?|有什么(?:办法|解法)"
    r"|what (?:should|can|do) i do(?: now| next| about it)?"
    r"|how (?:do|can|should) i (?:fix|solve|avoid|cure) (?:it|this|that)"
    r"|how to (?:fix|solve|avoid) (?:it|this|that))(?:吗|呢)?[\s.!?。]*"
)
_ASSIGNMENTS = lazy_pattern(
    r"(?:那|把|再|用|取|试试|设|now|and|with|set|try|what about|let)?\s*"
    r"(?:(?:[a-z][a-z_]{0,14}\s*(?:=|:)|(?:lr|std|mean|var|rho|clip|layers|width|hidden|batch|classes|epochs)(?= ))"
    r"\s*[-+]?[\d.]+(?:e[-+]?\d+)?\s*(?:,|;|、|and|和)?\s*)+(?:呢|试试)?[\s?.!。]*"
)
_ONLY = lazy_pattern(r"(?:it(?:['’]s| is| happens)? )?(?:only|just)\b|[就仅]?只有?在?")
_SETTINGS_IN_CODE = ("lr", "dtype")
_SETTING_KINDS = frozenset({"in", "fine", "tried", "when"})
_THANKS = lazy_pattern(
    r"(?:(?:非常|太|十分|真的?)?(?:感谢|谢谢|多谢|谢啦|谢了)(?:你|您|啦|了|大佬|老师|解答|回答|帮助)*|明白了?|懂了"
    r"|知道了|了解了?|好的?|收到|太好了"
    r"|解决了|好了|可以了|搞定了?|(?:many )?thanks?(?: you)?(?: (?:so|very) much| a lot)?|thx|got it|i see"
    r"|ok(?:ay)?|great|perfect|awesome"
    r"|cool|that (?:works|worked|helps|helped|did it|fixed it|solved it)|it works(?: now)?|solved|very helpful"
    r"|cheers|[\s,.!~。…]|and|now)+"
)
_THANKS_WORD = lazy_pattern(
    r"感谢|谢谢|多谢|谢啦|谢了|辛苦(?:啦|了)|(?<![a-z])(?:thanks|thank you|thx|cheers|much appreciated)(?![a-z])"
)
_UNDERSTOOD = lazy_pattern(
    r"(?:明白|懂|知道|了解|清楚)了\s*[,，。!！~]|(?:got it|i see|understood|makes sense)\s*[,.!]"
)
_TRAILING_PARTICLE = lazy_pattern(r"呢\s*[?？]?$")
_QUESTION_WORD = lazy_pattern(
    r"怎|什么|为何|如何|哪|几|多少|是不是|能不能|会不会|要不要|可以|\b(?:why|how|what|which)\b"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedQuestion:
    """A parsed question."""

    text: str
    """Normalised, as it is matched."""
    lang: Lang
    params: NamedValues
    """The parameters it names, by the names that all experiments share; not checked against any bounds."""
    observations: tuple[Observation, ...]
    """What it says about a run, each sign once."""
    particulars: tuple[Observation, ...] = ()
    """The tools, losses, operations and data that it names; they choose the clue and do not help to find the entry."""
    log: LogReading | None
    """The log that is pasted into it; None if there is none."""
    number: Quantity | None
    """Its only number, with the unit; None if it has none or several."""
    choice: int | None
    """The candidate it picks, from 1, or -1 for the last; None if it says anything else."""
    mention: Mention | None = None
    """The formulas whose values it asks for; None if it asks for none."""
    corrected: Mapping[str, str] = field(default_factory=dict)
    """The terms that it misspells: as written → the term."""
    is_foreign: bool = False
    """Whether it is in a language that is neither Chinese nor English."""
    rescaling: Rescaling | None = None
    """That a number is to be larger or smaller than before, if it asks for nothing else."""
    reseeding: Reseeding | None = None
    """The seeds that it asks for, if for nothing else."""

    @property
    def is_elliptical(self) -> bool:
        """Whether it is incomplete without the question before it: "and in float16?", "那换成加法呢"."""
        text = self.text.lower()
        return bool(
            _ELLIPTICAL_START.search(text) or (_TRAILING_PARTICLE.search(text) and not _QUESTION_WORD.search(text))
        )

    @property
    def reports_failure(self) -> bool:
        """Whether it only reports that a remedy did not help: "调小学习率也没用"."""
        text = self.text.lower()
        return (
            self._word_count <= _REMARK_WORDS and bool(_FAILURE_REPORT.search(text)) and not _QUESTION_WORD.search(text)
        )

    @property
    def refers_back(self) -> bool:
        """Whether it asks for more, or speaks of something named before: "does it also help?", "为什么呢"."""
        return bool(_REFERS_BACK.search(self.text.lower())) or self.asks_for_more

    @property
    def has_no_subject(self) -> bool:
        """Whether it is nothing but words that refer, or a number: "and if it isn't?", "0.9?"."""
        if self.number is not None and len(self.number.words) + 2 >= len(self.text):
            return True
        if self.reseeding or asks_again(self.text.lower()) or _ASSIGNMENTS.fullmatch(self.text.lower()):
            return True
        return self.is_elliptical and not _CONTENT.sub("", self.text.lower()).strip()

    @property
    def is_bare_number(self) -> bool:
        """Whether it names a number and not what it is a number of: "0.9?", "那换成 300 呢"."""
        if self.number is None:
            return False
        around = numerals_to_digits(self.text.lower()).replace(self.number.words, " ", 1)
        return not _AROUND_NUMBER.sub("", around).strip()

    @property
    def names_another(self) -> bool:
        """Whether it asks the same of another thing of a training run: "那学习率呢", "what about the weights?"."""
        text = self.text.lower()
        asks = text.startswith("what about") or _TRAILING_PARTICLE.search(text)
        return self.is_short and bool(asks) and speaks_of_training(text)

    @property
    def asks_for_more(self) -> bool:
        """Whether it says nothing but that it wants to know more: "为什么呢", "what else?"."""
        return bool(self.asked_part) or bool(_ASKS_FOR_MORE.fullmatch(self.text.lower()))

    @property
    def asked_part(self) -> Part | None:
        """The part of an answer that it asks for and nothing else: "why?", "那怎么办"; None for any other."""
        text = self.text.lower()
        return "why" if _ASKS_WHY.fullmatch(text) else "do" if _ASKS_WHAT_TO_DO.fullmatch(text) else None

    @property
    def says_only_where(self) -> bool:
        """Whether it only says when, in what setting or after what remedies it happens: "only in fp16"."""
        kinds = {each.sign.kind for each in self.observations}
        named = kinds - {"in"} or _ONLY.match(self.text.lower())
        return bool(named) and kinds <= _SETTING_KINDS and not self.log and self.is_remark and "?" not in self.text

    @property
    def is_thanks(self) -> bool:
        """Whether it only says thanks, or that all is clear now: nothing of a run, and no question."""
        text = self.text.lower()
        complains = any(each.sign.kind != "fine" for each in self.observations)
        if complains or self.params or self.log or not self.is_remark or "?" in text:
            return False
        return bool(_THANKS.fullmatch(text) or _THANKS_WORD.search(text) or self._begins_with_understanding)

    @property
    def _begins_with_understanding(self) -> bool:
        """Whether it begins with words that all is clear and names nothing of a training: "懂了，明天考试加油"."""
        text = self.text.lower()
        return bool(_UNDERSTOOD.match(text)) and not self.observations and not speaks_of_training(text)

    @property
    def is_short(self) -> bool:
        """Whether it has at most 8 words or Chinese characters."""
        return self._word_count <= _SHORT_WORDS

    @property
    def is_remark(self) -> bool:
        """Whether it has at most 16 words or Chinese characters and asks nothing: "训练到一半才出现的"."""
        return self._word_count <= _REMARK_WORDS and not _QUESTION_WORD.search(self.text.lower())

    @property
    def _word_count(self) -> int:
        return len(re.findall(r"[\u3400-\u9fff]|[\w.^-]+", self.text))


def parse_question(question: str, lang: Lang | None = None, conversation: Lang | None = None) -> ParsedQuestion:
    """Parse a question. `lang` overrides its language, `conversation` is that of a question which shows none.

    Raises `EmptyQuestion`, `QuestionTooLong` or `BadText`.
    """
    check_text(question)
    log = read_log(question)
    unabridged = nfkc(question)
    prose = unabridged if log is None else nfkc(log.prose)
    text = normalise(question)
    text, corrected = correct_spelling(text) if log is None else (text, {})
    lower = (text if log is None else normalise(prose)).lower()
    choice = parse_ordinal(lower)
    observations = observe_question(question, log)
    return ParsedQuestion(
        text=text,
        lang=lang or language_shown(strip_tracebacks(prose)) or conversation or language_shown(unabridged) or "en",
        params={} if choice else _settings(prose, log) | _in_use(extract_parameters(lower), observations),
        observations=observations,
        particulars=read_particulars(question),
        log=log,
        number=None if choice else single_quantity(lower),
        choice=choice,
        mention=None if log or choice else find_mention(simplify_chinese(question)),
        corrected=corrected,
        is_foreign=is_other_language(strip_tracebacks(prose)),
        rescaling=None if log or choice else read_rescaling(lower),
        reseeding=None if log or choice else read_reseeding(lower),
    )


def recall_patterns(parsed: ParseCache) -> None:
    """Take over what `parsed` holds of the patterns that questions are read with; the rest is found, and held there."""
    for table in (*SIGN_TABLES, *PARAMETER_TABLES, PARTICULAR_TABLE):
        table.recall(parsed)


def _in_use(params: NamedValues, observations: Sequence[Observation]) -> dict[str, Value | tuple[Value, ...]]:
    """The parameters, without formats in which all is well if another one is named.

    "nan in float16, float32 is fine" asks about float16.
    """
    fine = {each.sign.value for each in observations if each.sign.kind == "fine"}
    dtypes = params.get("dtype")
    kept = tuple(each for each in dtypes if each not in fine) if isinstance(dtypes, tuple) else ()
    return {**params, **({"dtype": kept if len(kept) > 1 else kept[0]} if kept else {})}


def _settings(prose: str, log: LogReading | None) -> dict[str, Value | tuple[Value, ...]]:
    """The parameters that code or a log shows: settings of the run, not its counters, shapes and measurements."""
    code = code_of_post(prose)
    in_code = extract_parameters(simplify_chinese(code).lower()) if code else {}
    shown = {"lr": log.lr, "classes": log.classes} if log else {}
    settings = {name: in_code.get(name) for name in _SETTINGS_IN_CODE} | shown
    return {name: value for name, value in settings.items() if value is not None}


def normalise(text: str) -> str:
    """The text as it is encoded and classified; applied to questions and to phrasings alike."""
    return simplify_chinese(summarise_paste(read_post(nfkc(text))))


__all__ = [
    "MAX_QUESTION_CHARS",
    "ParsedQuestion",
    "Quantity",
    "check_text",
    "detect_language",
    "normalise",
    "parse_question",
]
