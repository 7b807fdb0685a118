"""Finding the entry: questions of kinds that were once missed, in words that no phrasing has, and related questions
outside the subject.
"""

from qa_service.knowledge.library import Library
from qa_service.model import LANGS, AnswerStatus, Request

CONSTANT = {"chance-labels-or-data", "loss-flat-at-chance"}
RANGE = {"bf16-model-in-float16", "black-images-in-float16", "garbage-at-inference"}
FOUND = {
    # a constant accuracy from the start is no collapse
    "我做猫狗二分类，从第一个 epoch 起训练集和验证集的正确率就都是一半，再训下去也没有任何起色": CONSTANT,
    "Cats against dogs: training and validation accuracy have both been one half since the first epoch": CONSTANT,
    "损失每轮都在变小，可是打印出来的准确率自始至终是同一个数": {"loss-falls-accuracy-zero"},
    "Every epoch the loss is lower than before, yet the printed accuracy is one and the same number": {
        "loss-falls-accuracy-zero"
    },
    # only float16 breaks, bfloat16 is fine: the range
    "同一份 flan-t5 脚本，--fp16 第一步损失就 nan，只改成 --bf16 一路正常，这是为什么": RANGE,
    "Same script, same T5-large: with --fp16 the loss is nan, with --bf16 everything trains. Why?": RANGE,
    # the mechanism that is named beats the general symptom
    "车牌识别网络训练三轮以后 CTC 损失成了 nan，调小学习率只晚了一轮": {"ctc-loss-inf"},
    "My licence plate reader (CTC) turns nan in epoch three, a lower rate just delays it": {"ctc-loss-inf"},
    "VAE 训了几十步，KL 那一项从几百涨到十的二十次方，接着整个损失就 nan 了": {
        "vae-kl-at-start", "log-variance-overflow"
    },
    "A few dozen steps into my VAE the KL term has gone from hundreds to 1e20 and then it is all nan": {
        "vae-kl-at-start", "log-variance-overflow"
    },
    "用 EM 拟合混合高斯，第五次迭代后协方差矩阵不是正定的，对数似然变成 nan": {"cholesky-jitter"},
    "EM on a mixture of Gaussians: after the fifth iteration a covariance is not positive definite, likelihood nan": {
        "cholesky-jitter"
    },
    # a checkpoint that is loaded again
    "昨天停掉的任务今天重新加载断点接着跑，损失比停的时候高了一大截": {"nan-after-resume"},
    "Reloaded yesterday's checkpoint to go on, and the loss is way higher than where I stopped": {"nan-after-resume"},
    # alone and in a batch
    "同一张照片，批量为 1 和批量为 8 时网络给出的预测不一样，权重没变，也没有随机性": {
        "batch-of-one-differs", "evaluating-in-train-mode", "good-in-train-bad-in-eval"
    },
    "A picture sent through the network by itself and together with seven others: the masks do not agree": {
        "batch-of-one-differs", "evaluating-in-train-mode", "good-in-train-bad-in-eval"
    },
    # fine in half precision, broken in int8
    "float32 和 float16 的引擎检测都正常，校准成 int8 以后一大半目标没了": {
        "int8-int4-outliers",
        "calibration-set-for-int8",
    },
    "float32 and float16 engines detect fine, calibrated to int8 more than half of the objects are gone": {
        "int8-int4-outliers",
        "calibration-set-for-int8",
    },
    # one device is fine, several are not
    "单张显卡训练没有问题，换成四张卡十几步之后损失就是 nan": {
        "average-of-rank-means", "one-rank-poisons-all", "only-on-this-device"
    },
    "Training on a single card is normal, on four cards the loss is nan after a dozen steps": {
        "average-of-rank-means", "one-rank-poisons-all", "only-on-this-device"
    },
    # clipping: what is logged, and which value
    "裁剪阈值是 1，日志打印的 grad_norm 却有二十多，这是裁剪之前的还是之后的": {"log-gradient-norm-before-clipping"},
    "max_grad_norm is 0.5 and the console still says grad_norm 23, is clipping broken?": {
        "log-gradient-norm-before-clipping"
    },
}  # fmt: skip
NOT_OURS = [
    "AWQ 量化一个 14B 模型要多久，比 GPTQ 慢很多吗",
    "quantising a 14B model with AWQ takes forever, GPTQ is quick",
    "mmdet 四卡训练断言失败，说各卡的 loss 日志变量数目不同",
    "rule of thumb for lora_alpha when the rank is 64",
]


def test_the_entry_that_answers_comes_first(service):
    """At most two questions may miss; their entry must be among the best three, as any new phrasing may change a close
    order.
    """
    answers = {question: service.ask(Request(question=question, run=False)) for question in FOUND}
    missed = {
        question: (answer.status, answer.entry and answer.entry.id)
        for question, answer in answers.items()
        if answer.entry is None or answer.entry.id not in FOUND[question]
    }
    assert len(missed) <= 2, missed
    for question in missed:
        assert FOUND[question] & {match.entry.id for match in answers[question].matches[:3]}, question


def test_a_related_question_outside_the_subject_is_declined(service):
    """At most one question may fail."""
    answered = [
        question
        for question in NOT_OURS
        if service.ask(Request(question=question, run=False)).status is AnswerStatus.ANSWERED
    ]
    assert len(answered) <= 1, answered


def test_no_phrasing_has_these_words(service):
    """If phrasings contained the questions of the tests above, these would only test memorisation."""
    library: Library = service.knowledge.library
    owners = [*library.values(), *library.subjects]
    phrasings = {wording for owner in owners for lang in LANGS for wording in owner.wordings(lang)}
    assert not phrasings.intersection((*FOUND, *NOT_OURS))
