"""Clues: short hints chosen by the signs in a question, whatever entry answers it; how they are selected and shown."""

import io
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from numstab.html import answer_html
from numstab.text import answer_text as remote_text
from qa_service.app import create_app
from qa_service.errors import BadLibrary
from qa_service.experiments.spec import load_specs
from qa_service.fronts.mcp.conversion import ask_result
from qa_service.fronts.openai_api.text import AnswerWriter
from qa_service.fronts.terminal.screen import TerminalView
from qa_service.fronts.web.render import page_event
from qa_service.knowledge.clues import clue_problems, duplicate_clues
from qa_service.knowledge.library import Library
from qa_service.model import LANGS, Clue, Distinction, Observation, Request, Sign, Text, find_clue
from qa_service.model.events import AnswerReady
from qa_service.schemas.answers import answer_json, answer_pieces
from qa_service.settings import Settings

TOYS = Path(__file__).parent / "toys"
SAYS = Text("缺的是范围，不是精度。", "Range is missing, not precision.")


def signs(text: str) -> tuple[Sign, ...]:
    """Parses signs that are separated by blanks."""
    return tuple(map(Sign.parse, text.split()))


def clue(name: str, of: str, excluded_by: str = "", entry: str = "raising", below: str = "") -> Clue:
    return Clue(
        id=name, signs=signs(of), excluded_by=signs(excluded_by), says=SAYS, entry=entry, below=tuple(below.split())
    )


RANGE = clue("range", "in:float16 fine:bfloat16", excluded_by="what:zero")
RANGE_NAN = clue("range-nan", "in:float16 fine:bfloat16 what:nan")
BATCH = clue("batch", "when:sometimes what:nan")
RATE = clue("rate", "tried:lower_lr what:nan")
CLIPPED = clue("clipped", "tried:clipping what:nan", entry="hanging")


@pytest.fixture(scope="module")
def entry(new_toy_service):
    """An entry without rows."""
    return replace(new_toy_service().knowledge.library["counting"], tell=())


def shown(entry, observed: str, *clues: Clue) -> str | None:
    observations = [Observation(sign=each, text=str(each)) for each in signs(observed)]
    found = find_clue(clues or (RANGE, RANGE_NAN, BATCH, RATE, CLIPPED), observations, entry)
    return found.clue.id if found else None


def test_a_clue_needs_all_its_signs_and_none_that_rules_it_out(entry):
    assert shown(entry, "in:float16 fine:bfloat16") == "range"
    assert shown(entry, "in:float16") is None
    assert shown(entry, "in:float16 fine:bfloat16 what:zero") is None
    assert shown(entry, "") is None


def test_the_clue_with_most_signs_wins_then_the_one_with_more_contrasts_then_the_first(entry):
    """The choice does not depend on the order of observations."""
    assert shown(entry, "what:nan fine:bfloat16 in:float16 tried:lower_lr") == "range-nan"
    assert shown(entry, "when:sometimes what:nan tried:lower_lr") == "rate"
    for observed in ("tried:lower_lr tried:clipping what:nan", "what:nan tried:clipping tried:lower_lr"):
        assert shown(entry, observed) == shown(entry, observed, CLIPPED, RATE) == "clipped"
        assert shown(entry, observed, RATE, CLIPPED) == "clipped"


def test_a_clue_that_says_no_more_than_the_entry_is_left_out(entry):
    """It is left out where its own entry answers, or where the answering entry is about all of its signs."""
    observed = "tried:lower_lr tried:clipping what:nan"
    assert shown(replace(entry, id="hanging"), observed) == "rate"
    assert shown(replace(entry, signs=signs("what:nan tried:clipping")), observed) == "rate"
    assert shown(replace(entry, signs=signs("what:nan")), observed) == "clipped"


def test_a_clue_for_some_entries_stands_below_these_only_and_goes_first(entry):
    """It is shown even if the entry is about all of its signs, and it needs no entry of its own to link to."""
    tool = clue("tool", "in:deepspeed", entry="", below="counting hanging")
    elsewhere = clue("elsewhere", "in:deepspeed what:nan", below="hanging")
    observed = "in:deepspeed what:nan tried:lower_lr"
    assert shown(entry, observed, RATE, elsewhere, tool) == "tool"
    assert shown(replace(entry, id="other"), observed, RATE, elsewhere, tool) == "rate"
    assert shown(replace(entry, signs=signs("in:deepspeed")), "in:deepspeed", tool) == "tool"


def test_of_as_many_signs_the_particular_one_goes_before_the_contrast(entry):
    """With equally many signs, a clue about a named tool or loss wins over others, and is shown below its own entry
    too.
    """
    wgan = clue("wgan", "with:wgan what:nan")
    assert shown(entry, "what:nan tried:lower_lr with:wgan", RATE, wgan) == "wgan"
    assert shown(replace(entry, id="raising"), "what:nan tried:lower_lr with:wgan", RATE, wgan) == "wgan"
    assert shown(entry, "what:nan tried:lower_lr", RATE, wgan) == "rate"


def test_a_row_that_the_signs_single_out_goes_before_a_clue(entry):
    row = Distinction(see=SAYS, means=SAYS, signs=signs("fine:bfloat16"))
    assert shown(replace(entry, tell=(row,)), "in:float16 fine:bfloat16") is None
    assert shown(replace(entry, tell=(replace(row, signs=signs("in:float16")),)), "in:float16 fine:bfloat16") == "range"


def test_the_observations_are_those_of_its_signs_in_its_order(entry):
    observed = [Observation(sign=each, text=str(each)) for each in signs("what:nan fine:bfloat16 in:float16 in:adam")]
    found = find_clue((RANGE,), observed, entry)
    assert [one.text for one in found.because] == ["in:float16", "fine:bfloat16"]


# Shipped


@pytest.fixture(scope="module")
def library(settings) -> Library:
    return Library.read(settings.kb, load_specs(settings.demos))


def test_each_shipped_clue_is_shown_for_its_own_signs(library):
    """No clue is always superseded by another one, and none excludes itself."""
    assert 120 <= len(library.clues) <= 400
    for one in library.clues:
        bare = replace(library[one.below[0] if one.below else "powers-of-0-9-and-1-1"], tell=(), signs=())
        observations = [Observation(sign=each, text="") for each in one.signs]
        assert find_clue(library.clues, observations, bare).clue is one, one.id
        assert not list(clue_problems(one)), one.id
    assert not duplicate_clues(library.clues)


CASES = {
    "bf16 下正常，换成 fp16 训练 loss 就 nan": "fine-in-bf16-nan-in-fp16",
    "fp16 training gives nan, float32 trains fine": "fine-in-fp32-nan-in-fp16",
    "学习率调小了也没用，loss 还是 nan": "lower-rate-still-nan",
    "gradient clipping is already on and the loss still becomes nan": "clipping-still-nan",
    "单卡正常，4 卡训练 loss 变成 nan": "one-device-fine-several-nan",
    "it works on the CPU but the results differ on cuda": "cpu-right-gpu-wrong",
    "V100 上用 fp16 训练，loss 变成 nan": "card-without-bf16",
    "switched to float32, the loss is still nan": "nan-in-fp32-too",
    "different seeds, still nan": "another-seed-still-nan",
}


PARTICULAR = {
    ("用 YOLO 训练，loss 变成 nan", ""): "nan-in-a-box-loss",
    ("loss nan in a mask rcnn, object detection", ""): "nan-in-a-box-loss",
    ("SVD 的梯度是 nan", ""): "nan-in-svd-gradient",
    ("GRPO 的 loss 和 grad_norm 都是 0，reward_std: 0.0", ""): "equal-rewards",
    ("三元组损失偶尔是 nan", ""): "nan-in-a-triplet-loss",
    ("{'loss': 0.0, 'grad_norm': nan, 'learning_rate': 1e-05}", "loss-zero-grad-norm-nan"): "trainer-loss-zero",
    ("Current loss scale already at minimum, DeepSpeed fp16", "loss-scale-keeps-falling"): "deepspeed-scale",
    (
        "[deepspeed] OVERFLOW! Rank 0 Skipping step. Attempted loss scale: 65536, reducing to 32768",
        "gradient-overflow-skipping-step",
    ): "deepspeed-skips",
    ("WGAN 的 loss 是负的", "negative-loss"): "negative-wgan-loss",
    ("my BCE is below zero", "negative-loss"): "negative-binary-cross-entropy",
    ("TensorRT fp16 engine is wrong", "fp16-export-wrong"): "tensorrt-layers-in-fp32",
    ("ONNX 转 fp16 之后不对", "fp16-export-wrong"): "onnx-block-list",
    ("ArcFace 的 loss 变成 nan", ""): "nan-in-arcface",
    ("KLDivLoss in knowledge distillation is tiny", "kl-with-a-zero-probability"): "distillation-with-kl",
    ("the loss of my student is nan in distillation", ""): "nan-in-distillation",
    ("GRPO 的 loss、grad_norm 和 kl 都是 0，kl=0.0", ""): "grpo-policy-does-not-move",
    ("PPO: KL divergence is starting to become negative: -5", ""): "negative-kl-of-a-policy",
    ("RLHF 的 PPO，objective/kl 越来越大", ""): "growing-kl-of-ppo",
    ("SAC critic_loss goes up", ""): "sac-critic-loss",
    ("the actor loss is -3000", "negative-loss"): "sign-of-an-actor-loss",
    ("explained_variance is -0.4 in PPO", "value-loss-in-the-thousands"): "explained-variance",
    ("| entropy_loss | -1.33 | in stable-baselines3", ""): "entropy-loss-is-minus-the-entropy",
    ("SB3 的 PPO，value_loss 上万", ""): "sb3-value-loss",
    ("RuntimeError: normal expects all elements of std >= 0.0", ""): "invalid-policy-distribution",
    ("DPO loss 是 0.0", ""): "dpo-loss-zero",
    ("DPO 的 loss 停在 0.5 附近不动", ""): "dpo-does-not-move",
    ("the reward model does not learn", "loss-flat-at-chance"): "reward-model-at-chance",
    ("why does a DQN overestimate", ""): "max-overestimates",
    ("triplet loss equals the margin", "triplet-loss-at-the-margin"): "triplet-collapse",
    ("LoRA for text-to-image, the loss jumps", "lora-step-size"): "loss-of-a-diffusion-fine-tune",
    ("entropy keeps increasing in GRPO", "policy-entropy-collapses"): "rising-entropy-of-a-policy",
    ("PPO with an LSTM policy is noisy", ""): "ppo-with-a-recurrent-policy",
    ("the gradient penalty of my WGAN is nan", "gan-both-losses-nan"): "nan-in-wgan-gp",
    ("mask invalid actions with -inf, entropy is nan", ""): "nan-with-an-action-mask",
    ("InfoNCE 的 loss 是 nan", ""): "nan-in-a-contrastive-loss",
    ("DistilBERT 微调精度低", ""): None,
    ("PPO on CartPole learns slowly", ""): None,
    ("face recognition with plain softmax is slow", ""): None,
    ("CIoU is nan for coinciding boxes", ""): "nan-in-ciou",
    ("RetinaNet: cls_loss is nan, focal loss", ""): "nan-in-a-dense-head-with-focal-loss",
    ("FCOS 的分类损失 nan，框检查过", ""): "nan-in-a-dense-head",
    ("NeRF 的 loss 不降，渲染全白", ""): "empty-nerf",
    ("the NLL of my VAE decoder is below zero", "negative-loss"): "a-density-may-exceed-one",
    ("the NLL of my VAE decoder is below zero", "loss-spike"): None,
    ("YOLO loss nan, should I just stop the training?", ""): "nan-in-a-box-loss",
    ("loss is nan, should I just stop?", ""): "stop-or-go-on",
    ("should I stop when the loss no longer falls?", ""): None,
    ("训练 loss 正常，cv loss 是 nan", ""): "nan-in-validation-only",
    ("PINN with L-BFGS gives nan", ""): "nan-with-lbfgs",
    ("the FNO gives nan in fp16", ""): "nan-in-an-fft",
    ("CRNN 的 loss 是 inf", ""): "infinite-ocr-loss",
    ("YOLO 的 mAP 一直是 0", ""): "zero-map",
    ("rollout buffer is nan in PPO", ""): "nan-in-ppo",
    ("my CRF loss is below zero", "negative-loss"): "negative-crf-loss",
    ("BiLSTM-CRF is slow", ""): None,
    ("wenet, DeepSpeed fp16 on a V100: loss is nan", ""): "card-without-bf16",
    ("the input looks fine, all outputs are nan", ""): "sound-inputs-nan-outputs",
    ("the MAPE is nearly 4000%", ""): "huge-percentage-error",
    ("PINN loss does not decrease", ""): "pinn-at-rest",
    ("学习率设为 0，loss 依然是 nan", ""): "rate-of-zero-still-nan",
    ("the Dice is always 0", ""): "dice-of-zero",
    ("the Dice of one class is nan", ""): "nan-for-one-class",
    ("RetinaNet is slow", ""): None,
    ("PP-YOLO 单卡训练 loss 变成 nan", ""): "config-for-eight-cards",
    ("fine on two GPUs, on a single GPU it cannot converge", ""): "fewer-devices-worse",
    ("acc: 0.000000, norm_edit_dis: 0.000039", "loss-falls-accuracy-zero"): "whole-lines-only",
    ("学习率调成 0，loss 还是 nan", ""): "rate-of-zero-still-nan",
    ("each loss is fine but the total loss is nan", ""): "total-nan-parts-finite",
    ("用了 DataParallel 多卡，loss 特别大", ""): "larger-loss-on-several-devices",
    ("续训的 loss 和从头训练一样", "nan-after-resume"): "resume-starts-over",
    ("斷點續訓後 loss 變高", "nan-after-resume"): "resume-what-to-compare",
    ("the loss rises after the end of warm-up", ""): "at-the-end-of-warm-up",
    ("loss 是 nan，mAP 都是 0", ""): "zero-metric-follows-nan",
    ("clip 了，grad norm 还是几百", ""): "norm-before-clipping",
    ("overflow, still update, loss scale adjust to 1024.0, loss: nan", ""): "continued-after-overflow",
    ("batch size 设成 2，loss 震荡", ""): "small-batches-are-noisy",
    ("昇腾 NPU 和 GPU 的结果对不齐", ""): "npu-and-gpu-differ",
    ("A800 上和 V100 上推理结果差异明显", ""): "cards-differ",
    ("mIoU: 0.5000 Acc: 1.0000 Kappa: nan", ""): "iou-of-an-absent-class",
    ("断点续训，从头训练", ""): None,
    ("TensorRT fp16 engine is slow", ""): None,
    ("我的 WGAN 收敛很慢", ""): None,
}


def test_words_of_users_lead_to_the_clue_that_is_meant(library):
    from qa_service.parsing.observations import observe
    from qa_service.parsing.particulars import read_particulars

    def found(text: str, entry_id: str = "") -> str | None:
        bare = replace(library[entry_id or "powers-of-0-9-and-1-1"], tell=(), signs=())
        one = find_clue(library.clues, (*observe(text), *read_particulars(text)), bare)
        return one and one.clue.id

    assert {text: found(text) for text in CASES} == CASES
    assert {case: found(*case) for case in PARTICULAR} == PARTICULAR


# Files


VALID_CLUE = """\
signs = ["in:float16", "fine:bfloat16"]
entry = "raising"

[says]
zh = "缺的是范围。"
en = "Range is missing."
"""


@pytest.fixture
def read(tmp_path, toy_experiments):
    """Reads the toy entries with one clue of this text."""
    shutil.copytree(TOYS / "kb", tmp_path / "kb")
    (tmp_path / "kb" / "clues").mkdir()

    def library_of(text: str) -> Library:
        (tmp_path / "kb" / "clues" / "range.toml").write_text(text, encoding="utf-8")
        return Library.read(tmp_path / "kb", toy_experiments)

    return library_of


def test_a_file_in_kb_clues_is_a_clue_and_no_entry(read):
    library = read(VALID_CLUE)
    assert set(library) == {"counting", "hanging", "raising"}
    assert [one.id for one in library.clues] == ["range"]
    assert library.clues[0].signs == signs("in:float16 fine:bfloat16")
    assert library.clues[0].says == Text("缺的是范围。", "Range is missing.")


@pytest.mark.parametrize(
    ("good", "bad", "line", "expected"),
    [
        ("in:float16", "in:float17", 1, "signs of the vocabulary"),
        ('entry = "raising"', 'entry = "raise"', 2, "the id of the entry that shows it, not 'raise'"),
        ('zh = "缺的是范围。"\n', "", 3, "text in zh and en"),
        ('entry = "raising"', 'entry = "raising"\nexcluded_by = ["in:float16"]', 3, "not in:float16"),
        ('["in:float16", "fine:bfloat16"]', "[]", 1, "at least one"),
        ("entry =", "when = []\nentry =", 2, "no key 'when'"),
        ("entry =", 'below = ["raise"]\nentry =', 2, "ids of entries, not 'raise'"),
    ],
)
def test_a_problem_of_a_clue_is_reported_with_its_line(read, good, bad, line, expected):
    with pytest.raises(BadLibrary) as broken:
        read(VALID_CLUE.replace(good, bad))
    assert any(f"range.toml:{line}: " in each and expected in each for each in broken.value.problems), broken.value


def test_lint_holds_the_sentence_to_its_form():
    """A clue has one sentence of limited length, without live numbers, in the terms of the glossary."""
    for says, expected in (
        (Text("甲" * 61 + "。", "Fine."), "zh: expected at most 60"),
        (Text("好。", "word " * 30 + "end."), "en: expected at most 30"),
        (Text("甲。乙。", "Fine."), "zh: expected one sentence"),
        (Text("好。", "One. Two."), "en: expected one sentence"),
        (Text("好。", "It took [[sum.steps]]."), "no live number"),
        (Text("坏数。", "Fine."), "非有限值"),
    ):
        assert any(expected in each for each in clue_problems(replace(RANGE, says=says))), says
    assert not list(clue_problems(replace(RANGE, says=Text("大于 0.5 才行。", "Only above 0.5, by torch.where."))))
    assert duplicate_clues([RANGE, replace(RANGE, id="again")])
    assert not duplicate_clues([RANGE, replace(RANGE, id="again", below=("counting",))])
    assert not duplicate_clues([RANGE, RANGE_NAN])


def test_lint_names_the_file_of_a_clue(read, tmp_path, terminal):
    read(VALID_CLUE.replace("Range is missing.", "Range. Missing."))
    env = {"NUMSTAB_KB": str(tmp_path / "kb"), "NUMSTAB_DEMOS": str(TOYS / "demos"), "NUMSTAB_CACHE": str(tmp_path)}
    path = tmp_path / "kb" / "clues" / "range.toml"
    listed = terminal("kb", "lint", str(path), env=env)
    assert f"{path}: says.en: expected one sentence" in listed.stdout
    assert listed.returncode == 1


# Shown

QUESTIONS = {"zh": "float16 训练 loss 是 nan，bf16 下正常", "en": "float16 loss is nan, bf16 works"}
HEADS = {
    "zh": "**从你说的看**（float16、bfloat16 下正常）：",
    "en": "**From what you say** (float16, fine in bfloat16): ",
}
LINKS = {lang: f"/entries/raising?lang={lang}" for lang in LANGS}


@pytest.fixture
def asked(toy_service):
    """A function that asks for an entry in a language, from a service that has one clue."""
    known = toy_service.knowledge
    library = Library(dict(known.library), known.library.subjects, (RANGE,))
    toy_service.replace_knowledge(replace(known, library=library))

    def ask(lang: str, **options: object):
        request = Request(question=QUESTIONS[lang], entry="counting", lang=lang, run=False, **options)
        return toy_service.ask(request)

    return ask


@pytest.mark.parametrize("lang", LANGS)
def test_json_has_the_clue_and_the_text_has_it_below_the_short_answer(asked, lang):
    data = answer_json(asked(lang)).model_dump()
    assert data["clue"] == {
        "id": "range",
        "text": HEADS[lang] + (f"{SAYS.zh}（raising）" if lang == "zh" else f"{SAYS.en} (raising)"),
        "entry": "raising",
        "because": ["in:float16", "fine:bfloat16"],
    }
    assert data["answer"].split("\n\n")[1] == data["clue"]["text"]
    used = {f"{each['kind']}:{each['value']}": each["used_by"] for each in data["observations"]}
    assert "clue" in used["in:float16"]
    assert used["fine:bfloat16"] == ["clue"]
    assert "clue" not in used["what:nan"]


@pytest.mark.parametrize("brief", [False, True])
def test_the_pieces_of_an_answer_have_it_too(asked, brief):
    """The cached text of an answer with one clue is not used for another clue, and contains no words of the
    question.
    """
    for lang in LANGS:
        answer = asked(lang)
        for one in (answer, replace(answer, clue=None), answer):
            assert answer_pieces(one, brief=brief).join() == answer_json(one, brief=brief).to_json()
    with_words = replace(
        answer, clue=replace(answer.clue, because=tuple(replace(each, text="x") for each in answer.clue.because))
    )
    assert answer_pieces(with_words, brief=brief).text is answer_pieces(answer, brief=brief).text


def test_a_sign_struck_out_takes_its_clue_with_it(asked):
    assert asked("en", removed_chips=("fine:bfloat16",)).clue is None


def test_openapi_describes_it(toy_service):
    with TestClient(create_app(toy_service, Settings.from_env({}))) as client:
        schemas = client.get("/openapi.json").json()["components"]["schemas"]
        unclued = client.post("/api/v1/ask", json={"question": "counting numbers one", "run": False}).json()
    assert set(schemas["ClueJson"]["properties"]) == {"id", "text", "entry", "because"}
    assert "clue" in schemas["AnswerJson"]["properties"]
    assert unclued["clue"] is None


def test_a_clue_without_an_entry_of_its_own_is_shown_without_a_link(asked, toy_service):
    """There is also no link if the clue's entry is the one that answers."""
    for entry in ("", "counting"):
        answer = replace(asked("en"), clue=replace(asked("en").clue, clue=replace(RANGE, entry=entry)))
        data = answer_json(answer).model_dump()
        assert data["clue"]["text"] == HEADS["en"] + SAYS.en
        assert data["clue"]["entry"] == "counting"
        _, page = page_event(
            AnswerReady(answer), "en", toy_service.knowledge.experiments, toy_service.knowledge.library["counting"]
        )
        assert SAYS.en in page.html
        assert f"{SAYS.en}</a>" not in page.html


def test_what_is_particular_is_a_chip_where_a_clue_uses_it_and_can_be_struck_out(toy_service):
    known = toy_service.knowledge
    focal = clue("focal", "with:focal")
    library = Library(dict(known.library), known.library.subjects, (focal,))
    toy_service.replace_knowledge(replace(known, library=library))
    request = Request(question="a focal loss beside a Dice loss", entry="counting", run=False)
    answer = toy_service.ask(request)
    assert [str(each.sign) for each in answer.observations] == ["with:focal"]
    assert answer.used_by["with:focal"] == ("clue",)
    assert answer.clue.clue is focal
    without = toy_service.ask(replace(request, removed_chips=("with:focal",)))
    assert without.clue is None
    assert without.observations == ()


@pytest.mark.parametrize("lang", LANGS)
def test_the_page_links_the_clue_to_its_entry(asked, toy_service, lang):
    _, page = page_event(
        AnswerReady(asked(lang)), lang, toy_service.knowledge.experiments, toy_service.knowledge.library["counting"]
    )
    assert re.search(rf'<a href="{re.escape(LINKS[lang])}"[^>]*>{SAYS[lang]}</a>', page.html)
    assert {"zh": "用来推断", "en": "to infer a cause"}[lang] in page.html


@pytest.mark.parametrize("lang", LANGS)
def test_the_terminal_prints_it_below_the_short_answer(asked, lang):
    printed = io.StringIO()
    TerminalView(lang, file=printed).print_short(asked(lang))
    text = "".join(printed.getvalue().split())
    assert "".join(HEADS[lang].replace("*", "").split()) in text
    assert "raising" in text


@pytest.mark.parametrize("lang", LANGS)
def test_a_chat_has_it_with_a_link_whether_anything_runs_or_not(asked, lang):
    for runs in (False, True):
        writer = AnswerWriter(asked(lang), "https://n.example/", runs=runs)
        text = "".join(passage.text for passage in [*writer.ready(), *writer.rest(asked(lang))])
        assert f"{HEADS[lang]}[{SAYS[lang]}](https://n.example{LINKS[lang]})" in text


@pytest.mark.parametrize("lang", LANGS)
def test_agents_and_notebooks_have_it(asked, lang):
    """Replies of an older server, which sends no clue, can be read too."""
    data = answer_json(asked(lang)).model_dump(mode="json")
    assert HEADS[lang] in ask_result(asked(lang)).answer
    assert SAYS[lang] in answer_html(data, [])
    assert HEADS[lang] in remote_text(data, None)
    del data["clue"]
    assert SAYS[lang] not in answer_html(data, [])
    assert SAYS[lang] not in remote_text(data, None)
