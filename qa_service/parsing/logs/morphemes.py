"""The meaning of a name by the words it is made of, for names that are in no table.

"total_val_loss", 验证集平均损失 and "потери на валидации" are made of the same few parts, in another order. A part that
is not known makes the name another quantity: "box_loss" is no "loss", but it tells how training goes.
"""

from functools import lru_cache

from qa_service.patterns import lazy_pattern

_SEPARATORS = lazy_pattern(r"[\s/.\-:#_()\[\]]+")
_SCRIPTS = lazy_pattern(r"(?<=[a-z\d])(?=[\u3040-\u9fff\uac00-\ud7af])|(?<=[\u3040-\u9fff\uac00-\ud7af])(?=[a-z])")
"""Where a name changes between Latin and East Asian letters: loss值."""
_LATIN = lazy_pattern(r"[A-Za-z]")


def words_of(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


def _lexicon(groups: dict[str, str]) -> dict[str, str]:
    return {word: kind for kind, words in groups.items() for word in words.split()}


_WORDS = _lexicon(
    {
        "loss": """
            loss losses los cost logloss verlust perte pertes pérdida perdida perdita perda kayıp kaybı kayip
            strata verlies förlust tap
        """,
        "accuracy": """
            acc accu accuracy accuracies genauigkeit précision exactitud exactitude acurácia acuracia
            accuratezza doğruluk dogruluk nauwkeurigheid dokładność akurasi
        """,
        "perplexity": "ppl perplexity perplexité perplexidade",
        "held out": """
            val valid valids validation validate vali vl vld eval evaluation evaluate dev heldout test tst
            testing validierung validierungs validación validacion validação validacao validazione doğrulama
            dogrulama validatie kiểm tra validasi pengujian
        """,
        "train": """
            train training trn trains trained entraînement entrainement entrenamiento treino treinamento
            addestramento eğitim egitim trainings huấn luyện pelatihan
        """,
        "mean": """
            avg avr ave average mean total tot running smooth smoothed main current cur curr now global overall step
            steps epoch batch minibatch iter iteration so far per of on over the at in a this last moyenne media
            durchschnitt ortalama de da do del di sur
        """,
        "lr": "lr lrate learnrate lernrate",
        "learning": "learning learn",
        "rate": "rate",
        "grad": "grad grads gradient gradients",
        "norm": "norm l2 l2norm magnitude size",
        "scale": "scale scaler",
        "scaled": "amp fp16 dynamic",
    }
)
"""Word → kind of part, of words between separators."""
_STEMS = (
    ("потер", "loss"), ("лосс", "loss"), ("ошибк", "loss"), ("точност", "accuracy"), ("валидац", "held out"),
    ("провероч", "held out"), ("тест", "held out"), ("обуч", "train"), ("тренир", "train"), ("средн", "mean"),
)  # fmt: skip
"""Beginnings of words that are inflected."""
_UNSPACED = _lexicon(
    {
        "loss": "损失 損失 误差 誤差 손실 ロス 代价",
        "accuracy": "准确率 准确度 精度 正确率 正解率 정확도 準確率 正確率",
        "perplexity": "困惑度",
        "held out": "验证 测试 驗證 測試 検証 テスト 評価 评估 검증 평가",
        "train": "训练 訓練 学習 훈련 학습",
        "mean": "平均 总 總 当前 目前 整体 本轮 批次 每步 集 集上 的 值 函数 上 データ 平均値 전체 평균 为",
        "step": "步 步数 步數 迭代 迭代次数 训练步数 ステップ ステップ数 스텝",
        "epoch": "轮 轮次 轮数 輪 エポック 에폭 에포크",
        "lr": "学习率 學習率 学習率 학습률",
        "grad": "梯度 勾配 기울기",
        "norm": "范数 範數 ノルム 노름",
        "metric": """
            奖励 獎勵 回报 回報 得分 分数 召回率 召回 精确率 查准率 查全率 交并比 均方误差 熵 相似度 分离度 困惑
            报酬 報酬 보상
        """,
    }
)
"""The same in scripts without blanks: the longest one that fits is taken."""
_LONGEST = max(map(len, _UNSPACED))
_METRICS = words_of(
    """
        loss losses los cost err error errors mse mae rmse mape smape nll ce bce kl kld dkl elbo nelbo recon
        reconstruction rec perplexity ppl bpc bpb bpd logloss deviance objective objf obj energy penalty gp
        regret residual resid residuals chamfer emd epe aepe rel absrel sqrel silog px iou miou giou dice
        jaccard hausdorff hd95 f1 f1score fscore fmeasure macro micro precision prec recall auc auroc aucroc roc
        ap map mrr ndcg hit hits hr acc accu accuracy top1 top5 psnr ssim lpips fid kid inception bleu chrf ter
        rouge meteor cider spice wer cer eer mcd pesq stoi sisdr snr sdr r2 corr pearson spearman kendall ccc
        kappa mcc gini reward rewards rew return returns score scores advantage adv entropy ent clipfrac logp logps
        logprob logprobs lprob loglik lik likelihood ll margin margins chosen rejected grad gnorm norm sharpness ece
        brier purity nmi ari wasserstein fake real disc discriminator generator adversarial contrastive triplet
        ret epret récompense recompensa belohnung ricompensa награда
        metric fitness ade fde de ate rpe mr pck mpjpe mota motp hota idf1 lfwacc crps mase rmsd tm plddt drmsd
    """
)
"""Words of quantities that measure how a run goes."""
_COEFFICIENT = lazy_pattern(r"coef")
_HAS_COEFFICIENT = words_of("dice correlation pearson spearman kendall matthews silhouette jaccard gini")
"""Before "coefficient" they name a measure; other coefficients are settings."""
_PREFIX, _AT = lazy_pattern(r"^(?:min|max|avg|mean|best)(?=\w)"), lazy_pattern(r"@[\d.:]+$")
"""Beside the name of a metric: minADE, hit@10."""
_METRIC_STEMS = lazy_pattern(r"\w*(?:loss|acc|rmse|mae|mse|iou|score|error|reward|entropy|psnr|ssim|norm)\d{0,2}")
_NO_METRICS = words_of(
    """
        weight weights coef coefficient coeff lambda decay fn func function type name dir path file threshold
        thresh patience dropout momentum beta beta1 beta2 gamma eps epsilon seed num n count size dim hidden
        layers heads max_norm clip_norm time sec secs seconds ms eta mem memory gpu cpu util temp speed fps ips
        tokens samples images steps_per_second limit target best_epoch interval every freq budget warmup workers
        batch_size version smoothing
    """
)
"""Words that mark a name as a setting, a time or a size."""

_PLACE = lazy_pattern(r"_(?:at|after|for|in|of)_(?:the_)?(epoch|ep|steps?|iter(?:ation)?|it|update|batch)$")
"""An ending that makes the number after it a step or an epoch: "score at iteration 5"."""
_OPEN = lazy_pattern(
    r"(?:^|_)(?:over|last|past|first|within|after|next|every|the|a|at|of|on|for|in|per|to)$|_(?:last|past|first)_"
)
"""An ending after which the name continues behind the number: "loss over the last 100 batches"."""


def meaning_by_parts(name: str) -> str:
    """The key of a name, if all its parts are known and make one together; else ""."""
    if name.isalnum() and name.isascii() and name not in _WORDS:
        return ""
    if "_" in name and (place := _PLACE.search(name)):
        return "epoch" if place[1].startswith("ep") else "step"
    kinds = kinds_of(name)
    if not kinds or "" in kinds or _OPEN.search(name):
        return ""
    found = set(kinds)
    held_out = "held out" in found
    if {"grad", "norm"} <= found and "loss" not in found:
        return "" if held_out else "grad_norm"
    if "scale" in found:
        return "loss_scale" if found & {"loss", "grad", "scaled"} and not held_out else ""
    if "lr" in found or {"learning", "rate"} <= found:
        return "lr" if found <= {"lr", "learning", "rate", "mean", "train"} else ""
    if found & {"learning", "rate", "grad", "norm", "scaled"}:
        return ""
    if found <= {"step", "epoch", "mean"}:
        return "step" if "step" in found else "epoch" if "epoch" in found else ""
    measured = found & {"loss", "accuracy", "perplexity"}
    if len(measured) != 1 or (held_out and "train" in found):
        return ""
    key = measured.pop()
    if key == "perplexity":
        return "" if held_out else key
    return f"val_{key}" if held_out else key


def is_metric_by_parts(name: str) -> bool:
    """Whether a part of a name is a metric of a run, and no part marks the name as a setting."""
    parts = _parts(name)
    if parts[-1:] and _COEFFICIENT.match(parts[-1]) and not _HAS_COEFFICIENT.isdisjoint(parts):
        return True
    if not parts or _OPEN.search(name) or _PLACE.search(name) or any(part in _NO_METRICS for part in parts):
        return False
    bare = [_PREFIX.sub("", _AT.sub("", part)) for part in parts]
    if any(part in _METRICS or _METRIC_STEMS.fullmatch(part) for part in (*parts, *bare)):
        return True
    return any(kind in ("loss", "accuracy", "perplexity", "metric") for kind in kinds_of(name))


@lru_cache(maxsize=8192)
def kinds_of(name: str) -> tuple[str, ...]:
    """The kind of each part of a name, "" for one that is not known."""
    kinds: list[str] = []
    for part in _parts(name):
        if kind := _WORDS.get(part):
            kinds.append(kind)
        elif stem := next((kind for stem, kind in _STEMS if part.startswith(stem)), ""):
            kinds.append(stem)
        elif _LATIN.search(part) or part.isascii():
            kinds.append("")
        else:
            kinds += _segment(part)
    return tuple(kinds)


def _parts(name: str) -> list[str]:
    name = name.lower() if name.isascii() else _SCRIPTS.sub("_", name.lower())
    return [part for part in _SEPARATORS.split(name) if part and part not in ("на", "при", "до")]


def _segment(text: str) -> list[str]:
    """The kinds of the words of a text without blanks, the longest first; [""] where one is not known."""
    kinds: list[str] = []
    position = 0
    while position < len(text):
        for length in range(min(_LONGEST, len(text) - position), 0, -1):
            kind = _UNSPACED.get(text[position : position + length])
            if kind:
                kinds.append(kind)
                position += length
                break
        else:
            return [*kinds, ""]
    return kinds
