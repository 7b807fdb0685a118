"""Conversations: which questions continue the previous answer, which are declined, and what a bare number means."""

from dataclasses import replace

import pytest
from checking import each_case

from qa_service.errors import BadRequest
from qa_service.fronts.web.chips import chips as page_chips
from qa_service.model import AnswerStatus, Context, Request
from qa_service.parsing import parse_question
from qa_service.schemas.answers import answer_json
from qa_service.schemas.requests import read_request

NAN_ZH, NAN_EN = "训练时 loss 变成 nan 怎么办", "why does my loss become nan"
FLAGSHIP = "为什么连乘会爆炸，连加不会？"


def _turns(service, *questions, **options):
    """The answer to the last of several questions, each asked in the context of the previous answer; runs nothing."""
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
    """A declined or acknowledged remark leaves the context unchanged."""
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
    """If no number was named before, it sets the first parameter of the first evidence block that accepts it."""
    block = _turns(service, FLAGSHIP).entry.evidence[0]
    assert block.experiment == "pow_vs_sum"
    answer = _turns(service, FLAGSHIP, "那换成 0.9 呢")
    assert [answer.params["x"], answer.notes] == [0.9, ()]
    assert answer.used_by["param:x"][0] == block.id
    assert _turns(service, FLAGSHIP, "那 300 呢").params["n"] == 300
    assert _turns(service, FLAGSHIP, "and 90 factors?").params["n"] == 90


@pytest.mark.parametrize(
    ("follow_up", "words"), [("那 30 GB 呢", "30 GB"), ("2 小时呢", "2 小时"), ("what about 3 hours?", "3 hours")]
)
def test_a_number_that_is_not_used_is_named_in_a_note(service, follow_up, words):
    """A number with a unit that no experiment has is neither dropped silently nor taken for a count; the note quotes
    it.
    """
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
    """The learning rate in a log sets a parameter; epochs and steps, which only count, do not."""
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
    """Each observation has its words and the blocks that use it; one that nothing uses has no blocks."""
    body = answer_json(_turns(service, "fp16 连乘 100 个 1.5 出现 nan", entry="multiply-vs-add")).to_dict()
    found = {f"{each['kind']}:{each['value']}": each for each in body["observations"]}
    assert found["in:float16"]["text"] == "fp16"
    assert found["in:float16"]["used_by"]
    assert found["what:nan"]["used_by"] == []


@pytest.mark.parametrize("chip", ["param:dtype", "in:float16"])
def test_what_was_misread_can_be_struck_out(service, chip):
    """Striking out removes the parameter and the observation that says the same; everything else stays."""
    question = "fp16 连乘 100 个 1.5 出现 nan"
    request = read_request({"question": question, "entry": "multiply-vs-add", "without": [chip], "run": False})
    answer = service.ask(request)
    assert answer.params == {"n": 100, "x": 1.5, "op": "multiply"}
    assert [str(each.sign) for each in answer.observations] == ["what:nan"]


def test_a_struck_parameter_of_the_context_is_gone(service):
    """A parameter taken over from the context can be struck out too."""
    context = answer_json(_turns(service, "100 个 1.5 连乘会怎样")).to_dict()["context"]
    answer = service.ask(read_request({"question": "那换成加法呢", "context": context, "without": ["param:x"]}))
    assert answer.params == {"n": 100, "op": "add"}


def test_one_thing_is_one_chip_on_the_page(service):
    """Of a parameter and a sign with the same meaning, the page shows only the one that is used."""
    said = "fp16 下第一步就是 nan，fp32 没事"
    for question, entry, shown in (
        (said, "loss-nan-from-the-first-step", "in:float16"),
        ("fp16 连乘 100 个 1.5", "multiply-vs-add", "param:dtype"),
    ):
        answer = _turns(service, question, entry=entry)
        names = [chip.name for chip in page_chips(answer, "zh")]
        assert len({"in:float16", "param:dtype"} & set(names)) == 1
        assert shown in names


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
def test_a_question_that_shows_no_language_is_answered_in_the_users(service, question, reader_lang, lang):
    """A question in a recognisable language is answered in that; the user's language takes precedence over the
    context's.
    """
    other = Context(entry="nan-and-inf", params={}, lang="en" if reader_lang == "zh" else "zh")
    for context in (None, other):
        request = Request(question=question, reader_lang=reader_lang, run=False, context=context)
        assert service.ask(request).lang == lang


@pytest.mark.parametrize(
    ("follow_up", "name", "changed"),
    [("再大一点", "x", 1.9), ("再多一些", "n", 125), ("翻倍", "x", 3.0), ("double it", "x", 3.0), ("减半", "x", 0.75),
     ("a bit larger", "x", 1.9), ("n 再小一点", "n", 80), ("what if it is ten times larger?", "x", 15.0)],
)  # fmt: skip
def test_larger_changes_a_number_of_the_answer_before_and_says_which(service, follow_up, name, changed):
    """All other numbers that were asked for are kept; the note gives the changed number before and after."""
    answer = _turns(service, "100 个 1.5 连乘会怎样", follow_up)
    assert answer.params == {"op": "multiply", "n": 100, "x": 1.5} | {name: changed}
    assert [f"{name} " in note.zh and " → " in note.en for note in answer.notes] == [True]


def test_larger_without_named_numbers_changes_what_the_card_shows(service):
    """With a noun that the experiment does not have, it is a question of its own."""
    answer = _turns(service, FLAGSHIP, "n 再大一点")
    assert answer.params["n"] == 125
    assert _turns(service, NAN_ZH, "学习率再大一点会怎样").entry is not None


@pytest.mark.parametrize("words", ["再大一点", "再来一次", "怎么知道是哪一层", "每一层都一样", "大一些"])
def test_one_as_part_of_a_word_is_no_number(words):
    assert not {"n", "x", "layers", "layer"} & parse_question(words).params.keys()


@each_case(
    ("words", "found"),
    [
        ("第一层", {"layer": 1}),
        ("一百个一点五", {"n": 100, "x": 1.5}),
        ("二十一层", {"layers": 21}),
        ("一层", {"layers": 1}),
    ],
)
def test_numerals_beside_a_counted_noun_are_numbers(words, found):
    assert parse_question(words).params == found


@pytest.mark.parametrize(
    ("follow_up", "seed"), [("seed 3", 3), ("种子 7", 7), ("换个种子试试", 1), ("try another seed", 1)]
)
def test_a_follow_up_may_ask_for_another_seed(service, follow_up, seed):
    """The entry stays the same and runs with that seed, and so does the next follow-up."""
    first = "为什么 sigmoid 堆很多层会梯度消失？"
    answer = _turns(service, first, follow_up)
    assert answer.entry is _turns(service, first).entry
    assert answer.seed == seed
    assert str(seed) in answer.notes[0].zh
    sent = answer_json(answer).to_dict()["context"]
    assert service.ask(read_request({"question": "layers=30", "context": sent, "run": False})).seed == seed


def test_several_seeds_repeat_the_runs(service):
    request = service.fold_turns(Request(question="为什么 sigmoid 堆很多层会梯度消失？", run=False), ["用两个种子"])
    assert "0 到 1" in service.ask(request).notes[0].zh
    evidence = service.answer(replace(request, run=True, brief=True)).evidence
    assert any(one.spreads for one in evidence)


@pytest.mark.parametrize("again", ["再来一次", "again", "run it again", "能不能画个图", "show me the chart"])
def test_asking_for_the_same_again_keeps_everything(service, again):
    answer = _turns(service, "100 个 1.5 连乘会怎样", again)
    assert [answer.status, answer.params] == [AnswerStatus.ANSWERED, {"op": "multiply", "n": 100, "x": 1.5}]


@pytest.mark.parametrize(
    ("question", "title"), [("为什么？", "### 为什么"), ("why?", "### Why"), ("那怎么办", "### 怎么做")]
)
def test_the_part_that_is_asked_for_comes_first(service, question, title):
    answer = _turns(service, FLAGSHIP if question != "why?" else NAN_EN, question)
    body = answer_json(answer).to_dict()
    assert body["answer"].startswith(title)
    assert body["part"] in ("why", "do")
    assert "part" not in answer_json(_turns(service, FLAGSHIP)).to_dict()


def test_a_part_that_speaks_of_what_a_follow_up_names_comes_first(service):
    """No experiment has such a parameter, but a part of the text has a measured number about it."""
    first = "为什么 sigmoid 堆很多层会梯度消失？"
    answer = _turns(service, first, "那如果是 tanh 呢")
    assert answer.part == "why"
    assert "tanh" in answer.entry.why.zh
    assert "tanh" not in answer.entry.short.zh
    other = _turns(service, first, "那 relu 呢")
    assert [other.part, other.notes] == [None, ()]  # the short answer speaks of it, and an experiment has it


@pytest.mark.parametrize(
    "follow_up",
    ["只有 fp16 会，fp32 没事", "only in fp16, fp32 is fine", "step 1200", "第 1200 步开始的", "梯度裁剪 1.0 也开着"],
)
def test_where_and_when_it_happens_is_said_of_the_entry_before(service, follow_up):
    """Such a report continues the previous entry, even if its words match another entry well."""
    first = "loss 是 0.0，grad_norm 是 nan"
    answer = _turns(service, first, follow_up)
    assert answer.entry is _turns(service, first).entry
    assert answer.observations
    assert answer.is_follow_up
    assert not answer.notes


@pytest.mark.parametrize("follow_up", ["x = 1.1", "x=1.1", "now x=1.1"])
def test_an_assignment_is_a_follow_up_however_well_it_matches(service, follow_up):
    first = "With 100 factors of 1.5, why is addition more stable than multiplication?"
    answer = _turns(service, first, follow_up)
    assert answer.entry is _turns(service, first).entry
    assert [answer.params["n"], answer.params["x"]] == [100, 1.1]


def _assigned(text):
    name, value = text.split(" = ")
    return name, float(value) if value[0].isdigit() else value


@pytest.mark.parametrize(
    ("first", "follow_up", "name"),
    [
        ("loss 是 0.0，grad_norm 是 nan", "那把 batch size 调到 8 呢", "batch = 8"),
        (FLAGSHIP, "那如果是 tanh 呢", "act = tanh"),
        ("0.9 连乘 100 次是多少", "now lr 0.5", "lr = 0.5"),
    ],
)
def test_a_change_that_no_experiment_takes_is_said(service, first, follow_up, name):
    """The value does not replace another parameter either."""
    answer = _turns(service, first, follow_up)
    assert any(name in note.zh and name in note.en for note in answer.notes)
    assert answer.params == _turns(service, first).params | dict([_assigned(name)])


def test_what_contradicts_itself_is_said(service):
    for question in (
        "loss is nan from the very first step, but the first 500 steps were fine",
        "第一步就是 nan，不过前面 500 步都正常",
    ):
        answer = _turns(service, question)
        assert {"when:first_step", "when:later"} <= {str(each.sign) for each in answer.observations}
        assert "500" in answer.notes[0].zh
    assert not _turns(service, "loss 第一步就是 nan").notes


@pytest.mark.parametrize(
    "question", ["なぜ勾配が消えるのですか？", "Warum explodieren die Gradienten?", "pourquoi le gradient explose ?"]
)
def test_a_third_language_is_answered_in_the_users_with_a_note(service, question):
    for lang in ("zh", "en"):
        answer = service.ask(Request(question=question, reader_lang=lang, run=False))
        assert answer.lang == lang
        assert "numstab" in answer.notes[0][lang]


def test_a_chip_that_says_where_all_is_well_can_be_struck_out(service):
    request = read_request({"question": "fp16 下 nan，fp32 没事", "without": ["fine:float32"], "run": False})
    assert "fine:float32" not in {str(each.sign) for each in service.ask(request).observations}


def test_understanding_is_acknowledged(service):
    assert _turns(service, FLAGSHIP, "懂了，明天考试加油").status is AnswerStatus.ACKNOWLEDGED
    assert _turns(service, FLAGSHIP, "懂了，那梯度呢").status is not AnswerStatus.ACKNOWLEDGED
