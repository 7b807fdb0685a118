"""Reads what is particular to a case: the tool, loss, operation or data that the question names.

These observations (kind "with") choose the sentence below a short answer (`model/clue.py`). They do not help to find
an entry: questions about one symptom name them all.
"""

from collections.abc import Mapping

from qa_service.model.observation import Observation, Sign
from qa_service.parsing import signs
from qa_service.parsing.observations import fold_case_and_width
from qa_service.parsing.required import grams
from qa_service.parsing.tables import Table
from qa_service.patterns import lazy_pattern

MAX_CHARS = 6_000
_MAX_FRAGMENT_CHARS = 60

PARTICULARS: Mapping[str, str] = {
    "trainer_arguments": r"per_device_(?:train|eval)_batch_size|trainingarguments|logging_nan_inf_filter"
    r"|(?:sft|grpo|dpo|kto|reward|seq2seq)_?trainer|(?:hugging ?face|hf|transformers)['’]?s?[ .]trainer"
    r"|llama[-_ ]?factory|['\"](?:grad_norm|loss)['\"]: [^,\n]{1,30}, ['\"]learning_rate['\"]|['\"]eval_runtime['\"]",
    "accelerate": r"accelerate (?:launch|config|library)|accelerator\.|(?:hugging ?face|hf)['’]?s? accelerate"
    r"|(?:用|使用|with|using) accelerate(?![a-z])",
    "fsdp": r"(?<![a-z])fsdp2?(?![a-z])|fully[ _]?sharded",
    "apex": r"(?<![a-z])apex(?![a-z])|loss scaler \d+ reducing loss scale",
    "detectron2": r"detectron2?(?![a-z])|loss became infinite or nan at iteration",
    "ultralytics": r"ultralytics|(?<![a-z])yolo_?v?(?:8|9|1[0-2])(?!\d)",
    "stable_baselines": r"stable[-_ ]?baselines|(?<![a-z])sb3(?![a-z])",
    "mindspore": r"mindspore|mindyolo|mindformers",
    "diffusers": r"(?<![a-z])diffusers(?![a-z])|diffusionpipeline|stablediffusion\w*pipeline",
    "webui": r"stable-?diffusion-?webui|(?<![a-z])(?:sd[- ]?)?webui|automatic1111|(?<![a-z])a1111",
    "comfyui": r"comfy-?ui",
    "vllm": r"(?<![a-z])vllm(?![a-z])",
    "tensorrt": r"tensorrt(?!-?llm)|trtexec|(?<![a-z])trt(?![a-z])",
    "onnx": r"onnx",
    "unscale_fp16": r"unscale fp16 grad",
    "llama_cpp": r"llama[._-]?cpp|(?<![a-z])(?:gguf|ggml|ollama)|n[-_]gpu[-_]layers|(?<![a-z])ngl(?![a-z])",
    "gptq_awq": r"gptq|(?<![a-z])(?:auto)?awq(?![a-z])|exllama",
    "t5": r"(?<![a-z\d])(?:m|by|um|flan[-_ ]?)?t5(?![a-z\d])",
    "gemma": r"(?<![a-z])gemma",
    "qwen": r"(?<![a-z])qwen",
    "second_derivative": r"create_graph|double[- ]backward|gradient penalty|梯度惩罚"
    r"|second[- ](?:order )?(?:derivative|gradient)s?"
    r"|二阶(?:导|梯度)|autograd\.grad twice",
    "no_half": r"--no-half",
    "mask_constant": r"(?<![\d.e])[-−] ?(?:1(?:\.0)?e\+?(?:9|[123]\d)|9{6,}\d*|10{8,})(?!\d)",
    "tiny_eps": r"(?<!adam_)(?<!adam )(?<!adam的)(?:eps|epsilon) ?(?:[=:]|是|为|of)? ?1e-(?:0?[89]|1\d)(?!\d)",
    "calibration": r"(?:entropy|minmax|percentile|histogram)_?calibrat|int8_?calibrat|校准(?:集|图|表|数据|算法|方法)"
    r"|calibration (?:set|images?|data(?:set)?|cache|table|batch|method|script)"
    r"|(?:int ?8|量化|ptq|quanti[sz]\w+)(?:之?后|的|静态)? ?(?:校准|calibrat)",
    "label_smoothing": r"label[_ -]?smoothing|标签平滑",
    "zero_stage": r"(?<![a-z])zero[-_]?[0-3](?![\d.])|(?<![a-z])zero[-_ ](?:stage|optimi[sz])"
    r"|(?<![a-z])zero [0-3], ?[0-3]",
    "masked_language": r"(?<![a-z])mlm(?![a-z])|datacollatorforlanguagemodeling|masked[- ]language|掩码语言",
    "nan_latents": r"latents?[^.\n]{0,14}(?<![a-z])nan|(?<![a-z])nan latents?|ksampler[^.\n]{0,40}(?<![a-z])nan"
    r"|潜变量[^。\n]{0,8}nan|samples['\"]: tensor\(\[+ ?nan",
    "adaptive_rate": r"(?<![a-z])d-?adapt|(?<![a-z])prodigy",
    "no_input_grad": r"none of the inputs have requires_?grad",
    "trtexec": r"(?<![a-z])trtexec(?![a-z])",
    "flux": r"(?<![a-z])flux(?:\.?[12])?(?![a-z])",
    "rknn": r"(?<![a-z])rknn|(?<![a-z])rk3[35]\d\d",
    "tflite": r"(?<![a-z])tf-?lite|tensorflow lite|litert",
    "four_bit": r"load_in_4bit|bnb_4bit|(?<![a-z])qlora|quantization_bit[ =]+4|(?<![\w.])4[- ]?bit(?![a-z])",
    "eight_bit_optimiser": r"8[- _]?bit[ -]?(?:adam|optimi[sz]er|lion)|adamw?_?8bit|adamw_bnb"
    r"|8\s*(?:位|比特)的?\s*(?:adam|优化器)",
    "half_weights": r"\.half\(\)|full_?fp16"
    r"|torch_dtype\s*=\s*torch\.(?:float16|half)|model\.to\(torch\.(?:float16|half)\)",
    "sdxl": r"(?<![a-z])sd[-_ ]?xl",
    "boxes": r"(?<![a-z])(?:[gdc]iou|bbox(?:es)?|lbox|box_loss)(?![a-z])|bounding[- ]box|(?:faster|mask)[- ]?r-?cnn"
    r"|(?<![a-z])yolo(?!act)|目标检测|检测框|(?<![a-z])anchors?(?![a-z])|object detection",
    "bce": r"(?<![a-z])bce(?![a-z])|bce(?:with)?(?:logits)?loss|binary[_ -]?cross[_ -]?entropy|二元交叉熵|二值交叉熵"
    r"|二分类交叉熵",
    "focal": r"(?<![a-z])focal",
    "dice": r"(?<![a-z])dice(?![a-z])|dice_?loss",
    "mse": r"(?<![a-z])mse(?:loss|_loss)?(?![a-z])|mean[_ ]squared[_ ]error|squared (?:error|sum|loss)|均方误差"
    r"|平方误差|回归(?:任务|问题|模型|预测)|(?<!logistic )regression",
    "kl": r"kl[ _-]?div\w*|kl ?散度|(?<![a-z])kl[ _-]?loss|(?<![a-z])kld(?![a-z])",
    "vae": r"(?<![a-z])(?<!no-half-)vae(?![a-z]|[_.=])|variational auto|变分自编码",
    "log_variance": r"log[_ ]?var(?![a-z])|logvar|gaussian_?nll|gaussiannll|log[_ -]?std|heteroscedastic",
    "wgan": r"(?<![a-z])wgan|wasserstein|gradient penalty|梯度惩罚",
    "lsgan": r"(?<![a-z])ls-?gan|cycle-?gan|pix2pix|least[- ]squares gan",
    "triplet": r"triplet|三元组",
    "cosine": r"cosine[_ ]?(?:similarity|distance|embedding|loss)|余弦(?:相似度|距离|损失)"
    r"|(?<![a-z])(?:arcface|cosface)",
    "small_temperature": r"(?:temperature|(?<![a-z])temp|温度)\s*(?:系数|参数)?\s*(?:[=:]|是|为|of|is|to)?\s*0\.0\d",
    "policy_gradient": r"policy[ _-]?gradient|(?<![a-z])reinforce(?![a-z])|策略梯度|(?<![a-z])a[23]c(?![a-z])"
    r"|actor[ -]critic",
    "ppo": r"(?<![a-z])ppo",
    "grpo": r"(?<![a-z])(?:grpo|dapo)",
    "dpo": r"(?<![a-z])dpo(?![a-z])",
    "sac": r"(?<![a-z])sac(?![a-z])|soft actor",
    "dqn": r"(?<![a-z])(?:d{1,3}qn|dueling)(?![a-z])|(?<![a-z])q-?(?:learning|network)",
    "reward": r"(?<![a-z])rewards?(?![a-z])|奖励",
    "equal_rewards": r"(?<![a-z/])reward_std['\"]?\s*(?:[:=]|is|are|为|是|都是|一直是|全是)?\s*0(?:\.0+)?(?![\d.])"
    r"|frac_reward_zero_std['\"]?\s*[:=]?\s*1(?:\.0+)?(?![\d.])",
    "ratio_threshold": r"average ratio of batch",
    "log": r"(?:torch|tf|np|jnp|math|t|k)\.log\(|(?<![\w.])log\(|取对数|log ?运算|log ?计算"
    r"|(?:take|taking) the log",
    "sqrt": r"sqrt|开根号|开平方|开方|根号",
    "where": r"(?:torch|tf|jnp|np)\.where",
    "std": r"\.std\(|torch\.std|(?:除以|求|算|用)标准差|reduce_std"
    r"|divid\w+ by (?:the |its |their )?(?:std|standard dev)",
    "svd": r"(?<![a-z])svd|(?<![a-z])eigh(?![a-z])|(?<![a-z])symeig|特征值分解|特征分解|奇异值",
    "mask": r"(?<![a-z])(?:attn|attention|key_padding|padding|loss|label|src|tgt)?_?mask(?:s|ed|ing)?(?![a-z]| r-?cnn)"
    r"|掩码|(?<![a-z])masked_fill",
    "loss_mask": r"loss_?mask|masked[ _](?:mean|loss|average)|mask\.sum\(|valid[ _]?mask"
    r"|掩码(?:后|内)?(?:求|的)?(?:平均|损失)|(?:按|对|用)掩码",
    "ignored_labels": r"ignore_index|(?<![\d.e])-100(?![\d.])|(?:labels?|标签)[^.。\n]{0,12}(?:masked|屏蔽|忽略)",
    "left_padding": r"left[- ]?pad\w*|padding_side|左(?:侧|边)?填充|左(?:侧)?\s*padding",
    "speech": r"mel[-_ ]?spec\w*|(?<![a-z])fbank|log[-_ ]?mel|频谱|语音|(?<![a-z])(?:tts|asr)(?![a-z])|speech|声码器"
    r"|vocoder|utterance",
    "segmentation": r"(?<!instance )(?<!instance-)segmentation|语义分割|图像分割|医学分割",
    "time_series": r"时间序列|时序(?:数据|预测)|time[- ]series|股票|股价|stock price",
    "table": r"pandas|\.csv|(?<![a-z])(?:df|dataframe)(?![a-z])|表格数据|特征(?:列|工程|比较稀疏)|one-?hot 特征"
    r"|(?:features?|columns?) (?:with|contain|of) (?:many|missing)|sparse features|tabular",
    "graph": r"(?<![a-z])(?:gnn|gcn|gat|graphsage)s?(?![a-z])|图(?:神经)?网络|graph (?:neural|conv)|图卷积",
    "eval_mode": r"model\.eval|eval\(\)|eval ?模式|eval(?:uation)? mode|(?<![a-z])eval[ 之以]?后",
    "small_batch": r"(?<![a-z_])(?:batch[ _-]?size|batch|批量|批次)\s*(?:应该|比较|太|很|特别|非常"
    r"|is|are|was|too|very|so|size|of|only|只有|只能是?|设为|=|:|是|为|\s)*\s*(?:小|small|[12](?!\d))|small batch",
    "accumulation": r"gradient[_ -]?accum\w*|grad[_ -]?accum\w*|accumulat\w+ (?:steps|gradients?)|梯度累[积加]"
    r"|(?<![a-z])accum(?:ulative)?_",
    "seed_fixed": r"(?:固定|设置|设定)[^,。;\n]{0,8}种子|种子[^,。;\n]{0,4}(?:固定|设置|设定|相同|一样)"
    r"|(?:fix|set|same)\w*(?: all)?(?: the| a| my)?(?: random)? seeds?|manual_seed|seed_everything",
    "resumed": r"断点续训|续训|resum(?:e|es|ed|ing)(?![a-z])|恢复训练|接着训",
    "adapter": r"adapters?_?model|(?<![a-z])adapters?(?![a-z])|适配器|modules_to_save",
    "merged": r"merge_and_unload|(?:合并|融合)(?=[^。\n]{0,12}(?:lora|权重|参数|模型|后|前))"
    r"|lora[^。\n]{0,10}(?:合并|融合)|merg(?:e|ed|ing)[^.\n]{0,30}(?:lora|adapter|weights)|(?:lora|adapter)s?[^.\n]{0,30}merg(?:e|ed|ing)",
    "nan_cast": r"invalid value encountered in cast",
    "exclamation_marks": r"感叹号|!{4,}|exclamation marks?",
    "limit_65504": r"(?<!\d)655(?:04|19|20)(?!\d)",
    "perfect_score": r"loss\s*(?:值)?(?:为|是|=|:|is)\s*0(?:\.0+)?[^\d.][^.。\n]{0,10}(?:acc(?:uracy)?|准确率)"
    r"\s*(?:为|是|=|:|is)\s*(?:1(?:\.0+)?(?![\d.])|100)",
    "generator_loss_zero": r"(?<![a-z])g(?:enerator)?['’]?s?[ _]?loss[^.。,\n]{0,20}?(?:to|到|变成|为|是) ?"
    r"(?:0|zero)(?![\d.]*\d)",
    "other_model_fine": r"(?:别的|其他|其它|另一个|旧|之前的)\s*(?:模型|版本)[^,。;\n]{0,6}"
    r"(?:正常|没问题|没有问题|没事|可以)"
    r"|no (?:issues?|problems?) with (?:the )?(?:other|old|previous|\w+ )?(?:models?|versions?)"
    r"|other (?:models?|versions?) (?:\w+ )?(?:works?|are fine|is fine|run fine)"
    r"|works? (?:fine |well )?with (?:other|the old|the previous) (?:models?|versions?)",
    "other_card_fine": r"在\s*[avh]\d{2,3}s?\s*上[^。\n]{0,16}(?:没有?问题|正常|没事|可以)"
    r"|换(?:到|成|了)?\s*(?:另一张|别的|其他)?\s*(?:卡|显卡|gpu)[^,。\n]{0,6}(?:正常|没问题|就好)"
    r"|(?:works?|fine|ok|runs?) (?:\w+ )?on (?:an? |my |the )?(?:[avh]\d{2,3}s?|rtx ?\d{4}|another (?:gpu|card))"
    r"(?![a-z\d])",
    "fewer_devices_fine": r"(?:[一1]张卡|单卡|[一1]\s*卡)[^。\n]{0,10}(?:[两二2]张卡|双卡|[两二2]\s*卡)?[^。\n]{0,4}"
    r"都?(?:可以|正常|没问题|没事)[^。\n]{0,12}(?:[三四五六七八3-8]张?卡|多卡)"
    r"|(?:one|1|two|2|single)[- ](?:gpus?|cards?) (?:\w+ )?(?:works?|is fine|are fine|is ok)[^.\n]{0,40}"
    r"(?:four|eight|[48]|more)[- ](?:gpus?|cards?)",
}  # fmt: skip
"""Value of `with` → its names."""

PARTICULAR_TABLE = Table(PARTICULARS.items())
_ABSENT = lazy_pattern(
    r"(?:没有?|不|未|别|无)(?:使用|用|开|加|启用|做)?(?:了|过)?\s*$|(?:去掉|关掉|不再用|取代|替代)\s*$"
    r"|(?<![a-z])(?:without|no|not|instead of|rather than|removed?|disabled?|n['’]t (?:use|using))"
    r"(?: any| the| an?)?\s*$"
)
"""Before a name: it is not in use."""


def read_particulars(text: str) -> tuple[Observation, ...]:
    """What a question names, by position; each sign once, with the words that name it."""
    text = text[:MAX_CHARS]
    folded = fold_case_and_width(text)
    found: dict[str, tuple[int, int]] = {}
    for value, match in signs.matches(PARTICULAR_TABLE, folded, grams(folded)):
        if value not in found and not _ABSENT.search(folded, max(0, match.start() - 24), match.start()):
            found[value] = match.span()
    return tuple(
        Observation(sign=Sign("with", value), text=" ".join(text[start:end][:_MAX_FRAGMENT_CHARS].split()))
        for value, (start, end) in found.items()
    )
