"""The patterns that state a sign in prose, in both languages: data for `observations`.

They are searched in text that is lower-case, with half-width forms and simplified characters. A *clause* ends at a
comma, a full stop or "but".
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from qa_service.model.observation import SIGN_VOCABULARY
from qa_service.parsing.required import grams
from qa_service.parsing.tables import PatternRule
from qa_service.patterns import lazy_pattern

_T = TypeVar("_T")

PLACES: Mapping[str, str] = {
    "loss": r"(?:[a-z\d]+_)?(?<![a-z])loss(?:es)?\d?(?![ _-]?(?:scal|surface|landscape|func|curve|plot)|\.backward"
    r"|[a-z])"
    r"|损失(?!函数|缩放|曲面|地形|曲线)|(?<![a-z])cost(?![a-z])",
    "gradient": r"(?<![a-z])grad(?:ient)?s?(?:[ _]?norms?)?(?![a-z]|[ _]?(?:clip|desc|acc|check|scal))"
    r"|(?<![a-z])gnorm"
    r"|梯度(?!裁剪|下降|累[积加]|检查)",
    "activation": r"activations?(?! func)|激活值|hidden[ _]states?|隐状态|中间层|特征图?|features?(?![a-z])"
    r"|(?<![a-z])outputs?(?![a-z])|输出|latents?(?![a-z])|前向",
    "logit": r"logits?",
    "weight": r"(?<![a-z])weights?(?![a-z]|[ _]?(?:init|decay))|权重(?!初始|衰减)"
    r"|参数(?=.{0,4}(?:nan|没有?(?:怎么)?(?:更新|变|动)|不更新|不变|不动|一直不|都不))"
    r"|(?<![a-z])parameters?(?= (?:are |is |were |do |did |does )?(?:not|never|n['’]t|stay|remain|unchanged))",
    "metric": r"(?<![a-z])(?:val[_ ])?acc(?:uracy)?(?:['\"]|(?![a-z]))|准确率|正确率|指标|结果|效果|性能"
    r"|(?<![a-z])(?:results?|performance)(?![a-z])"
    r"|(?<![a-z])(?:map|f1|auc|recall)(?![a-z])|(?<![半单双合倍])精度(?=.{0,8}(?:掉|降|变|是|为|一直|不|%))",
    "input": r"输入(?:数据)?(?:里|中|本身)?|数据(?:里|中)|(?<![a-z])inputs?(?= (?:is|are|has|have|contain|itself))"
    r"|(?:in|of) (?:the |my )?(?:inputs?|data|dataset)(?![a-z])",
    "label": r"(?<![a-z])(?:labels?|targets?)(?![a-z])|标签",
    "scale": r"(?:loss|grad)[ _-]?scal(?:e|er|ing)|(?<![a-z])scaler|损失缩放(?:系数|因子)?",
    "state": r"optimi[sz]er states?|优化器状态|exp_avg|二阶矩|second moment",
    "": r"学习率|(?<![a-z])lr(?![a-z])|learning[ _-]?rate|batch[ _-]?size|显存|内存|memory|数据[集量]|模型"
    r"|(?<![a-z])model",
}
"""Value of `where` → its names. Under "": other things that may be large or zero, but are no such place."""

_MEASURED = frozenset({"loss", "gradient", "activation", "logit", "weight", "metric", "scale", "state"})
_TENSORS = frozenset({"gradient", "activation", "logit", "weight", "scale", "state"})
_EVERYWHERE = frozenset(PLACES) - {""}


@dataclass(frozen=True, slots=True, kw_only=True)
class Symptom:
    """A value of `what`: patterns that state it, and the places where they do."""

    value: str
    pattern: str
    places: frozenset[str] = _EVERYWHERE
    needs_place: bool = False
    """Whether the words state a symptom only beside one of its places: "loss 是 0", not "seed 是 0"."""


SYMPTOMS: tuple[Symptom, ...] = (
    Symptom(
        value="nan", pattern=r"(?<![a-z])nans?(?![a-z])|not a number"
    ),
    Symptom(
        value="inf",
        pattern=r"(?<![a-z])inf(?:s|inite|inity|inities)?(?![a-z])|(?<!正)(?<!负)无穷(?!多)"
        r"|(?<!内存)(?<!显存)(?<!下)溢出"
        r"|(?<!stack)(?<!stack )overflow(?:s|ed|ing)?"
    ),
    Symptom(
        value="zero",
        pattern=r"(?:全部?|都|等于|变成|变为|是|为|到|一直|始终)\s*(?:是|为"
        r"|成)?\s*(?:0(?:\.0+)?(?:e[+-]?0+)?(?![\d.]*\d|\.?\d*e)|零)"
        r"|(?:is|are|was|were|be|becomes?|became|all|exactly|always|constantly|still|equals?|remains?"
        r"|(?:drop|fall|go|collapse|turn|shrink|converge)(?:s|es|ed|d)? to"
        r"|(?:stay|remain)s?(?: at)?|stuck at|keeps? (?:at|being))\s*(?:all |exactly |always |constantly |still )*"
        r"(?:0(?:\.0+)?(?![\d.]*\d|%|\.?\d*e)|zeros?(?![a-z-]))|(?:(?<=loss )|(?<=norm )|(?<=acc )"
        r"|(?<=accuracy ))0(?:\.0+)?(?![\d.]*\d|%|\.?\d*e)|['\"]?\s*[:=]\s*0(?:\.0+)?(?:e[+-]?0+)?(?![\d.]*\d"
        r"|\.?\d*e)"
        r"|(?<![a-z])zero (?=grad|loss|acc)|underflow\w*|下溢",
        places=_MEASURED, needs_place=True,
    ),
    Symptom(
        value="flat",
        pattern=r"不会?(?:再|怎么)?(?:降(?!低)|下降|(?<!别的都不)动(?!态)|变(?!成|为|量)|涨|更新|收敛|上升|提高|学)"
        r"|没有?(?:什么|任何|明显)?(?:下降|变化|再?涨)|没再?上来|停滞|(?<!还)没有?(?:怎么)?(?:变|动|降|更新)过(?!.{0,4}前)|纹丝不动"
        r"|卡(?:在|住)|(?:一直|始终|总|永远)\s*(?:都?是|为|在|停在|保持在?)?\s*(?=[\d.])|每轮都是"
        r"|(?:does|do|did|is|are|wo)(?: not|n['’]?t) (?:\w+ )?(?:decreas|improv|mov|learn|converg|drop"
        r"|go(?:ing)? down|updat|train|chang(?!\w* any))\w*"
        r"|(?<![a-z])(?:never|not) (?:(?:decreas|converg|improv|learn|chang|mov|updat|drop)\w*"
        r"|go(?:es|ing)? (?:down|below)|gets? below)"
        r"|(?<![a-z])stuck|plateau(?:s|ed)|stagnat\w*|(?<![a-z])hover(?:s|ed|ing)? (?:at|around)"
        r"|(?<![a-z])always (?:at |around |exactly )?(?=[\d.])|(?<![a-z])(?:stays?|remains?|constant|flat) (?:at"
        r"|constant|the same|flat|around)",
    ),
    Symptom(
        value="flat",
        pattern=r"固定(?:为|不变)|(?:保持|维持)不变|(?<!还)没有?更新(?!.{0,6}前)|(?:都是|是|为|在|保持)(?:同)?一个(?:固定的?)?(?:数|值)(?!据)"
        r"|(?<![a-z])always the same(?: number| value)?|(?<![a-z])unchanged",
        places=_MEASURED, needs_place=True,
    ),
    Symptom(
        value="chance",
        pattern=r"(?<![\d.])50(?:\.0+)?\s*%|(?<![\d.])0\.50*(?![\d%])|百分之五十",
        places=frozenset({"metric"}), needs_place=True,
    ),
    Symptom(
        value="chance",
        pattern=r"(?<![\d.])(?:0\.693\d*|1\.0986\d*|2\.30[23]\d*|4\.605\d*|6\.90[78]\d*)"
        r"|(?<![a-z])ln\s*\(?(?:c|2|10)(?![a-z\d])",
        places=frozenset({"loss"}), needs_place=True,
    ),
    Symptom(
        value="constant",
        pattern=r"输出.{0,6}(?:一样|相同|恒定|不变)|预测.{0,6}(?:全|都)(?:是|为)?(?:同一|一样|一个|一类)"
        r"|(?:same|identical|constant) (?:output|prediction)s?"
        r"|(?:outputs?|predict(?:s|ions?)?) (?:are |is )?(?:always |all )?(?:the )?(?:same|identical|constant)"
        r"|predicts? (?:only |always )*(?:one|a single|the same) (?:class|value|label)",
        places=frozenset(),
    ),
    Symptom(
        value="growing",
        pattern=r"爆炸|爆掉|(?<![火核])炸(?!鸡)|(?:越来越|突然变得?很?|不断变|一直变|持续变)大|(?:涨|升|增"
        r"|窜)(?:到|至)|飙升|暴涨|飞了|发散"
        r"|explod(?:e|es|ed|ing)|explosion|blow(?:s|n|ing)?[ -]?ups?(?![a-z])|blew up|diverg(?:e|es|ed|ing)(?![a-z])"
        r"|shoots? up|skyrocket\w*",
        places=_MEASURED - {"metric"},
    ),
    Symptom(
        value="shrinking",
        pattern=r"消失|弥散|越来越小|vanish\w*|shrink\w*|减半|halv(?:e|es|ed|ing)|(?:一直|不断|持续)(?:变小|往下掉"
        r"|下降|降)"
        r"|keeps? (?:falling|dropping)",
        places=_TENSORS, needs_place=True,
    ),
    Symptom(
        value="spike",
        pattern=r"尖峰|毛刺|突刺|突增|突然(?:跳|窜|蹿|升高)|(?:跳|窜|蹿)(?:到|至)|一下子?(?:变得?)?(?:很|特别|非常)?[大高]"
        r"|spik(?:es?|ed|y)(?![a-z])|(?<![a-z])suddenly (?:\w+ ){0,3}(?:high|large|huge)(?![a-z])"
        r"|(?<![a-z])jump(?:s"
        r"|ed)?(?! around)(?![a-z])",
        places=_MEASURED,
    ),
    Symptom(
        value="recovered",
        pattern=r"(?<!能)(?<!会)恢复(?!训练|吗|[之以]?后|模型|检查点|断点)"
        r"|(?<!will it )(?<!can it )recover(?:s|ed)(?![a-z])|comes? back down"
        r"|returns? to normal",
        places=_MEASURED,
    ),
    Symptom(
        value="skip",
        pattern=r"跳过(?=.{0,4}(?:步|更新|迭代|batch|step|参数))|skip(?:s|ped|ping)?(?: this| the| a"
        r"| every)?[ _](?:step|update|batch|iteration)s?",
        places=frozenset(),
    ),
    Symptom(
        value="minimum",
        pattern=r"(?:降|到|达)到?了?(?:最小|最低|下限)|at (?:its |the )?minimum|minimum loss scale|触底",
        places=frozenset({"scale"}), needs_place=True,
    ),
    Symptom(
        value="worse",
        pattern=r"变差|差很多|更差|很差|(?<![a-z])worse(?![a-z])|degrad(?:es|ed)",
        places=frozenset({"metric", "loss"}), needs_place=True,
    ),
    Symptom(
        value="worse",
        pattern=r"(?:掉|跌|降)(?:到|至)(?=\s*[\d零])"
        r"|(?<![a-z])(?:drop|fall|decrease|collapse)(?:s|es|ed|d)? (?:to (?=[\d.])|(?:\w+ ){0,3}(?:abruptly"
        r"|suddenly|sharply|a lot))",
        places=frozenset({"metric"}), needs_place=True,
    ),
    Symptom(
        value="differs",
        pattern=r"(?:结果|输出|特征|预测|logits?).{0,4}(?:不一样|不一致|不同|不相等|对不上)"
        r"|(?:差别|差异)(?:很|挺|非常)?大|(?:不能|无法)复现"
        r"|different (?:\w+ )?(?:results?|outputs?|numbers|loss(?:es)?|answers?|predictions?|features"
        r"|logits)(?![a-z])"
        r"|(?:results?|outputs?|losses|features|logits|predictions?) (?:\w+ ){0,5}?"
        r"(?:differs?|(?:is|are) (?:slightly |very )?different|do(?:es)?(?:n['’]t| not) (?:match|agree)"
        r"|(?:is|are) (?:not consistent|inconsistent))(?![a-z])"
        r"|(?:outputs?|results?|logits|inference|numerical|losses|predictions?) mismatch"
        r"|(?:not|isn['’]t) (?:reproducible|deterministic)|non-?determinis\w*",
        places=frozenset(),
    ),
    Symptom(
        value="garbage",
        pattern=r"乱码|感叹号|!{3,}|全黑|黑图|胡言乱语|black (?:image|picture|output|frame)s?"
        r"|(?:images?|pictures?|output|frames?) (?:\w+ ){0,3}black|gibberish|(?<![a-z])garbage(?! coll)"
        r"|空(?:的)?(?:回答|输出)|empty (?:answer|output|response)s?",
        places=frozenset(),
    ),
    Symptom(
        value="large",
        pattern=r"(?:特别|非常|很|太|过|巨|这么)大|高(?:得多|很多|不少|了?一大?截)"
        r"|(?<![a-z])huge|(?:much|far|way|a lot) (?:larger|bigger|higher)"
        r"|(?:(?:very|too|so|really|extremely) )+(?:large"
        r"|big|high)|enormous",
        places=_MEASURED - {"metric"}, needs_place=True,
    ),
    Symptom(
        value="large",
        pattern=r"(?<!step )(?<!epoch )(?<!步数)(?:变成|变为|变到|到了?|是|为|高达|达到|跑到)"
        r"\s*(?:\d(?:\.\d+)?e\+?(?:0?[5-9]|[1-9]\d)(?!\d)"
        r"|\d{6,}(?!\d|\s*(?:步|条|张|个|次))|(?:上|几)[十百千]?[万亿](?!分))"
        r"|(?:is|are|was|becomes?|became|reache[sd]|to|about|around)\s*(?:\d(?:\.\d+)?e\+?(?:0?[5-9]|[1-9]\d)(?!\d)"
        r"|\d{6,}(?!\d| ?(?:k|m|steps?|samples|images|tokens|iter\w*|epochs?|examples|param\w*)))"
        r"|(?<![a-z])in the (?:hundreds of thousands|millions|billions)",
        places=_MEASURED - {"metric", "scale"}, needs_place=True,
    ),
    Symptom(
        value="unstable",
        pattern=r"震荡|振荡|抖动|忽[大高]忽[小低]|时高时低|不稳定?|oscillat(?:es?|ed|ing)|fluctuat(?:es?|ed|ing)"
        r"|jumps? around"
        r"|(?<![a-z])unstable",
        places=_MEASURED,
    ),
    Symptom(
        value="finite",
        pattern=r"(?<!是否)正常(?!化|样本|分布|数据|吗|么|嘛|不|与否|[？?])|没有?问题(?!吗|么|嘛|[？?])"
        r"|(?<![a-z])(?:is|are|looks?|was|were|seems?) (?:all )?(?:fine|ok(?:ay)?|normal|finite)(?![a-z])"
        r"|(?<=training is )stable",
        places=frozenset({"loss", "gradient", "weight", "logit", "activation"}), needs_place=True,
    ),
)  # fmt: skip
"""How the values of `what` are stated; a value may be stated in several ways, each of its own places."""

ONSET = lazy_pattern(r"出现|发生|(?<![a-z])(?:happen|appear|occur)(?:s|ed)?(?![a-z])")
"""States that something is seen, not what: "it only happens after 3000 steps"."""
HEALTHY_AT_FIRST = lazy_pattern(
    r"正常|没问题|还好|挺好|好好的|下降|收敛|(?:is|was|were|looks?|looked|seems?|goes|went|trains?|trained|runs?|ran|starts?)"
    r" (?:out |off )?(?:fine|ok(?:ay)?|normal(?:ly)?|well|good)|(?:decreas|fall|drop|go)\w* (?:down|normally"
    r"|at first)"
)
"""States that the beginning was healthy: "一开始还好", "it trains fine at the beginning"."""
UNQUALIFIED_FINITE = lazy_pattern(r"training is stable|训练(?:很|挺|一直)?稳定")

HEALTHY_START = lazy_pattern(
    r"(?:前面?|头)\s*[\d几十百千万两]{1,9}\s*[万千百k]?多?\s*个?\s*(?:步|轮|epochs?|steps?|iter\w*|batch\w*)[^,。;]{0,6}?"
    r"(?:正常|没问题|没事|还好|很?好|稳定|下降|收敛|在降)"
    r"|first (?:few|couple of|several|[\d,.]{1,9}k?|hundred|thousand)(?: hundred| thousand)? (?:\w+ )?"
    r"(?:steps?|iter\w*|epochs?|batches|updates) (?:\w+ ){0,2}?"
    r"(?:fine|ok(?:ay)?|normal(?:ly)?|good|well|stable|healthy)(?![a-z])"
)
"""States for how long all was well: "the first 500 steps were fine"."""
ONLY_A_TIME = lazy_pattern(
    r"(?:(?:it|this|that) )?(?:(?:only )?(?:happen|start|begin|began|occur|appear)(?:s|ed)? |is |was )?"
    r"(?:at|from|around|on|after|since)?"
    r" ?(?:about |around |roughly )?(?:the )?(?:step|epoch|iter(?:ation)?|batch) #?(?P<en>\d{1,9})k?"
    r"|(?:是|从|在|大概|大约)*第?\s*(?P<zh>\d{1,9}|[二三四五六七八九十百千万几两]{1,5})\s*[万千百k]?多?\s*个?\s*(?:步|轮|epoch|iter\w*|step)"
    r"(?:左右|之?后|以后|上|时|的时候)?(?:才|就)?(?:开始|出现|发生|出的?|出问题)?的?"
)
"""A text that is nothing but the time at which something began: "step 1200", "第 1200 步开始的"."""

TIMES: Mapping[str, str] = {
    "first_step": r"(?:从?一|刚刚?)开始|一上来|第(?:一|1)\s*个?\s*(?:步|次迭代|batch|step|iter\w*)"
    r"|first (?:few )?(?:step|iteration|batch|forward|update)s?(?! (?:to|of|would|should)| in (?:debug"
    r"|find|fix|solv|any|the |this |such))"
    r"|(?:from|at|in|on) (?:the )?(?:very )?(?:beginning|start|outset)|immediately|(?:right|straight) away|(?:step"
    r"|iter\w*) ?[01](?!\d)",
    "later": r"(?:after|around|at|within) (?:about |around |roughly |some |a |the )*(?:[\d,.]+k?\+?|few|several"
    r"|couple|hundreds?|thousands?|many)"
    r" ?(?:of |hundred |thousand |million )?(?:\w+ )?(?:steps?|iter\w*|epochs?|batches|updates|minutes|hours|days)"
    r"|(?:at|on|in|around) (?:step|epoch|iter\w*) (?:[2-9]|\d{2,})|half-?way|mid-?training|late in training"
    r"|after a while|eventually"
    r"|(?:after|at|in|on|during) (?:the )?(?:second|third|fourth|fifth|last|\d+(?:nd|rd|th)) (?:epoch|step"
    r"|iteration|batch)"
    r"|(?:跑|训练?|迭代)了?(?:大概|大约|约|差不多)?\s*(?:[\d.]{1,9}"
    r"|[几十百千万两]{1,4})\s*[万千百k]?多?\s*个?\s*(?:步|轮|小时|天|epoch|step)"
    r"|训练?(?:到|了|几|一)?(?:一半|一段时间|中途|后期|\s*\d+\s*%)"
    r"|(?:(?<![\d.])[\d.]{1,9}|[几十百千万两]{1,4})\s*[万千百k]?多?\s*个?\s*(?:步|epochs?|轮|次|小时|天|steps?|iter\w*"
    r"|batch(?:es)?)\s*(?:之?后|左右|以后|才)"
    r"|后来|中途|过一会|跑着跑着|训着训着|突然(?:就|变|成|为|出现|\s|[a-z]{4})*nan|suddenly (?:\w+ ){0,3}(?:nan|inf)"
    r"|第\s*(?:[2-9二三四五六七八九]|\d{2,}|十)\s*个?\s*(?:步|轮|epoch|次)"
    r"|在\s*(?:[2-9]|\d{2,9})\s*[万千wk]?\s*多?\s*个?\s*(?:步|轮|epoch|iter\w*)",
    "resume": r"断点续训|续训|接着训|恢复训练|从\s*(?:checkpoint|ckpt|断点)|(?<!should i )(?<!can i )resum(?:e|es"
    r"|ed|ing)(?![a-z])"
    r"|(?:load|restart)\w* (?:from )?(?:a |the )?checkpoint|(?:restor|reload)\w* (?:\w+ ){0,6}?(?:checkpoint|ckpt)"
    r"|(?<![a-z])(?:checkpoint|ckpt) (?:is |was )?(?:re)?(?:load|stor)\w*"
    r"|重新加载\s*(?:了|上次的|保存的)*\s*(?:checkpoint|ckpt|检查点|断点|权重|模型)"
    r"|从.{0,8}(?:模型|权重|检查点|存档).{0,2}恢复",
    "eval": r"评估|验证(?:集|时|阶段|损失|准确率)|测试(?:集|时|的时候)|(?<![a-z])eval(?![a-z])|evaluat\w+|validation"
    r"|(?<![a-z])val[_ ](?:loss|acc)"
    r"|test (?:set|time|loss|acc\w*)",
    "inference": r"推理|生成(?:时|的时候|阶段)|(?<![a-z])inference|multinomial|during generation|when generating",
    "backward": r"反向传播|反传|backward pass|(?:in|during) backward|[a-z]backward\d? returned|\.backward\("
    r"|backprop\w*",
    "sometimes": r"偶尔|有时候?|时不时|时有时无|随机(?:出现|地)|不是每次|概率性|(?<![a-z])sometimes|occasionally"
    r"|once in a while"
    r"|now and then|intermittent\w*|sporadic\w*|randomly|at random|random (?=nan|inf|spike|black)|some batches",
    "after_change": r"(?:改成|换成|改为|升级|切换到?|改了).{0,16}?(?:之?后|以后|就)|(?:量化|合并|升级|更新"
    r"|转换)(?:之?后|以后)"
    r"|(?:after|since|when) (?:i )?(?:switch|chang|upgrad|updat|replac|modif|enabl)\w*",
}
"""Value of `when` → how it is stated; it counts only beside a symptom."""

SETTINGS: Mapping[str, str] = {
    "float16": r"(?<![a-z])(?:fp|float|f)[ _]?16(?!\d)|(?<![a-z])half(?:[ -]precision|\(\))|半精度|mixed_float16",
    "bfloat16": r"(?<![a-z])bf[ _]?16|bfloat[ _]?16",
    "float32": r"(?<![a-z])(?:fp|float)[ _]?32|(?:single|full)[ -]precision|单精度|全精度",
    "float64": r"(?<![a-z])(?:fp|float)[ _]?64|double[ -]precision|双精度",
    "float8": r"(?<![a-z])(?:fp|float)[ _]?8(?!\d)|e4m3|e5m2",
    "int8": r"(?<![a-z])int[48](?!\d)|(?<![\w.])[48][ -]?bit(?![a-z])|量化|quanti[sz](?:ed|ation)|gptq|(?<![a-z])awq",
    "amp": r"(?<![a-z])amp(?![a-z])|autocast|混合精度|mixed[ _-]?(?:precision|float16)",
    "grad_scaler": r"grad[ _]?scaler|loss[ _]scaler|动态损失缩放|dynamic loss scal",
    "sgd": r"(?<![a-z])sgd(?![a-z])",
    "adam": r"(?<![a-z])adamw?(?![a-z])",
    "batch_norm": r"batch[ _-]?norm(?:ali[sz]ation)?|(?<![a-z])bn(?:\d|(?![a-z\d]))|批量?归一化|批标准化",
    "layer_norm": r"layer[ _-]?norm(?:ali[sz]ation)?|rms[ _-]?norm|层归一化|(?<![a-z])(?:pre|post)-?(?:norm"
    r"|ln)(?![a-z])",
    "dropout": r"dropout",
    "softmax": r"softmax",
    "cross_entropy": r"cross[ _-]?entropy|交叉熵|(?<![a-z])b?ce[ _]?loss|binary_crossentropy",
    "sigmoid": r"(?<![a-z])sigmoid",
    "tanh": r"(?<![a-z])tanh",
    "relu": r"(?<![a-z])(?:leaky[ _]?)?relu",
    "attention": r"attention|注意力|xformers|(?<![a-z])sdpa",
    "transformer": r"(?<![a-z])transformers?(?![a-z.])|(?<![a-z])(?:bert|gpt|llms?|llama|qwen)(?![a-z])|大模型"
    r"|大语言模型",
    "recurrent": r"(?<![a-z])(?:rnn|s?lstm|gru)s?(?![a-z])|循环(?:神经)?网络|(?<![a-z])recurrent",
    "residual": r"残差|(?<![a-z])resnet|(?<![a-z])residual|skip[ -]connection",
    "lora": r"(?<![a-z])q?lora(?![a-z])|微调|fine-?tun(?:e|es|ed|ing)(?![a-z])|(?<![a-z])sft(?![a-z])",
    "gan": r"(?<![a-z])w?gans?(?![a-z])|判别器|生成器|discriminator",
    "reinforcement": r"(?<![a-z])(?:ppo|grpo|dpo|rlhf|dqn|a2c)(?![a-z])|强化学习|reinforcement learning|reward model",
    "diffusion": r"diffusion|扩散模型|(?<![a-z])vae(?![a-z])",
    "ctc": r"(?<![a-z])ctc(?![a-z])",
    "cpu": r"(?<![a-z])cpu(?![a-z])",
    "cuda": r"(?<![a-z])cuda(?! out)|(?<!single )(?<!one )(?<![a-z])gpu(?![a-z])|显卡"
    r"|(?<![a-z\d])(?:[avh]\d00s?|t4|[345]0[6-9]0|gtx|rtx)(?![a-z\d])",
    "mps": r"(?<![a-z])mps(?![a-z])|apple (?:silicon|m\d)",
    "npu": r"(?<![a-z])npu(?![a-z])|昇腾|(?<![a-z])ascend(?![a-z])",
    "several_devices": r"多卡|多机|(?<![a-z])(?:ddp|fsdp)(?![a-z])|(?:\d|multi|several|two|four|eight)[ -]*gpus"
    r"|(?<![a-z])(?:multiple|several|two|four|eight) (?:cards|gpus|devices)"
    r"|multi-?gpu|分布式训练"
    r"|(?<!\d)(?:[2-9]|\d\d|[两三四八])\s*[张块]?\s*(?:卡|显卡|gpu)(?![a-z])|(?<!\d)[2-9] ?张",
    "one_device": r"(?:单|一|(?<!\d)1)\s*[张块]?\s*(?:卡|显卡|gpu)(?![a-z])"
    r"|(?:single|one|(?<!\d)1)[ -]*(?:gpu|card|device)(?!s)"
    r"|(?<![\d.])1(?:(?: and | or | to |, | ?[-和、或] ?)\d)+ ?(?:gpus|cards|devices|张?卡)",
    "no_bfloat16": r"(?<![a-z\d])(?:v100s?|p100|p40|t4|titan[ -]?(?:v|xp?|rtx))(?![a-z\d])"
    r"|(?:gtx|rtx|geforce) ?(?:1[06]|20)(?:xx|[5-8]0)|(?<!\d)(?:1[06]|20)[5-8]0 ?(?:ti|super|s)(?![a-z])"
    r"|不支持\s*bf(?:loat)?[ _]?16"
    r"|(?:no|without|(?:not|n['’]?t) (?:have |support )?|lacks?|lacking) bf(?:loat)?[ _]?16(?: support)?",
    "hf_trainer": r"(?:hugging ?face|hf|transformers)['’]?s?[ .]trainer|(?:seq2seq|sft|grpo|dpo)trainer"
    r"|(?<![a-z])trainer\(",
    "deepspeed": r"deep ?speed|(?<![a-z])zero-?[123](?!\d)",
    "megatron": r"megatron",
    "fairseq": r"fairseq",
    "lightning": r"(?<![a-z])lightning(?![a-z])",
    "keras": r"(?<![a-z])keras|tensorflow|(?<![a-z])tf(?:[.2]|(?![a-z\d]))",
    "jax": r"(?<![a-z])(?:jax|flax)(?![a-z])|(?<![a-z])jnp\.",
    "paddle": r"paddle",
    "mmengine": r"mmengine|(?<![a-z])mm(?:det|cv|seg|pose)",
    "ultralytics": r"ultralytics|(?<![a-z])yolo",
    "numpy": r"(?<![a-z])numpy|(?<![a-z])np\.",
    "compile": r"torch\.?compile|inductor",
}
"""Value of `in` → its names; it does not count where the sentence says that it is absent, or that there it works."""

_CHANGE = (
    r"(?:(?<![变转])换|改|切|转|试|(?<!不)用|switch(?:ed|ing)?|chang(?:ed?|ing)|(?<![a-z])cast(?:ing)?|mov(?:ed?|ing)"
    r"|convert(?:ed|ing)?|us(?:ed?|ing)|tried|try|even (?:in|with))"
    r"[^,。;!?]{0,14}?"
)
ACTIONS: Mapping[str, str] = {
    "lower_lr": r"(?:调|降|减|改)(?:小|低)?了?\s*(?:学习率|步长|(?<![a-z])(?:lr|learning[ _-]?rate)(?![a-z]))"
    r"|(?:学习率|步长|(?<![a-z])(?:lr|learning[ _-]?rate))\s*(?:也|都|已经?|[\d.e-]|\s)*"
    r"(?:调(?!度|整)|降|设|减|改|很低|很小|已经?"
    r"|只有|才|\d[\d.]*e-[4-9])"
    r"|(?:lower|reduc|decreas|dropp?|small|tiny|turn(?:ed|ing)? down|cut)\w*\s+(?:the |my |a |initial "
    r"|base )*(?:lr(?![a-z])|learning[ _-]?rate)"
    r"|(?:(?<![a-z])lr|learning[ _-]?rate)\s+(?:is |was |has been |of |at |to |down |already |only |set |lowered "
    r"|reduced )+[\d.]+(?:e-\d+)?"
    r"|(?:(?<![a-z])lr|learning[ _-]?rate) (?:as low as|is (?:already )?(?:tiny|small|low))"
    r"|no matter (?:how (?:small|low|tiny) )?(?:the |my |what |which )*(?:lr|learning[ _-]?rate)(?![a-z])"
    r"|(?:不管|无论|不论)(?:怎么|如何)?(?:调|改|用)?(?:什么|多小的)?(?:学习率|lr(?![a-z]))(?:多|怎么)?",
    "clipping": r"梯度裁[剪切]|裁剪(?:梯度)?|(?<![a-z])clip(?:s|ping|ped)?(?:[ _]grad\w*)?(?![a-z])|grad\w*[ _]clip\w*"
    r"|max_grad_norm",
    "float32": _CHANGE + r"(?:fp|float)[ _]?32|(?:fp|float)32\s*(?:也|都)",
    "bfloat16": _CHANGE + r"bf(?:loat)?[ _]?16|bf(?:loat)?16\s*(?:也|都)",
    "float16": _CHANGE + r"(?<!b)(?:fp|float)[ _]?16|(?<!b)(?:fp|float)16\s*(?:也|都)",
    "eps": r"加(?:了|上|个)?\s*(?:一个)?(?:很?小的?)?\s*(?:eps\w*|ε|1e-\d+)|(?:add|larg|bigg|increas"
    r"|with)\w*\s+(?:an? |the |my |small )*(?:eps\w*|1e-\d+)",
    "warmup": r"(?<![a-z])warm-?up|预热",
    "normalisation": r"(?:加|用|(?<![变转])换)了?[^,。;]{0,6}?(?:归一化|标准化|(?:batch|layer)[ _-]?norm"
    r"|(?<![a-z])[bl]n(?![a-z]))"
    r"|(?:add|us|insert)(?:ed|ing) (?:a )?(?:batch|layer|group)[ _-]?norm\w*|normali[sz](?:ed|ing) (?:the "
    r"|my )?(?:data|input|image|feature)s?"
    r"|归一化了?(?:输入|数据|图像|特征)|(?:输入|数据)[^,。;]{0,4}归一化|(?:归一化|标准化)(?:也|都|已经?)+(?:做|加|用|试)(?:了|过)",
    "initialisation": r"(?:换|改|试)[^,。;]{0,10}?(?:初始化|xavier|kaiming)|初始化(?:也|都)?(?:换|改|试)"
    r"|(?:different|another|chang\w*|xavier|kaiming|orthogonal|better|he) (?:the )?(?:weight )?init\w*",
    "batch_size": r"(?:换|改|调|减小|加大|增大|降低?)[^,。;]{0,6}?(?:batch[ _-]?size|批量)|(?:batch[ _-]?size"
    r"|批量)[^,。;]{0,8}?(?:调|改|换|减|加大)"
    r"|(?<![a-z])(?:batch|bs)\s*(?:size)?\s*(?:从\s*\d+\s*)?(?:改|调(?!度)|减|降|加大|增)"
    r"|(?:chang|reduc|increas|dropp?|larg|small|lower|different|decreas|bigg)\w*\s+(?:the |my )?batch[ _-]?sizes?",
    "optimiser": r"(?:换|改)[^,。;]{0,6}?(?:优化器|adam|sgd)|优化器(?:也|都)?(?:换|改)|(?:different|another"
    r"|chang\w*|switch\w*|other) (?:the )?optimi[sz]ers?"
    r"|(?:switch|chang)\w* (?:from \w+ )?to (?:sgd|adam\w*)"
    r"|(?<![a-z])(?:adamw?|sgd|rmsprop|lion|adafactor) (?:instead of|rather than) (?:adamw?|sgd)"
    r"|(?<![a-z])(?:adamw?|sgd) ?(?:和|与|、) ?(?:adamw?|sgd) ?都|both (?:adamw?|sgd) and (?:adamw?|sgd)",
    "seed": r"(?:换|改)[^,。;]{0,6}?种子|种子(?:也|都)?(?:换|改)|(?:different|another|other"
    r"|chang\w*|several|multiple|many|every|any) (?:the |my |other |different )?(?:random )?seeds?"
    r"|no matter (?:which|what) (?:random )?seed|(?:不管|无论|不论)(?:用|换|取)?(?:什么|哪个|多少个?)?(?:随机)?种子",
    "data_check": r"(?:检查|排查|清洗|核对)[^,。;]{0,6}?(?:数据|样本|标签|输入)|(?:数据|样本"
    r"|输入)[^,。;]{0,6}?(?:检查|查过|清洗|换掉)"
    r"|(?:check|inspect|verif|clean)(?:ed|ied|ing|ying)\s+(?:all |the |my |for |in )*(?:data|input|dataset|label"
    r"|sample"
    r"|image)s?",
    "activation": r"(?:换|改)[^,。;]{0,8}?(?:激活函数|relu|tanh|sigmoid|gelu)|激活函数(?:也|都)?(?:换|改)"
    r"|(?:different|another|chang\w*|other) (?:the )?activations?",
    "residual": r"加(?:了|上)?[^,。;]{0,4}?(?:残差|跳连)|add(?:ed|ing) (?:a )?(?:residual|skip) connections?",
}  # fmt: skip
"""Value of `tried` → the remedy; it counts only where the text says that it was in vain."""

CLEAN_DATA = lazy_pattern(
    r"数据(?:集|本身|里|中|和标签)?\s*(?:应该|都|也|是|肯定)*\s*(?:没问题|没有?问题|没有?\s*(?:nan|inf|空值|缺失值?|异常值?|坏样本)|正常|干净)"
    r"|(?<!same )(?<!other )(?<!most )(?<!some )(?:data|dataset|inputs?)"
    r" (?:itself )?(?:is|are|looks?|has|have|contains?) (?:all )?(?:fine|clean|ok|no nan"
    r"|normal|good)"
    r"|no nans? in (?:the |my )?(?:data|input|dataset)"
)
"""The data were looked at and found to be sound: the same as a check of the data in vain."""
NEGATED = lazy_pattern(
    r"(?:(?<!是)不是|并?没有?|并非|(?<!就)不会?再?|(?<!是)无|未)(?:出现|发生|任何|变成?|什么|报|过|再|见到?|看到?"
    r"|看见|会|有)*\s*$"
    r"|(?<![a-z])(?:no|not|never|without|free of|(?:nothing|none) (?:is|are)|instead of|no longer|(?:is|are|was|do"
    r"|does|did|has)n['’]?t)"
    r"(?: (?:any|a|an|more|longer|get|getting|see|seeing|seen|produce|become|go|going|to|been|have|contain))*\s*$"
)
"""Before a symptom: it is stated to be absent."""
FAILED = lazy_pattern(
    r"没有?(?:什么)?(?:用(?!过)|效果?|变化|改善|解决|作用|区别)|(?:也|都|还是|依然|仍然?)不(?:行|管用|起作用|好使)"
    r"|无效|无果|无济于事|[没无]一(?:个|种)?(?:管用|有用|有效|行)|(?:没|未|没有)(?:能|被|得到)?解决|不管用"
    r"|(?:依旧|依然|仍然?|还|照样)(?:存在|如此|这样|没|未)|(?:问题|错误|现象)(?:依旧|依然|照旧|照样|还在|仍在)"
    r"|也(?:都|会|是|变成?|出现|出|报|同样|全)*\s*(?:黑|nan|inf|爆|炸|溢出|一样|这样)"
    r"|都会?(?:在[^,。;]{0,12})?(?:变成?|出现|报|是)?\s*(?:nan|inf|爆炸|溢出)"
    r"|(?:还是|仍然?|依然|依旧|照样|照旧|还)\s*(?:会|不|没|一样|同样|老样|报|出|爆|变|炸|在|(?:有|是"
    r"|为)?\s*(?:loss|梯度|nan|inf|0))|一样(?:报|出|会|\s*nan)"
    r"|(?:(?<![a-z])still(?![a-z])|(?:did|does|do|is|was)(?:n['’]?t| not) (?:help|work|change|fix|solve|make)"
    r"|(?:not|never) help)"
    r"|no (?:luck|effect|change|difference|improvement|success)|without (?:success|luck|effect)|same (?:result"
    r"|thing|problem|error|issue)"
    r"|none of (?:them|these|those|that|this|which)|ma(?:de|kes?) (?:any|no|little) difference|no matter|不管|无论|不论"
    r"|(?<![a-z])yet (?=the |it |my |i |loss|grad|training)|also (?:went|goes|gives?|gave|becomes?|became|ends?|nan"
    r"|inf|diverg|explod)\w*"
    r"|always (?:ends?|gives?|gets?|becomes?|goes|nan|diverges?|explodes?)"
    r"|nothing (?:help|chang|work)|to no avail|in vain|persist|(?:can ?not|can['’]t|could ?n['’]t) (?:solve|fix)"
    r"|(?:nan|inf) again|only (?:delay|postpone)\w*|只是?(?:推迟|晚)"
)
"""After a remedy: it was in vain."""
ASKS_WHY = lazy_pattern(r"为什么|为何|怎么|(?<![a-z])(?:why|how)(?![a-z])")
"""Before a setting: what is asked about is why it works."""
FORMERLY_BEFORE = lazy_pattern(
    r"^\s*我?们?(?:以前|之前|原来|原本|本来)|(?<![a-z])(?:previously|originally|formerly|used to"
    r"|(?:old|earlier|previous) version)(?![a-z])"
)
"""In a clause before a setting: there it worked before something else changed."""
CURE_STATED = lazy_pattern(
    r"好了|(?:就|又|才|也|都|输出|结果)对了|好好的|(?<!不)(?:是|都|也)对的"
    r"|(?:输出|结果|回答|生成|完全|[就都也是])+正确(?=\s*(?:$|[,。;!]|的\s*(?:$|[,。;])|但|而))"
    r"|没有?(?:出现)?(?:过)?(?:这个|这种|此|该|同样的?)(?:现象|问题|情况|错误)|就没有?(?:再)?(?:出现)?\s*(?:nan|inf|了|事|溢出|[,。;]|$)"
    r"|什么(?:事|问题)(?:也|都)?没有?|没有?任何(?:问题|异常)|毫无问题"
    r"|(?<![a-z])(?:runs?|works?|trains?|evaluates?|converges?|generates?|behaves?)"
    r" (?:\w+ )?(?:correctly|normally|properly)"
    r"|从来?没有?(?=出现|过|[,。;]|$)|正常(?!化|分布|样本)|没事|没有?问题|就不|不会再|能训|可以了|稳定|解决了|行了"
    r"|(?<![a-z])(?:works?|worked|fix(?:es|ed)|help(?:s|ed)|goes? away|went away|disappear(?:s|ed)|gone|solv(?:es"
    r"|ed)|fine(?!-?tun)|ok(?:ay)?|stable)(?![a-z])"
    r"|(?<![a-z])ma(?:de|kes?) (?:the |all |my )*(?:nans?|infs?|problem|error|issue|spikes?) (?:go away|disappear"
    r"|vanish)"
    r"|(?<![a-z])(?:nans?|problem|issue|error|spikes?) (?:disappear(?:s|ed)?|vanish(?:es|ed)|(?:goes|went) away"
    r"|(?:is|are|was) gone)"
    r"|(?:is|are|was|were|be|looks?|seems?|comes? out) (?:\w+ )?correct(?= *(?:[,.;!]|$|again|on |in |with |for "
    r"|while |but |and |when ))"
    r"|(?:gives?|gave|gets?|got|produces?|returns?|yields?) (?:the |a )?(?:correct|right) (?:results?|outputs?"
    r"|answers?|values?|predictions?)"
    r"|(?:is|are|was|were|the) right(?: (?:again|answers?|results?|outputs?))?(?![a-z ])"
    r"|everything is (?:ok|fine)"
    r"|trains? (?:fine|well|normally)|(?<![a-z])(?:is|are|was|were|looks?|runs?) (?:all )?normal(?:ly)?(?![a-z])"
    r"|(?:and|then) it trains|no (?:more )?nans?|less often|proper"
)
"""After a remedy or a setting: there it works."""
LASTING = frozenset({"flat", "chance", "constant", "zero"})
"""Symptoms that may have been there from the start: beside them "跑了三轮" is how long they have lasted."""
DURATION = lazy_pattern(r"(?:跑|训练?|迭代)")
"""A time that begins like this is a duration, unless it is said that something happened after it."""
SINCE = lazy_pattern(r"\s*(?:[之以]?后|才|左右|的?时候?)")
"""After a time: something happened then."""
EVEN_BEFORE = lazy_pattern(r"(?<![a-z])even\s*$|(?:即使|哪怕|就算)\s*$")
"""Before a time: it is a duration."""
QUESTION_PARTICLE = lazy_pattern(r"\s*(?:吗|么|呢|\?)")
"""After words that say that something works: it is asked."""
COMPARED = lazy_pattern(
    r"哪|谁|(?<![对相])比(?=\s*[a-z])|(?<![a-z])(?:which(?![a-z])|more (?:stable|accurate)|better than)"
)
"""Before them: which of several works better is asked, or told in general."""
HOW_MUCH = lazy_pattern(r"多少|多大|多小|多低|(?<![a-z])how (?:much|low|small|large|far)(?![a-z])")
"""Between a remedy and those words: to what it has to be changed is asked."""
VAGUE_PLACES = frozenset({"result", "results", "结果", "效果", "performance"})
"""Names of a metric that do not say, beside nan or inf, that a metric is meant."""
SETTINGS_THAT_HELP = frozenset(SIGN_VOCABULARY["fine"])
"""Settings and remedies with a sign of kind `fine`, which says that it works with them."""
UNSTATED = lazy_pattern(
    r"是不是|是否|要不要|需不需要|会不会|能不能|可不可以|能否|打算|准备|应该|需要(?!说)|不知道|有没有人|有人(?:知道|试|用)|谁(?:试|用)过"
    r"|想(?=试|用|换|改|加|把|降|调|要|知道)|(?:还|从|并)?没有?(?=试|尝试|加(?!用)|用过)|怎[么样]才?(?=加|用|设|调|改|做|降)|如何|论文"
    r"|(?<![a-z])(?:should|would|whether|anyone|anybody|someone|somebody|(?:want|plan|planning|need|like|going"
    r"|trying) to"
    r"|(?:have|has|had|am|did|do)(?: not|n['’]?t)(?: yet)? (?:try|tried|use|using|used|add|added|chang\w*|touch\w*)"
    r"|not tried"
    r"|how (?:to|do|does|can|could|would|much|many)|what if|is it (?:normal|ok|okay|fine|true|right|correct|possible)"
    r"|(?:could|can|may|might|will|does|do) (?:i|we|you|it|that|this|there|one))(?![a-z])"
    r"|^\s*(?:does|do|is|are|will|can|could|has|have) (?!not)"
)
"""Before a remedy or a setting, in its clause: it is asked about, wished for or not tried; nothing is stated of it."""
ATTEMPT_LIST = lazy_pattern(
    r"(?:试|尝试)过|试了|(?<![想再没])(?<!没有)(?<!可以)(?<!打算)(?<!准备)(?<!建议)尝试(?=[^,。;\n]{0,4}[:：\n])"
    r"|(?<![a-z])(?:tried|attempted)(?![a-z])|(?:attempts|tried) so far"
)
"""Begins a list of remedies, up to the end of the sentence, or of the list that a colon announces."""
LIST_ANNOUNCED = lazy_pattern(r"[^,。;\n]{0,24}[:：][^\S\n]*")
LIST_END = lazy_pattern(r"[。!?]|\n\s*\n|\n(?!\s*(?:[-*•+]|\(?\d{1,2}[.)、]|[①-⑨]))|(?<![\s\d]\d)(?<!^\d)\.(?=\s|$)")
"""The end of an announced list: lines with bullets or numbers go on with it."""
RATE_VALUE = lazy_pattern(
    r"(?:(?<![a-z])(?:lr|learning[ _-]?rate)|学习率)\s*"
    r"(?:[=:]|从|由|是|为|设[为成]|改[为成到]|调[为成到]|was|is|of|at|from|to)?\s*"
    r"(?P<value>\d[\d.]*(?:e-?\d+)?)(?![\d.%]*\s*(?:倍|times))"
    r"|(?:改|降|调|设|减)(?:低|小)?(?:[成为到至]了?|了)\s*(?P<then>\d[\d.]*e-\d+|0\.0\d*)"
    r"|(?<![a-z])to (?P<to>\d[\d.]*e-\d+)"
)
"""A learning rate with its value, or the small number to which something was changed."""
ATTEMPTED = lazy_pattern(
    r"试过|试了|尝试|已经?(?!知)|即使|就算|哪怕|(?<![a-z])(?:tried|already|even (?:with|at|after|when|in)"
    r"|despite)(?![a-z])|(?<!should )(?<!can )(?<![a-z])i (?:do )?use(?![a-z])"
)
"""Before or in a remedy: it is in use, or has been tried."""
IN_USE = lazy_pattern(
    r"[\s\d.:=]*(?:一直|本来|早就|已经?|都|也)+\s*(?:开|加|用|有|设|做)(?:着|了|过|上)?"
    r"|(?: (?:at|of|to|=))?[\s\d.]*(?:(?:is|was|are)? ?(?:already|always)|is|are) "
    r"(?:on|enabled|in use|active|used|there|set)(?![a-z])"
)
"""After a remedy: it is in use."""
SWITCHED_OFF = lazy_pattern(
    r"(?:关掉|关闭|关了|去掉|禁用|取消|不用|不开)\s*$|(?<![a-z])(?:without|disabl(?:e|ed|ing)|turn(?:ed|ing)? off"
    r"|remov(?:e|ed|ing))(?: the| an?| any)?\s*$"
)
SWITCHED_OFF_AFTER = lazy_pattern(r"\s*(?:训练)?(?:关掉|关闭|关了|去掉|禁用|is off|off(?![a-z])|disabled)")
ABSENT = lazy_pattern(
    r"不支持\s*$|没用\s*$|没开\s*$|(?:not using|not support|n['’]t support|instead of)\s*$|从\s*$|(?<![a-z])from\s*$"
)
"""Before a setting: it is not the one in use."""
REPLACED = lazy_pattern(r"\s*(?:改成|换成|改为|转成?|转到|->|→|to (?=b?f))")
"""After a setting: it is the former one."""


def matches(
    table: Iterable[PatternRule[_T]], text: str, present: frozenset[str] | None = None
) -> list[tuple[_T, re.Match[str]]]:
    """Every match of every pattern, with what the pattern states, by position. `present` are the text's grams."""
    if present is None:
        present = grams(text)
    found = [
        (each.value, match)
        for each in table
        if each.needs is None or not each.needs.isdisjoint(present)
        for match in each.pattern.finditer(text)
    ]
    found.sort(key=lambda each: each[1].start())
    return found
