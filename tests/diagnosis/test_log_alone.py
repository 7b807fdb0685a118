"""A log pasted without a question is answered by the entry of its cause or symptom; a healthy log is called healthy."""

import math
import random

import pytest
from checking import each_case
from runs_by_hand import INF, NAN, constant_level, decay, run_of, skip

from qa_service.answering.diagnosing import diagnose_question
from qa_service.answering.pasted_log import asks_by_its_log_alone, entry_of_log
from qa_service.diagnosis.engine import diagnose
from qa_service.diagnosis.symptoms import symptom_entry
from qa_service.fronts.mcp import conversion
from qa_service.fronts.openai_api.text import AnswerWriter
from qa_service.model import Answer, AnswerStatus, Request
from qa_service.model.diagnosis import Diagnosis
from qa_service.parsing import ParsedQuestion, parse_question
from qa_service.paths import bundled

RNG = random.Random(3)
HEALTHY = "\n".join(
    f"Epoch {epoch}/40 - loss: {2.1 * math.exp(-epoch / 9) + 0.2 + RNG.gauss(0, 0.02):.4f}" for epoch in range(1, 41)
)
LATER = "\n".join(
    [f"step {i * 10} | loss {2.4 * math.exp(-i / 60) + 0.6:.4f} | grad_norm 1.{i % 7} | lr 3.00e-04" for i in range(90)]
    + [f"step {i * 10} | loss nan | grad_norm nan | lr 3.00e-04" for i in range(90, 96)]
)
CHANCE = "\n".join(f"Epoch {i}, train loss {2.3026 + RNG.gauss(0, 0.0008):.4f}" for i in range(1, 21))


def chosen(question: ParsedQuestion, diagnosis: Diagnosis | None) -> str:
    """The entry that is chosen by the log of a question, whether or not the question has other words."""
    return entry_of_log(diagnosis, alone=asks_by_its_log_alone(question))


@each_case(
    ("run", "entry"),
    [
        (run_of([NAN] * 12), "loss-nan-from-the-first-step"),
        (run_of([*decay(40), *[NAN] * 8]), "loss-nan-after-a-while"),
        (run_of([*decay(40), *[INF] * 3, *[NAN] * 5]), "loss-nan-after-a-while"),
        (run_of([2.1, 1.9, *[0.0] * 8], grad_norm=[1.0, 1.2, *[NAN] * 8]), "loss-zero-grad-norm-nan"),
        (run_of(constant_level(60, math.log(10), 0.0005)), "loss-flat-at-chance"),
        (run_of([*decay(60), *constant_level(60, 5.0, 0.05)]), "loss-spike"),
        (run_of(decay(40)), ""),
    ],
)
def test_the_first_harm_has_the_entry_of_its_symptom(run, entry):
    assert symptom_entry(diagnose(run)) == entry


def test_a_scale_that_only_falls_has_its_entry():
    scale = [2.0 ** (16 - index) for index in range(16)]
    run = run_of(constant_level(16, 2.0, 0.01), loss_scale=scale, events=[skip(index) for index in range(1, 17)])
    assert symptom_entry(diagnose(run)) == "loss-scale-keeps-falling"


@each_case(
    "entry",
    ["loss-spike", "loss-flat-at-chance", "loss-scale-keeps-falling", "good-in-training-bad-in-evaluation",
     "loss-zero-grad-norm-nan", "loss-nan-after-a-while", "loss-nan-from-the-first-step"],
)  # fmt: skip
def test_the_entries_of_symptoms_exist(entry):
    assert list(bundled("kb").glob(f"*/{entry}.toml"))


@each_case(
    "words",
    [
        "",
        "请问这是怎么回事？\n",
        "大佬們求助，這個日誌正常嗎\n",
        "what's going on here?\n",
        "Help please!\n\n",
        "Why does this happen?\n",
    ],
)
def test_a_log_with_a_few_words_is_answered_by_what_is_in_it(words):
    question = parse_question(words + LATER)
    assert chosen(question, diagnose_question(words + LATER)) in {
        "loss-nan-after-a-while",
        *(cause.entry for cause in diagnose_question(LATER).causes.values()),
    }


@each_case(
    "words",
    [
        "为什么用 float16 训练会溢出？\n",
        "does gradient clipping help here?\n",
        "怎么让它不出 nan\n",
        "is my learning rate ok?\n",
    ],
)
def test_a_question_of_its_own_decides_unless_the_cause_is_certain(words):
    diagnosis = diagnose_question(words + LATER)
    assert diagnosis.hypotheses[0].certainty != "certain"
    assert chosen(parse_question(words + LATER), diagnosis) == ""


def test_a_certain_cause_is_answered_whatever_is_asked():
    log = (
        "step 1 loss 2.1\nstep 2 loss 2.0\ntorch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"
    )
    diagnosis = diagnose_question(log)
    assert diagnosis.hypotheses[0].certainty == "certain"
    question = parse_question("does gradient clipping help?\n" + log)
    assert chosen(question, diagnosis) == diagnosis.causes[diagnosis.hypotheses[0].cause].entry


def test_a_likely_cause_answers_a_log_alone_but_not_another_question():
    log = "\n".join(f"step {i} loss {2.0 * 2.0**i:.4g}" for i in range(8)) + "\nstep 8 loss nan"
    diagnosis = diagnose_question(log)
    assert diagnosis.hypotheses[0].certainty == "likely"
    assert chosen(parse_question(log), diagnosis) == diagnosis.causes[diagnosis.hypotheses[0].cause].entry
    assert chosen(parse_question("does gradient clipping help?\n" + log), diagnosis) == ""


@pytest.mark.parametrize("words", ["看" * 60_000 + "猫", "没有怎么样" * 9_000 + "猫", "the " * 20_000 + "cat"])
def test_many_words_beside_a_log_are_no_log_alone(words):
    assert not asks_by_its_log_alone(parse_question(words + "\n" + LATER))


def test_nothing_is_chosen_without_a_log():
    assert chosen(parse_question("why is my loss nan?"), None) == ""


def ask(service, question: str) -> Answer:
    return service.ask(Request(question=question, run=False))


@pytest.mark.parametrize(("words", "verdict"), [("", "Healthy: "), ("这样正常吗？\n", "健康：")])
def test_a_healthy_log_is_told_to_be_healthy_and_gets_no_entry_of_a_fault(toy_service, words, verdict):
    answer = ask(toy_service, words + HEALTHY)
    assert answer.status is AnswerStatus.ANSWERED and answer.is_verdict
    assert answer.entry is None and answer.confidence == 1 and not answer.evidence
    found = conversion.ask_result(answer)
    assert verdict in found.answer and not found.candidates and not found.notes
    assert verdict in "".join(passage.text for passage in AnswerWriter(answer, base="/", runs=False).ready())


def test_a_healthy_log_with_a_question_is_matched_by_the_question(toy_service):
    question = "How does the learning rate relate to sharpness?\n" + HEALTHY
    assert not ask(toy_service, question).is_verdict


def test_an_entry_that_is_named_is_shown_beside_a_healthy_log(toy_service):
    entry = next(iter(toy_service.knowledge.library.values())).id
    answer = toy_service.ask(Request(question=HEALTHY, entry=entry, run=False))
    assert answer.entry.id == entry and answer.diagnosis.status == "healthy"


@pytest.mark.parametrize(("log", "entry"), [(CHANCE, "loss-flat-at-chance"), (LATER, "loss-nan-after-a-while")])
def test_the_whole_service_answers_a_log_by_its_symptom_or_cause(service, log, entry):
    answer = ask(service, log)
    causes = {cause.entry for cause in answer.diagnosis.causes.values()}
    likely = answer.diagnosis.hypotheses and answer.diagnosis.hypotheses[0].certainty != "possible"
    assert answer.entry.id in (causes if likely else {entry})
