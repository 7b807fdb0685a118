"""The prompts, which tell a language model how to diagnose a training run, or to teach, with the tools."""

from dataclasses import dataclass

from qa_service.model import Text
from qa_service.parsing import detect_language


@dataclass(frozen=True, slots=True)
class PromptSpec:
    """A prompt with one argument, whose place in `text` is {}; `about` describes the argument."""

    name: str
    title: str
    description: str
    argument: str
    about: str
    text: Text

    def fill(self, value: str) -> str:
        """The prompt with its argument, in the argument's language."""
        return self.text[detect_language(value)].replace("{}", value)


PROMPTS = {
    prompt.name: prompt
    for prompt in (
        PromptSpec(
            "diagnose_nan",
            "Diagnose nan, inf or a diverging loss",
            "From a symptom, a log or a piece of code to the likeliest cause, with measured evidence",
            "symptom",
            "what is seen: the log, the message, the code, what was tried",
            Text(
                "我的训练出了这样的问题：\n\n{}\n\n"
                "请用 numstab 的工具找出原因：\n"
                "1. 用 ask 原样问这个现象，把我给的数字、数据类型、在哪一步都带上。\n"
                "2. 如果结果里有几种可能，先按“怎么分辨”里说的，告诉我该看什么，一次只问我一个问题。\n"
                "3. 对最可能的原因，用 run_experiment 或 compare 在我的数字上测一遍：出错的做法和改过的做法各一次。\n"
                "4. 给出改法（几行代码）。只引用工具测得的数，并说明断言是否成立；知识库不涵盖的，就直说不涵盖。",
                "My training shows this:\n\n{}\n\n"
                "Find the cause with the tools of numstab:\n"
                "1. Call ask with the symptom as it stands, with my numbers, formats and the place where it happens.\n"
                "2. If several causes are possible, tell me what to look at, as 'how to tell' says; one question at a "
                "time.\n"
                "3. For the likeliest cause, measure at my numbers with run_experiment or compare: once as it is, once "
                "with the cure.\n"
                "4. Give the cure in a few lines of code. Quote only numbers that a tool has measured, and say whether "
                "the claims held; where the knowledge base does not cover something, say so.",
            ),
        ),
        PromptSpec(
            "teach",
            "Teach a topic by prediction and experiment",
            "A Socratic lesson on a topic of numerical stability, in which the student predicts before each run",
            "topic",
            "the topic, such as: multiplying many numbers; softmax overflow",
            Text(
                "请就这个题目给我上一课：{}\n\n"
                "用苏格拉底式的方法，借助 numstab 的工具：\n"
                "1. 先用 ask 找到相关词条，自己读，不要把答案念给我。\n"
                "2. 提一个我能动手预测的问题（会是多少？第几步溢出？），等我回答。\n"
                "3. 我预测之后，才用 run_experiment 在我预测的条件下测，把测得的数与我的预测对照。\n"
                "4. 追问为什么；用 compare 换一个条件（数据类型、激活函数、初始化），再让我预测。\n"
                "5. 最后请我用一句话总结，并指出它在什么条件下不成立（用 check_claim 看对照）。\n"
                "只引用工具测得的数。",
                "Give me a lesson on this topic: {}\n\n"
                "Teach by questions, with the tools of numstab:\n"
                "1. Find the entry with ask and read it yourself; do not recite the answer.\n"
                "2. Ask me something I can predict (what will it be? at which step does it overflow?) and wait.\n"
                "3. Only after my prediction, measure with run_experiment under the conditions I predicted for, and "
                "hold the result against the prediction.\n"
                "4. Ask why. Change one condition with compare (format, activation, initialisation) and let me predict "
                "again.\n"
                "5. At the end ask me for one sentence that sums it up, and show where it does not hold (the controls "
                "of check_claim).\n"
                "Quote only numbers that a tool has measured.",
            ),
        ),
    )
}
"""Name → prompt, in the order in which they are listed."""
