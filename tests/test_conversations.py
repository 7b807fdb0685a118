"""Conversations: what stays with the answer before, what is declined, and what a bare number means."""

import pytest
from checking import each_case

from qa_service.errors import BadRequest
from qa_service.model import AnswerStatus, Context, Request
from qa_service.schemas.answers import answer_json
from qa_service.schemas.requests import read_request

NAN_ZH, NAN_EN = "训练时 loss 变成 nan 怎么办", "why does my loss become nan"
FLAGSHIP = "为什么连乘会爆炸，连加不会？"


def _turns(service, *questions, **options):
    """The answer to the last question, each asked in the context of the answer before; runs nothing."""
    first = Request(question=questions[0], run=False, **options)
    return service.ask(service.fold_turns(first, questions[1:]))


@pytest.mark.parametrize(
    "remark", ["今天天气怎么样", "asdf qwer zxcv", "中国的首都是哪里", "红烧肉怎么做好吃", "那天气呢"]
)
def test_another_subject_is_declined_in_a_conversation_as_outside(service, remark):
    """A remark, gibberish or another subject is no follow-up."""
    assert _turns(service, remark).status is not AnswerStatus.ANSWERED
    assert _turns(service, NAN_ZH, remark).status is AnswerStatus.NOT_COVERED
    assert _turns(service, NAN_EN, remark).status is AnswerStatus.NOT_COVERED


@pytest.mark.parametrize("remark", ["what is the capital of France", "xkcd foo bar", "will it rain in London tomorrow"])
def test_another_subject_is_declined_in_english(service, remark):
    assert _turns(service, NAN_EN, remark).status is AnswerStatus.NOT_COVERED


@pytest.mark.parametrize(
    "follow_up",
    ["也没用", "那 float16 呢", "为什么呢", "还有别的办法吗", "我用的是 adam，lr 1e-4", "裁剪过了，还是不行",
     "训练到一半才出现的", "那学习率呢", "不是的话呢", "0.9?"],
)  # fmt: skip
def test_a_real_follow_up_stays(service, follow_up):
    """It changes a parameter, reports a failure, asks for more, or says more about the run."""
    first = _turns(service, NAN_ZH)
    answer = _turns(service, NAN_ZH, follow_up)
    assert answer.status is AnswerStatus.ANSWERED
    assert answer.entry.item in (first.entry.item, 16)


@pytest.mark.parametrize("follow_up", ["what about float16?", "that did not help", "why?", "does it happen with adam?"])
def test_a_real_follow_up_stays_in_english(service, follow_up):
    assert _turns(service, NAN_EN, follow_up).status is AnswerStatus.ANSWERED


@pytest.mark.parametrize(
    "thanks",
    [
        "谢谢",
        "谢谢！",
        "好的，明白了，谢谢你",
        "解决了，多谢",
        "thanks",
        "Thanks, that worked!",
        "ok got it, thank you so much",
    ],
)
def test_thanks_get_one_line(service, thanks):
    """They are acknowledged, without an entry; the conversation can go on."""
    answer = _turns(service, NAN_ZH, thanks)
    assert [answer.status, answer.entry] == [AnswerStatus.ACKNOWLEDGED, None]
    body = answer_json(answer).to_dict()
    assert body["status"] == "acknowledged"
    assert "\n" not in body["answer"]
    assert len(body["matches"]) >= 3


@pytest.mark.parametrize("between", ["谢谢", "今天天气怎么样"])
def test_a_conversation_goes_on_after_a_remark(service, between):
    """What was declined or acknowledged leaves the context as it was."""
    first = "100 个 1.5 连乘会怎样"
    answer = _turns(service, first, between, "那换成加法呢")
    assert answer.entry is _turns(service, first, "那换成加法呢").entry
    assert {"n": 100, "x": 1.5, "op": "add"}.items() <= answer.params.items()
    sent = answer_json(_turns(service, first, between)).to_dict()["context"]
    assert read_request({"question": "那 300 个呢", "context": sent}).context.entry is not None


@pytest.mark.parametrize("thanks", ["谢谢，那 float16 呢", "thanks, but why does it overflow?", "好的，学习率 0.1 呢"])
def test_thanks_with_a_question_are_a_question(service, thanks):
    assert _turns(service, NAN_ZH, thanks).status is not AnswerStatus.ACKNOWLEDGED


def test_a_bare_number_means_the_main_parameter_of_the_entry_before(service):
    """Where no number was named before, it is the first that takes it of the parameters of the first evidence block."""
    block = _turns(service, FLAGSHIP).entry.evidence[0]
    assert block.experiment == "pow_vs_sum"
    answer = _turns(service, FLAGSHIP, "那换成 0.9 呢")
    assert [answer.params["x"], answer.notes] == [0.9, ()]
    assert answer.used_by["param:x"][0] == block.id
    assert _turns(service, FLAGSHIP, "那 300 呢").params["n"] == 300


@pytest.mark.parametrize(
    ("follow_up", "words"), [("那 30 GB 呢", "30 gb"), ("2 小时呢", "2 小时"), ("what about 3 hours?", "3 hours")]
)
def test_a_number_that_is_not_used_is_named_in_a_note(service, follow_up, words):
    """A unit that no experiment has: never dropped without a word, never taken for a count."""
    answer = _turns(service, FLAGSHIP, follow_up)
    assert not {"n", "x"} & answer.params.keys()
    assert any(words in note.zh and words in note.en for note in answer.notes)


@pytest.mark.parametrize(
    "question",
    ["loss is nan after 3000 steps, what now", "训练了 2 小时之后 loss 突然变成 nan 了，学习率也降过，怎么办",
     "step 1 loss 2.0 lr 0.1\nstep 2 loss nan lr 0.1\nwhy?"],
)  # fmt: skip
def test_numbers_of_an_observation_or_a_log_give_no_note(service, question):
    assert not _turns(service, question).notes


def test_a_log_gives_the_rate_of_the_run_and_no_counters(service):
    """Epochs and steps are counters; the learning rate is a setting."""
    log = "\n".join(
        f"{{'loss': {loss}, 'grad_norm': {norm}, 'learning_rate': 5e-05, 'epoch': {epoch}}}"
        for loss, norm, epoch in [(2.1, 18.2, 1.0), (3.4, 97.1, 2.0), (0.0, "nan", 3.0)]
    )
    answer = _turns(service, f"这是为什么？\n{log}")
    assert answer.params == {"lr": 5e-05}
    assert answer.lang == "zh"
    assert answer.log == "日志 · 3 行 · Hugging Face Trainer，第 4 行起 grad_norm 为 nan"
    assert {"what:nan", "where:gradient", "what:growing", "in:hf_trainer"} <= {str(o.sign) for o in answer.observations}


def test_observations_are_part_of_the_json(service):
    """Each with its words, and with the blocks that use it; one that nothing uses has none."""
    body = answer_json(_turns(service, "fp16 连乘 100 个 1.5 出现 nan", entry="multiply-vs-add")).to_dict()
    found = {f"{each['kind']}:{each['value']}": each for each in body["observations"]}
    assert found["in:float16"]["text"] == "fp16"
    assert found["in:float16"]["used_by"]
    assert found["what:nan"]["used_by"] == []


@pytest.mark.parametrize("chip", ["param:dtype", "in:float16"])
def test_what_was_misread_can_be_struck_out(service, chip):
    """Neither the parameter nor the observation that says the same remains; everything else does."""
    question = "fp16 连乘 100 个 1.5 出现 nan"
    request = read_request({"question": question, "entry": "multiply-vs-add", "without": [chip], "run": False})
    answer = service.ask(request)
    assert answer.params == {"n": 100, "x": 1.5, "op": "multiply"}
    assert [str(each.sign) for each in answer.observations] == ["what:nan"]


def test_a_struck_parameter_of_the_context_is_gone(service):
    """Striking holds for what the context carries, too."""
    context = answer_json(_turns(service, "100 个 1.5 连乘会怎样")).to_dict()["context"]
    answer = service.ask(read_request({"question": "那换成加法呢", "context": context, "without": ["param:x"]}))
    assert answer.params == {"n": 100, "op": "add"}


@each_case("without", [["nonsense"], ["what:"], "what:nan", [1]])
def test_invalid_chips_are_rejected(without):
    with pytest.raises(BadRequest) as raised:
        read_request({"question": "nan", "without": without})
    assert raised.value.field == "without"


@pytest.mark.parametrize(
    ("question", "reader_lang", "lang"),
    [
        ("bf16 nan", "zh", "zh"),
        ("bf16 nan", "en", "en"),
        ("why is my loss nan?", "zh", "en"),
        ("loss 为什么是 nan", "en", "zh"),
    ],
)
def test_a_question_that_shows_no_language_is_answered_in_the_readers(service, question, reader_lang, lang):
    """One that shows its own keeps it; the context's language counts less than the reader's."""
    other = Context(entry="nan-and-inf", params={}, lang="en" if reader_lang == "zh" else "zh")
    for context in (None, other):
        request = Request(question=question, reader_lang=reader_lang, run=False, context=context)
        assert service.ask(request).lang == lang
