"""What the names of logged quantities mean: "train/loss", "lm loss" and 损失 are the loss."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from qa_service.parsing.logs.morphemes import is_metric_by_parts, kinds_of, meaning_by_parts
from qa_service.patterns import lazy_pattern

_VALIDATION = (
    r"(?:val(?:i|id(?:ation)?|idate)?|va|vld|eval(?:uation)?|te?st(?:ing)?|te|dev|held_?out|검증|验证|検証|測試|测试|テスト"
    r"|validierungs?|validaci[oó]n|valida[cç][aã]o|validazione|valid?asyon|do[gğ]rulama|валидаци[яи]|тест)"
)
_TRAINING = (
    r"(?:train(?:ing)?s?|trainer|trn?|훈련|학습|训练|訓練|学習|d?entra[iî]nement|entrenamiento|treino|treinamento"
    r"|addestramento|e[gğ]itim|обучени[ея])"
)
_OF = r"(?:_(?:de|da|do|del|di|sur|на|at|on|over))?"
"""A preposition between a quantity and its part of the data."""
_LOSS = (
    r"(?:(?:binary_|multi_)?logloss|loss|cost|损失值?|損失値?|误差|誤差|p[eé]rdida|perdita|perda|perte|verlust|потери"
    r"|лосс|손실|kay[iı]p|kayb[iı])"
)
_MEAN = r"(?:avg|avr|ave|average|mean|running|smooth(?:ed)?|epoch|cum(?:ulative)?|平均)"
_ACCURACY = (
    r"(?:(?:mean_)?(?:token_|word_|char_|node_|pixel_)?acc(?:u|ur[a-z]{1,6})?(?:_?1)?|top_?1(?:_acc(?:uracy)?)?|acc(?:uracy)?_top_?1"
    r"|acc(?:uracy)?@1|prec(?:ision)?@1|prec1|(?:binary|categorical|sparse_categorical)_accuracy|准确率|精度|正确率|正解率|정확도"
    r"|aacc|genauigkeit|précision|precisión|exactitude?|acur[aá]cia|accuratezza|точность|do[gğ]ruluk)"
)
MEANINGS: Mapping[str, re.Pattern[str]] = {
    key: lazy_pattern(pattern)
    for key, pattern in {
        "val_loss": rf"(?:{_MEAN}_)?{_VALIDATION}(?:_?\d{{1,2}})?_?(?:{_MEAN}_|total_)?(?:{_LOSS}|xent)"
        rf"(?:_(?:step|total|{_MEAN}))*|{_LOSS}{_OF}_{_VALIDATION}(?:_total)?|{_VALIDATION}_loss_{_VALIDATION}_total",
        "val_accuracy": rf"{_VALIDATION}_?{_ACCURACY}(?:_epoch)?|{_ACCURACY}{_OF}_{_VALIDATION}",
        "grad_norm": r"(?:train_|actor_|policy_)?(?:(?:global|total|unclipped|pre_?clip|raw)_)?"
        r"grad(?:ient)?s?_?(?:global_|total_)?norm"
        r"(?:_total|_\d(?:\.0)?_norm_total|_step|_average|_mean)?|(?:train_)?gnorm|gn|g_norm|norm|(?:global|total)_norm|grad(?:ient)?|梯度范数",
        "loss_scale": r"(?:train_)?(?:(?:dynamic|current|cur|attempted|amp|fp16|grad|gradient|loss)_)?(?:loss_"
        r"|grad_)?scale"
        r"|(?:grad_|amp_|loss_)?scaler(?:_scale)?",
        "skipped": r"(?:number_of_)?skipped(?:_iterations|_iter|_steps|_updates)?",
        "nan_iterations": r"number_of_nan_iterations",
        "loss": rf"(?:(?:{_TRAINING}|{_MEAN}|lm|gpt|sft|total|reduced|(?:mini_?)?batch|step|current|curr|cur|iter|ce"
        rf"|mlm|itm|language_modell?ing"
        rf"|cross_?entropy|model|objective)_?)*"
        rf"{_LOSS}(?:_(?:step|total|value|val_step|avg_rank|avg_slice|(?:per_)?(?:tok|token|sample)|{_TRAINING}|{_MEAN}))*"
        rf"|{_LOSS}{_OF}_{_TRAINING}|l_tot(?:al)?"
        rf"|objective|xent|(?:{_TRAINING}_)?(?:languagecrossentropy|cross_?entropy)",
        "lr": r"(?:[a-z]\w{0,20}_)?(?:learn(?:ing)?_?rate|lr(?:_?\d{1,2})?|l_r|学习率|學習率|学習率|학습률|lernrate"
        r"|taux_d_?apprentissage"
        r"|tasa_de_aprendizaje|taxa_de_aprendizado|скорость_обучения|[oö][gğ]renme_oran[iı])"
        r"(?:_?(?:[a-z]{0,12}adamw?|sgd|abs|rmsprop|group\d|pg\d|step|default|scheduler)(?:_(?:pg|group)\d)?)?|lr\(\w+\)|optim0_lr0"
        r"|lr_(?!decay|scale|mult|factor|warm|min|max|end)[a-z]{1,20}\d{0,2}",
        "accuracy": rf"(?:{_TRAINING}_|{_MEAN}_|(?:mini_?)?batch_)?{_ACCURACY}"
        rf"(?:_step|_epoch|_avg_rank|_avg_slice|{_OF}_{_TRAINING})?",
        "perplexity": rf"(?:{_TRAINING}_)?(?:ppl|perplexity|困惑度)",
        "epoch": rf"(?:{_TRAINING}_|current_)?(?:epoche?s?|ep|epoch_num|轮次?|轮数|epoch_no|エポック|[eé]poca|[eé]poque"
        rf"|эпоха|에포크|에폭)",
        "step": rf"(?:(?:{_TRAINING}|global|current|total|optimi[sz]er|completed|update|num|runtime)_)*"
        r"(?:steps?|iter(?:ation|ate)?s?|it|(?:num_)?updates?|(?:mini_?)?batch(?:es)?|timesteps?|itn|upd?|[eé]pisodes?|rounds?|步数?|步骤|回合数?|迭代次?数?|训练次数|schritte?|paso|passo|шаг|ad[iı]m|ステップ|스텝)"
        r"|global_step_max_steps|(?:total_)?(?:num_)?(?:env_)?(?:frames|env_steps?)",
    }.items()
}  # fmt: skip
"""Key → the names that it has, lower-case, words joined by "_"; tried in this order. No word can be read in two ways
where words repeat: a name that fits in none would take time exponential in its length."""
MAX_NAME_CHARS = 200
"""A longer name has no meaning, and none is kept in the caches."""
_SEPARATORS = lazy_pattern(r"[\s/.\-:#]+")
_COMPONENT = lazy_pattern(
    r"[a-z]\w*_loss(?:_\w+)?|loss_\w+|\w*loss\w*|[a-z]?kl\w*|reward\w*|entropy|nll\w*|l_[a-z]\w*|mse|\w*mae|\w*rmse(?:_\w+)?|bce\w*|ce|l1|l2"
    r"|elbo|iou|clip"
    r"|bleu|auc|f1|[a-z]{1,4}_l|(?:recall|ndcg|mrr|hit|precision|map)@\d{1,4}|(?:\w+_)?\w{0,2}score|learn|map\w*|recall|precision|\w*acc\w*|top_?5|d_loss|g_loss|loss_[dg]|scale|temperature|margin"
    r"|\w*(?:psnr|ssim|pearson|spearman|ndcg|mrr|rouge\w*|kappa|dice|jaccard|error_rate|r2|fid)|\w*(?:wer|cer|mcc)|\w+_err(?:or)?(?:_\w+)?"
)
_BOOKKEEPING = lazy_pattern(
    r"(?:^|_)(?:\w*time\w*|eta|\w*mem\w*|\w*secs?|seconds?|\w*sec_\w+|tps|tok\w*|mfu|\w*flops?\w*|speed|ips|[wu]ps"
    r"|wpb|bsz|wall|gb_free"
    r"|samples?\w*|percentage|remaining|elapsed|\w*runtime|v_num|size|cuda|device|port|pid|seed|version|throughput"
    r"|timestamp"
    r"|\w*gpu\w*|data|ms|took|src|tgt|sents|words|fps|reader_cost|batch_cost|hours?|left|images|instances"
    r"|batch_size|took"
    r"|trained|peak|max_mem|host|rank|workers?|num_\w+|total_weights|lines?|file|id|date)(?:_|$)|^s$"
)
_CRITERION = lazy_pattern(
    r"(?:train_)?(?:huber|mse|ce|bce|nll|cross_?entropy|focal|dice|ctc|l1|l2|mae|smooth_?l1|kl|contrastive|triplet"
    r"|info_?nce|recon\w*|rec|elbo|hinge|mel|denoising|diffusion|clip|classification|regression|pretrain\w*|sft"
    r"|dpo)_loss"
)
_PHRASE = lazy_pattern(r"^[\u4e00-\u9fff].{0,20}?(损失|損失|loss|准确率|正确率|精度|学习率)$")
_OF_VALIDATION = lazy_pattern(r"测试|验证|測試|驗證")
_COSTS_OF_TIME = frozenset({"batch_cost", "avg_batch_cost", "reader_cost", "avg_reader_cost", "data_cost"})
_OF_ANY_PART = frozenset({"grad_norm", "lr", "loss_scale"})
"""Meanings that a name has whatever stands before its last "/" or "."; a loss is that of its part."""
_PART = lazy_pattern(rf"^(?:{_TRAINING}|{_VALIDATION})(?:_?\d{{1,2}})?_")
_MARK = lazy_pattern(r"[/.:]")
_ERROR = lazy_pattern(
    r"(?:(?:current|curr|cur|train(?:ing)?|avg|mean|total)_)?(?:err(?:or)?|mse|nll|bce|ce|objective|objf)"
)
"""Names of the objective in a log without a loss."""
_PER_TOKEN = lazy_pattern(r"(?<=nll|[_l]kl|ppl|ent)_(?:per_)?tok(?:en)?s?$|(?<=^kl)_(?:per_)?tok(?:en)?s?$")
"""The words "per token" after a measure, which does not make it a count of tokens."""
_SHORT_PARTS = {"t_loss": "loss", "v_loss": "val_loss", "t_acc": "accuracy", "v_acc": "val_accuracy"}
_ENDS_IN_LOSS = lazy_pattern(
    r"(?!.*(?:entropy|kl|reg|val|eval|test|best|aux|policy|(?<![a-z])actor|critic|pg|vf|bbox|box|gan|disc|gen|(?<![a-z])(?:[dg]|had|has|have|get|got|see|saw)_))[\w-]*loss"
)
"""A name that is the loss of a run if no other of its names is of this form."""
_CAMEL = lazy_pattern(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_PREFERRED = ("loss", "val_loss", "lr", "learning_rate", "accuracy", "acc", "grad_norm", "epoch", "step")


def meaning_of(name: str) -> str:
    """The key of a name as a log writes it; "" if it has none."""
    return _meaning(name) if len(name) <= MAX_NAME_CHARS else ""


@lru_cache(maxsize=4096)
def _meaning(name: str) -> str:
    joined = _SEPARATORS.sub("_", name.strip().lower()).strip("_")
    if joined in _COSTS_OF_TIME:
        return ""
    key = next((key for key, pattern in MEANINGS.items() if pattern.fullmatch(joined)), "")
    if not key and (tail := _tail(name)):
        of_tail = meaning_of(tail)
        key = of_tail if of_tail in _OF_ANY_PART else ""
    return key or _meaning_of_phrase(joined) or meaning_by_parts(joined)


def _tail(name: str) -> str:
    """The part of a name after its last "/", "." or ":"; "" if it has none of these."""
    return re.split(r"[/.:]", name)[-1] if _MARK.search(name) else ""


def _meaning_of_phrase(name: str) -> str:
    """The key of a name that begins in Chinese: 整体测试集上的 Loss."""
    match = _PHRASE.search(name)
    if match is None:
        return ""
    key = meaning_of(match[1])
    return f"val_{key}" if key in ("loss", "accuracy") and _OF_VALIDATION.search(name) else key


def lower_name(name: str) -> str:
    """The name in lower case; one in camel case that is unknown as one word is split: AverageReturn, average_return."""
    lower = name.lower()
    if lower == name or is_measure(lower) or meaning_of(lower):
        return lower
    apart = _CAMEL.sub("_", name).lower()
    return apart if is_measure(apart) else lower


def is_measure(name: str) -> bool:
    """Whether a name, in any case, is that of a quantity that measures how the training goes."""
    return len(name) <= MAX_NAME_CHARS and _is_measure(name)


@lru_cache(maxsize=4096)
def _is_measure(name: str) -> bool:
    meaning = meaning_of(name)
    if meaning:
        return meaning not in ("epoch", "step", "lr", "skipped", "nan_iterations")
    joined = _PART.sub("", _SEPARATORS.sub("_", name.lower()))
    return (bool(_COMPONENT.fullmatch(joined)) or is_metric_by_parts(joined)) and not is_bookkeeping(name)


def is_bookkeeping(name: str) -> bool:
    """Whether a name is that of a time, a memory, a throughput or a size, which tell nothing about numerics."""
    return len(name) > MAX_NAME_CHARS or _is_bookkeeping(name)


@lru_cache(maxsize=4096)
def _is_bookkeeping(name: str) -> bool:
    if "loss" in name.lower():
        return False
    joined = _PER_TOKEN.sub("", _SEPARATORS.sub("_", name.strip().lower()))
    return not meaning_of(name) and bool(_BOOKKEEPING.search(joined))


def choose_names(counts: Mapping[str, int]) -> dict[str, str]:
    """Name → key, each key for one name: the most frequent, so that means of epochs do not mix with losses of steps.

    `counts` has the number of values under each name. A mean "x_average" is "KEY_average" where x is KEY. Names that
    lose, or have no meaning, keep themselves.
    """
    chosen: dict[str, str] = {}
    if "t_loss" in counts and "v_loss" in counts:  # of training and of validation; alone a v_loss is that of a critic
        chosen |= {name: _SHORT_PARTS[name] for name in counts if name in _SHORT_PARTS}
    for key in MEANINGS:
        if key in chosen.values():
            continue
        names = [name for name in counts if meaning_of(name) == key and not _is_mean_of_another(name, counts)]
        if names:
            chosen[_most_frequent(names, counts)] = key
    parts = [name for name in counts if _is_training_loss(name)]
    if "loss" not in chosen.values() and len(parts) == 1:
        chosen[parts[0]] = "loss"
    for alone in (_with_tail("loss", counts), [name for name in counts if _ENDS_IN_LOSS.fullmatch(name)]):
        if "loss" not in chosen.values() and len(alone) == 1:
            chosen[alone[0]] = "loss"
    trained = [name for name in counts if {"train", "loss"} <= set(kinds_of(name)) and "/" not in name]
    if "loss" not in chosen.values() and len(trained) == 1:
        chosen[trained[0]] = "loss"
    errors = [name for name, count in counts.items() if count > 1 and _ERROR.fullmatch(name)]
    if "loss" not in chosen.values() and len(errors) == 1 and not any("loss" in name for name in counts):
        chosen[errors[0]] = "loss"
    averages = {f"{name}_average": f"{key}_average" for name, key in chosen.items()}
    chosen |= {name: key for name, key in averages.items() if name in counts}
    return {name: chosen.get(name, name) for name in counts}


def _is_mean_of_another(name: str, names: Iterable[str]) -> bool:
    return name.endswith("_average") and name.removesuffix("_average") in names


def _with_tail(key: str, names: Iterable[str]) -> list[str]:
    """The names whose part behind the last mark has a meaning: "gen/loss"."""
    return [name for name in names if meaning_of(_tail(name)) == key]


def _is_training_loss(name: str) -> bool:
    """Whether a name is that of a criterion, such as "huber_loss", which is the loss where there is no other."""
    return bool(_CRITERION.fullmatch(_SEPARATORS.sub("_", name.lower())))


def _most_frequent(names: Iterable[str], counts: Mapping[str, int]) -> str:
    """Of nearly equally frequent names the plainest: no mean, no total over an epoch."""
    most = max(counts[name] for name in names)
    frequent = [name for name in names if 2 * counts[name] > most]
    return min(frequent, key=lambda name: (_indirectness(name), len(name), name))


def _indirectness(name: str) -> int:
    if name in _PREFERRED:
        return 0
    if re.search(r"avg|average|mean|epoch|running|smooth|base|init", name):
        return 3
    if re.match(r"te?st", name):
        return 4
    return 1 if re.search(r"step|total|train", name) else 2
