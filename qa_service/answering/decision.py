"""Decides which entry answers and which experiments run; pure functions of question, matches and conversation."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from qa_service.answering import calculating, chips, followups
from qa_service.answering.knowledge import Knowledge
from qa_service.answering.pasted_log import asks_by_its_log_alone, entry_of_log
from qa_service.answering.planning import PlannedRun, check_requested_parameters, plan_runs
from qa_service.errors import BadField
from qa_service.formula.dtypes import FLOAT_DTYPES
from qa_service.formula.mentions import Mention
from qa_service.model import (
    MAX_CANDIDATES,
    MAX_SEEDS,
    AnswerStatus,
    Calculation,
    Context,
    Entry,
    FoundClue,
    Lang,
    Match,
    NamedValues,
    Observation,
    Part,
    Request,
    Subject,
    Text,
    find_clue,
)
from qa_service.model.diagnosis import Diagnosis
from qa_service.model.formula import FORMULA_EXPERIMENT
from qa_service.parsing import ParsedQuestion
from qa_service.parsing.logs import describe_log
from qa_service.retrieval.matcher import RUNNER_UP_SHARE, MatchResult

AMBIGUITY_MARGIN = 0.01
"""Two matches whose probabilities are nearer than this are equally likely."""
MAX_ALTERNATIVES = 2
CLEAR_MATCH = 0.8
"""Probability from which on a short question is understood without the conversation before it."""
OTHER_LANGUAGE_NOTE = Text(
    "numstab 只懂中文和英文；这句话按意思去找，用中文回答。",
    "numstab knows Chinese and English only: this was matched by its meaning and is answered in English.",
)
CONTRADICTION_NOTE = Text(
    "这两处互相矛盾：“{first}”（第一步就出现）和“{later}”（训练一段时间后才出现）。划掉不对的那个再问。",
    "Two things you say contradict each other: “{first}” (at the first step) and “{later}” (after a while). Strike out "
    "the one that is not so.",
)
NO_CONTEXT_NOTE = Text(
    "这句话像是接着上文问的，可是没有上文：它说的是哪个问题？",
    "This seems to follow a question, but none came before it: what does it refer to?",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """An answer before anything has run.

    `matches` are the nearest entries, best first; `params` what the question, its context and the request say about
    parameters; `observations` what the question says about a run; `used_by` what uses each of them, see `chips`;
    `runs` everything that will be measured, in order, or () for a request that runs nothing and names no parameter;
    `notes` what was assumed, clamped or left out.
    """

    status: AnswerStatus
    lang: Lang
    entry: Entry | None
    matches: tuple[Match, ...]
    params: NamedValues
    runs: tuple[PlannedRun, ...]
    notes: tuple[Text, ...]
    subject: Subject | None
    observations: tuple[Observation, ...] = ()
    used_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    clue: FoundClue | None = None
    """What follows from the observations, if that is to be shown."""
    log: str = ""
    calculation: Calculation | None = None
    """Formulas that the question asks to be computed, where they are the answer."""
    diagnosis: Diagnosis | None = None
    """The diagnosis of the log in the question."""
    related: tuple[Entry, ...] = ()
    """Further entries that may help."""
    alternatives: tuple[Entry, ...] = ()
    """What may have been asked instead, likeliest first, each focused on the aspect that it would be."""
    alternative_runs: tuple[tuple[Entry, PlannedRun], ...] = ()
    """Each alternative with every run that its short answer quotes; () for a request that runs nothing."""
    part: Part | None = None
    """The part that a follow-up asks for: "why?"."""
    is_follow_up: bool = False
    """Whether the question was understood as going on with the answer before it."""
    seed: int = 0
    seeds: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Topic:
    """What a question is about: `status`, the matches in the order that the conversation gives them, and notes.

    `continues` says whether the question goes on with the entry before it, whose parameters then still apply;
    `is_follow_up` whether it is understood only by what was asked before it.
    """

    status: AnswerStatus
    matches: tuple[Match, ...]
    continues: bool
    is_follow_up: bool = False
    notes: tuple[Text, ...] = ()

    @property
    def entry(self) -> Entry | None:
        return self.matches[0].entry if self.status is AnswerStatus.ANSWERED else None


def decide(
    request: Request,
    question: ParsedQuestion | None,
    found: MatchResult | None,
    knowledge: Knowledge,
    threshold: float,
    diagnosis: Diagnosis | None = None,
) -> Decision:
    """The decision on a request; raises `BadRequest` for an unknown entry, block or parameter.

    `question` and `found` are None where the request names an entry and asks nothing in words; `threshold` is the
    probability below which a question is not covered; `diagnosis` is that of the log in the question.
    """
    lang = _language(request, question)
    if question and found and (asked_for := _calculation(request, question, knowledge)):
        return _decide_calculation(asked_for, request, question, found, knowledge, threshold)
    alone = question is not None and diagnosis is not None and asks_by_its_log_alone(question)
    if alone and question and found and diagnosis and diagnosis.status == "healthy" and not request.entry:
        return _decide_verdict(diagnosis, question, found)
    topic = _topic(request, question, found, knowledge, threshold, entry_of_log(diagnosis, alone=alone))
    earlier = (
        chips.remove_param_chips(request.context.params, request.removed_chips)
        if request.context and topic.continues
        else {}
    )
    entry = _focused_entry(request, topic)
    previous = entry if topic.continues else None
    said, number_notes = (
        followups.resolve_numbers(question, earlier, previous, knowledge.experiments)
        if question and entry
        else (dict(question.params) if question else {}, ())
    )
    asked = earlier | said
    of_the_run = tuple(said) if question and question.log else ()
    part = _asked_part(question, entry, lang) if question and topic.is_follow_up else None
    to_plan = replace(request, brief=request.brief and part is None)
    runs, plan_notes = (
        ((), ())
        if _needs_no_plan(request, asked)
        else plan_runs(entry, asked, to_plan, knowledge.experiments, of_the_run)
    )
    params = asked | dict(request.params)
    observations = question.observations if question else ()
    particulars = question.particulars if question else ()
    clue = find_clue(knowledge.library.clues, (*observations, *particulars), entry) if entry else None
    observations += tuple(each for each in particulars if clue and each in clue.because)
    used_by = chips.used_by(runs, params, observations, entry, clue)
    changed = said if question and topic.is_follow_up and _changes(question) else {}
    unused = followups.unused_notes(changed, runs, used_by)
    seed, seeds, seed_notes = _seeds(request, question, previous)
    alternatives = _alternatives(topic) if entry else ()
    return Decision(
        status=topic.status,
        lang=lang,
        entry=entry,
        matches=topic.matches,
        params=params,
        runs=runs,
        notes=tuple(
            dict.fromkeys((*topic.notes, *_question_notes(question), *seed_notes, *number_notes, *unused, *plan_notes))
        ),
        subject=found.subject if found and topic.status is AnswerStatus.NOT_COVERED else None,
        observations=observations,
        used_by=used_by,
        clue=clue,
        part=part,
        is_follow_up=topic.is_follow_up,
        seed=seed,
        seeds=seeds,
        log=describe_log(question.log, lang) if question and question.log else "",
        diagnosis=diagnosis,
        related=_related(entry, alternatives, knowledge) if entry else (),
        alternatives=alternatives,
        alternative_runs=_alternative_runs(alternatives, asked, request, knowledge, of_the_run) if request.run else (),
    )


def _needs_no_plan(request: Request, asked: NamedValues) -> bool:
    """Whether nothing is to run and no parameter is named whose use the answer would report."""
    overrides = request.params or request.compare or request.blocks is not None
    return not (request.run or asked or overrides)


def _calculation(request: Request, question: ParsedQuestion, knowledge: Knowledge) -> Mention | None:
    """The formulas that a question asks to be computed; None if it is about an entry nonetheless."""
    if request.entry or followups.picked_candidate(question, request.context):
        return None
    if FORMULA_EXPERIMENT not in knowledge.experiments:
        return None
    if request.context and request.context.entry and question.is_elliptical and question.params:
        return None  # other numbers for the entry before it
    return question.mention or calculating.follow_up_calculation(question, request.context)


def _decide_calculation(
    mention: Mention,
    request: Request,
    question: ParsedQuestion,
    found: MatchResult,
    knowledge: Knowledge,
    threshold: float,
) -> Decision:
    """The decision to answer with the values of the formulas; entries that match the question are only related."""
    check_requested_parameters(list(knowledge.experiments.values()), request)
    wanted = request.params.get("dtype")
    if wanted in FLOAT_DTYPES and not mention.dtypes:
        mention = replace(mention, dtypes=(str(wanted),))
    calculation, runs = calculating.plan_calculation(mention, knowledge.experiments[FORMULA_EXPERIMENT])
    return Decision(
        status=AnswerStatus.ANSWERED,
        lang=question.lang,
        entry=None,
        matches=found.matches,
        params={**question.params, **calculating.named_values(runs[0], calculation.dtypes)},
        runs=runs,
        notes=(),
        subject=None,
        calculation=calculation,
        related=tuple(match.entry for match in found.matches[:MAX_CANDIDATES] if match.score >= threshold),
    )


def _decide_verdict(diagnosis: Diagnosis, question: ParsedQuestion, found: MatchResult) -> Decision:
    """The decision to answer that the run is healthy: no entry is about it."""
    return Decision(
        status=AnswerStatus.ANSWERED,
        lang=question.lang,
        entry=None,
        matches=found.matches,
        params=question.params,
        runs=(),
        notes=(),
        subject=None,
        log=describe_log(question.log, question.lang) if question.log else "",
        diagnosis=diagnosis,
    )


def decide_status(matches: tuple[Match, ...], threshold: float) -> AnswerStatus:
    """The status by the two best matches alone: not covered, unclear (too close to tell apart), or answered.

    Two entries on the same item, or related ones, are not unclear: the first answers, and the other may be another
    cause.
    """
    best, second = matches[0], matches[1] if len(matches) > 1 else None
    if best.score < threshold:
        return AnswerStatus.NOT_COVERED
    if second and best.score - second.score < AMBIGUITY_MARGIN and best.score < 1 - AMBIGUITY_MARGIN:
        return AnswerStatus.ANSWERED if _serve_one_question(best.entry, second.entry) else AnswerStatus.CLARIFY
    return AnswerStatus.ANSWERED


def _serve_one_question(one: Entry, other: Entry) -> bool:
    """Whether two entries are about the same item, or one names the other as related."""
    return one.item == other.item or one.id in other.related or other.id in one.related


def is_follow_up(question: ParsedQuestion, found: MatchResult, threshold: float) -> bool:
    """Whether a question after an answer stays with its entry: it changes a parameter, reports that the advice did not
    help, asks for more, or matches nothing else and says more about the run or refers to what was said.

    Anything else is a question of its own, and declined where it is not covered: a remark, gibberish, another subject.
    """
    best = found.matches[0].score
    vague = question.is_short and best < CLEAR_MATCH
    changes = bool(question.params or question.number) and (question.is_elliptical or (vague and bool(question.params)))
    if changes or question.reports_failure or question.asks_for_more or question.has_no_subject:
        return True
    if question.says_only_where:
        return True
    says = bool(question.params or question.observations)
    if says and question.is_remark and best < CLEAR_MATCH:
        return True
    if best >= threshold:
        return False
    refers = question.is_elliptical or question.refers_back
    if found.subject is None:
        return says or refers
    return (says and (question.is_short or question.is_remark)) or question.names_another


def _follows(
    question: ParsedQuestion, found: MatchResult, threshold: float, previous: Entry, knowledge: Knowledge
) -> bool:
    """Whether a question stays with the entry before it: it follows up, or rescales a number of that entry."""
    if question.rescaling is not None:
        named = bool(question.rescaling.noun)
        return followups.takes_rescaling(question, previous, knowledge.experiments) or (
            not named and not previous.evidence
        )
    if not is_follow_up(question, found, threshold):
        return False
    clear = found.matches[0].score >= CLEAR_MATCH and found.matches[0].entry is not previous
    return not (
        clear and _changes(question) and followups.names_foreign_parameter(question, previous, knowledge.experiments)
    )


def _asked_part(question: ParsedQuestion, entry: Entry | None, lang: Lang) -> Part | None:
    """The part that a follow-up asks for: "why?"; else the first that mentions the value to which it changes something,
    if the short answer does not: "and with tanh?". None if there is no such part.
    """
    if entry is None:
        return None
    if question.asked_part:
        return question.asked_part if entry.part(question.asked_part, lang) else None
    words = [value.lower() for value in question.params.values() if isinstance(value, str)]
    if not (words and _changes(question)) or any(word in entry.short[lang].lower() for word in words):
        return None
    return next(
        (part for part in ("why", "scope") if any(word in entry.part(part, lang).lower() for word in words)), None
    )


def _changes(question: ParsedQuestion) -> bool:
    """Whether a follow-up asks for other parameters, rather than telling what was tried or where it happens."""
    tells = question.reports_failure or question.says_only_where or question.log is not None
    return not tells and (question.is_elliptical or question.is_short)


def _question_notes(question: ParsedQuestion | None) -> tuple[Text, ...]:
    """Notes on the question: that it is in a third language, or that it contradicts itself."""
    if question is None:
        return ()
    times = {str(each.sign): each.text for each in question.observations if each.sign.kind == "when"}
    first, later = times.get("when:first_step"), times.get("when:later")
    notes = [OTHER_LANGUAGE_NOTE] if question.is_foreign else []
    notes += [
        Text(f"“{word}”读作 {term}。", f"“{word}” was read as “{term}”.") for word, term in question.corrected.items()
    ]
    if first and later and not question.log:
        words = {"first": first, "later": later}
        notes.append(Text(CONTRADICTION_NOTE.zh.format(**words), CONTRADICTION_NOTE.en.format(**words)))
    return tuple(notes)


def _seeds(
    request: Request, question: ParsedQuestion | None, previous: Entry | None
) -> tuple[int, int, tuple[Text, ...]]:
    """The first seed and the number of seeds with which to run, and a note where the question asks for others."""
    wanted = question.reseeding if question and previous else None
    earlier = request.context.seed if request.context and previous else 0
    if wanted is None:
        return request.seed or earlier, request.seeds, ()
    seed = wanted.number if wanted.number is not None else (earlier or request.seed) + 1
    seeds = max(1, min(wanted.count, MAX_SEEDS))
    last = seed + seeds - 1
    zh = f"随机种子 {seed}" if seeds == 1 else f"随机种子 {seed} 到 {last}"
    en = f"seed {seed}" if seeds == 1 else f"seeds {seed} to {last}"
    return seed, seeds, (Text(f"换成了{zh}，其余不变。", f"Run with {en}, all else as before."),)


def _topic(
    request: Request,
    question: ParsedQuestion | None,
    found: MatchResult | None,
    knowledge: Knowledge,
    threshold: float,
    of_log: str = "",
) -> _Topic:
    """The topic of a question. Its first match is the entry that is named or picked, else the one `of_log`, else for a
    follow-up that of the answer before, else the one that the words of the question match best.
    """
    context = request.context
    matches = found.matches if found else ()
    previous = _previous_entry(context, knowledge)
    picked = followups.picked_candidate(question, context)
    named = request.entry or picked or (of_log if of_log in knowledge.library else "")
    is_follow_up = False
    if named:
        entry = knowledge.library[named]
        matches = (Match(entry=entry, score=1.0, phrasing=""), *(each for each in matches if each.entry.id != entry.id))
        status, notes = AnswerStatus.ANSWERED, ()
    elif question and question.is_thanks:
        return _Topic(status=AnswerStatus.ACKNOWLEDGED, matches=matches, continues=False)
    elif previous and question and found and _follows(question, found, threshold, previous, knowledge):
        matches = followups.promote(previous, matches, threshold)
        status, notes, is_follow_up = AnswerStatus.ANSWERED, (), True
    elif previous is None and question and _lacks_context(question, matches):
        return _Topic(status=AnswerStatus.CLARIFY, matches=matches, continues=False, notes=(NO_CONTEXT_NOTE,))
    else:
        status, notes = decide_status(matches, threshold), ()
    continues = matches[0].entry is previous or bool(picked) or bool(question and question.is_elliptical)
    return _Topic(
        status=status,
        matches=matches,
        continues=continues and status is AnswerStatus.ANSWERED,
        is_follow_up=is_follow_up,
        notes=notes,
    )


def _focused_entry(request: Request, topic: _Topic) -> Entry | None:
    """The entry that answers, focused on the aspect that is asked: the one that the request names, for a follow-up that
    of the answer before, else the one whose wording the question matches.

    Raises `BadField` for an aspect that the entry does not have, or without an entry.
    """
    entry = topic.entry
    if request.aspect and not request.entry:
        raise BadField(zh="aspect 要和 entry 一起给出", en="an aspect needs its entry", field="aspect")
    if entry is None:
        return None
    if request.entry:
        return focus_on_aspect(entry, request.aspect)
    if topic.is_follow_up and request.context:
        return entry.focused_on(request.context.aspect)
    return entry.focused_on(topic.matches[0].aspect)


def _alternatives(topic: _Topic) -> tuple[Entry, ...]:
    """The entries whose scores are close to that of the one that answers, if it was found by the question's words."""
    best, *others = topic.matches
    if topic.is_follow_up or not best.phrasing:
        return ()
    close = [match for match in others[:MAX_ALTERNATIVES] if match.score >= RUNNER_UP_SHARE * best.score]
    return tuple(match.entry.focused_on(match.aspect) for match in close)


def _alternative_runs(
    alternatives: Sequence[Entry],
    asked: NamedValues,
    request: Request,
    knowledge: Knowledge,
    of_the_run: Collection[str],
) -> tuple[tuple[Entry, PlannedRun], ...]:
    """Each alternative with the runs that its short answer quotes, with the parameters that the question names."""
    found = []
    for other in alternatives:
        quoted = tuple(block.id for block in other.short_blocks())
        alone = Request(question=request.question, blocks=quoted)
        runs, _ = plan_runs(other, asked, alone, knowledge.experiments, of_the_run)
        found += [(other, run) for run in runs if run.variant == 0]
    return tuple(found)


def _related(entry: Entry, alternatives: Sequence[Entry], knowledge: Knowledge) -> tuple[Entry, ...]:
    """The related entries that are not offered already."""
    offered = {other.id for other in alternatives}
    return tuple(knowledge.library[other] for other in entry.related if other not in offered)


def focus_on_aspect(entry: Entry, aspect: str) -> Entry:
    """The entry as the answer to the question of an aspect, to its own for ""; raises `BadField` for an unknown one."""
    ids = [one.id for one in entry.aspects]
    if aspect and aspect not in ids:
        raise BadField(
            zh=f"词条 {entry.id} 没有 aspect {aspect!r}。现有：{', '.join(ids) or '无'}",
            en=f"entry {entry.id} has no aspect {aspect!r}. There are: {', '.join(ids) or 'none'}",
            field="aspect",
        )
    return entry.focused_on(aspect)


def _previous_entry(context: Context | None, knowledge: Knowledge) -> Entry | None:
    return knowledge.library[context.entry] if context and context.entry else None


def _lacks_context(question: ParsedQuestion, matches: tuple[Match, ...]) -> bool:
    """Whether the question is only understandable as a follow-up, such as "and in float16?"."""
    return question.is_elliptical and question.is_short and matches[0].score < CLEAR_MATCH


def _language(request: Request, question: ParsedQuestion | None) -> Lang:
    if question is not None:
        return question.lang
    return request.lang or (request.context.lang if request.context else "en")
