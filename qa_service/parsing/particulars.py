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
    r"|llama[-_ ]?factory|['\"]grad_norm['\"]: [^,\n]{1,30}, ['\"]learning_rate['\"]",
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
    "four_bit": r"load_in_4bit|bnb_4bit|(?<![a-z])qlora|quantization_bit[ =]+4|(?<![\w.])4[- ]?bit(?![a-z])",
    "eight_bit_optimiser": r"8[- _]?bit[ -]?(?:adam|optimi[sz]er|lion)|adamw?_?8bit|adamw_bnb"
    r"|8\s*(?:位|比特)的?\s*(?:adam|优化器)",
    "half_weights": r"\.half\(\)|torch_dtype\s*=\s*torch\.(?:float16|half)|model\.to\(torch\.(?:float16|half)\)",
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
    "vae": r"(?<![a-z])vae(?![a-z]|[_.=])|variational auto|变分自编码",
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
    "small_batch": r"(?<![a-z_])(?:batch[ _-]?size|batch|批量|批次)\s*(?:应该|比较|太|很|特别|非常|is|are|was|too"
    r"|very|so|size|of|only|只有|只能是?|设[为成]|改[为成]|调[为成到]|=|:|是|为|\s)*\s*(?:小|small|[1-4](?![\d.]"
    r"|\s*[倍k]))|small batch|(?<![a-z])bs\s*(?:=|改[为成]|设[为成]|只有|只能|是|为)?\s*[1-4](?!\d)",
    "accumulation": r"gradient[_ -]?accum\w*|grad[_ -]?accum\w*|accumulat\w+ (?:steps|gradients?)|梯度累[积加]"
    r"|(?<![a-z])accum(?:ulative)?_",
    "seed_fixed": r"(?:固定|设置|设定|设)[^,。;\n]{0,8}(?:种子|(?<![a-z])seed(?![a-z]))|(?:种子"
    r"|(?<![a-z])seed)[^,。;\n]{0,4}(?:固定|设置|设定|相同|一样)|(?:fix|set|same)\w*(?: all)?(?: the| a"
    r"| my)?(?: random)? seeds?|manual_seed|seed_everything",
    "resumed": r"断点续[训传]|断点训练|断点(?:处|后|保存|恢复|加载)|续训|resum(?:e|es|ed|ing)(?![a-z])|恢复训练"
    r"|接[着著]训|中断(?:后|之后|了)?[^。\n]{0,4}(?:再|接[着著]|继续)|继续训练|continu\w+ (?:the )?training|(?:load"
    r"|reload|restor)\w* (?:\w+ ){0,4}(?:checkpoint|ckpt|weights?|parameters)[^.\n]{0,60}continu\w+",
    "started_over": r"(?:和|跟|与|像|同)\s*(?:从头|重新|刚)(?:开始)?(?:再)?(?:训练?|跑|学)?的?[^,。\n]{0,4}(?:一样"
    r"|一致|差不多|相同|似的)|(?:恢复|回|退|变|跳|重置)(?:成|到|回|为)了?\s*(?:刚|最|一)?\s*(?:初始|开始|最初|初始化"
    r"|第一轮|随机初始化)|(?:as if|like) (?:it |i |the (?:model|training) )?(?:\w+ ){0,4}(?:from scratch"
    r"|started over|never (?:been )?trained|untrained|restarted)|(?:back|same|equal|return\w*|reset\w*"
    r"|identical) (?:to|as)(?: \w+){0,5} (?:from scratch|(?:initial|starting|first)(?: \w+)? (?:loss|value)"
    r"|the (?:very )?(?:start|beginning)|epoch [01](?!\d))",
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
    "config_of_8_cards": r"paddle-?det\w*|(?<![a-z])ppdet(?![a-z])|pp-?yolo\w*|(?<![a-z])mm(?:det|detection|rotate"
    r"|detection3d)(?![a-z])|(?:8|八)\s*卡的?(?:默认)?\s*(?:配置|config)|(?:8|eight)[- ]gpus? (?:config|recipe"
    r"|schedule)|maskrcnn[-_]benchmark",
    "fewer_devices_worse": r"(?:fine|works?|well|normal\w*|converges?) (?:on|with) (?:two|four|eight|[248]|multiple"
    r"|several)[- ]?gpus?[^.\n]{0,40}(?:single|one|1)[- ]?gpu[^.\n]{0,30}(?:can(?:not|['’]t| not)|doesn['’]t"
    r"|does not|nan|diverg|fail|worse)|(?:[两二四八多248]\s*[张块]?\s*(?:卡|gpu)|双卡)[^。\n]{0,16}(?:正常|没问题"
    r"|可以|收敛)[^。\n]{0,16}(?:单卡|单\s*gpu|[一1]\s*[张块]?\s*(?:卡|gpu))[^。\n]{0,12}(?:不收敛|不下降|不行|nan"
    r"|发散|炸|异常|不正常)|(?:two|four|eight|[248]|multiple|several|more|multi)[- ]?gpus?[^.\n]{0,40}(?:normal|fine"
    r"|works?|converg|declin|decreas)\w*[^.\n]{0,60}(?:single|one|1)[- ]?gpu[^.\n]{0,40}(?:can(?:not|['’]t| not)"
    r"|doesn['’]t|does not|nan|diverg|fail|worse)",
    "edit_distance": r"norm_edit_dis|编辑距离|edit[ _-]?dist",
    "zero_rate": r"(?:学习率|(?<![a-z])lr)\s*(?:都|也|直接|调整?|设置?|改|变|降)*\s*(?:为|成|到|是|=)\s*(?:0(?![\d.]"
    r"|\s*\.)|零)|(?:learning[ _-]?rate|(?<![a-z])lr)\s*(?:is |was |set )*(?:to|of|=|is)\s*(?:0(?:\.0+)?(?!\d|\.\d"
    r"|e)|zero)",
    "total_only": r"(?:总|合计|整体|total)[^,。\n]{0,6}(?:loss|损失)?[^,。\n]{0,6}nan[^。\n]{0,24}(?:其他|其它|其余"
    r"|各|每|分)[^。\n]{0,10}(?:正常|没问题|不是|都有|有限)|(?:各|每|分)(?:个|项|部分)[^。\n]{0,8}(?:loss"
    r"|损失)?[^。\n]{0,6}(?:正常|没问题|有限|不是 ?nan)[^。\n]{0,12}(?:总|合计|加起来|相加)[^。\n]{0,10}nan|(?:each"
    r"|every|all|other|individual|separate|component)(?: \w+){0,3} (?:loss(?:es)?|terms?|components?"
    r"|parts?) (?:\w+ ){0,2}?(?:correct|fine|normal|finite|reasonable|ok|not nan|good)[^.\n]{0,40}(?:total|sum"
    r"|overall)[^.\n]{0,16}nan|(?:total|sum|overall|loss)[^.\n]{0,12}(?:is|becomes?|=) ?nan[^.\n]{0,24}(?:each|other"
    r"|individual|all the|separate)(?: \w+){0,3} (?:loss(?:es)?|terms?|components?|parts?)[^.\n]{0,16}(?:correct"
    r"|fine|normal|finite|reasonable|ok|not nan|not)",
    "each_call_differs": r"(?:推理|预测|推断|测试)[^,。\n]{0,6}(?:每次|每一次)[^。\n末]{0,6}(?:结果|输出|得分"
    r"|分数)[^。\n末]{0,4}(?:不|变)|(?:每次|每一次|多次|重复)\s*(?:预测|推理|推断|测试|调用)[^。\n末]{0,14}(?:不一样"
    r"|不同|不一致|不稳定|会变|都变)|同一(?:张|个|条|句|份)[^,。\n]{0,8}(?:每次|多次)[^。\n末]{0,6}(?:结果|输出|预测"
    r"|分数)[^。\n末]{0,4}(?:不一样|不同|不一致|都变)|(?:every|each) time (?:i|we|you) (?:predict|infer"
    r"|run (?:inference|the model|it)|test|evaluate|call)\w*[^.\n]{0,40}(?:different|chang|var)|(?:different"
    r"|varying) (?:\w+ )?(?:outputs?|results?|predictions?) (?:every|each) time (?:i|we|you) (?:predict|infer"
    r"|run (?:inference|the model|it)|test|evaluate|call)",
    "cards_differ": r"不同(?:型号)?的?\s*(?:gpu|显卡|卡|机器)[^。\n]{0,16}(?:差异|差别|不一样|不同|不一致)"
    r"|在?\s*(?:a100|a800|h100|h800|v100|t4|p100|30\d0|40\d0|2080\w*|1080\w*)s?\s*上[^。\n]{0,24}(?:a100|a800|h100"
    r"|h800|v100|t4|p100|30\d0|40\d0|2080\w*|1080\w*)s?\s*上[^。\n]{0,16}(?:差异|差别|不一样|不同|不一致|差很多)"
    r"|different (?:results?|outputs?|loss(?:es)?|accurac\w+)[^.\n]{0,24} (?:on|across|between) (?:different|two"
    r"|various) (?:\w+ )?(?:gpus?|cards?)|(?:different|two) (?:\w+ )?(?:gpus?|cards) (?:give|produce"
    r"|yield)s? different",
    "loss_at_ln_c": r"(?:loss|损失|交叉熵)[^\d\n]{0,20}(?:0\.69\d*|1\.0?9[89]\d*|1\.38\d*|1\.39(?!\d)|1\.609\d*"
    r"|2\.3(?:0\d*)?(?!\d)|4\.6(?:0\d*|1)?(?!\d)|6\.9(?:0\d*|1)?(?!\d))(?!\s*(?:降|下降|掉|to|down)|e[-+\d])"
    r"|0\.6\d?\s*(?:到|至|-|~|to|–|—)\s*0\.7\d?(?!\d)",
    "end_of_warmup": r"warm-?up\s*(?:阶段|期|步数?)?(?:一|刚)?(?:结束|跑?完|过|之?后|以后)|预热(?:阶段|期)?(?:一"
    r"|刚)?(?:结束|完|过|之?后|以后)|(?:end|after|once|finish\w*|over)\W+(?:\w+\W+){0,3}?warm-?up"
    r"|warm-?up (?:\w+ ){0,2}(?:ends?|ended|finish\w*|is over|completes?)",
    "zero_metric": r"(?<![a-z])map/p/r(?: \w+){0,2} (?:0|zero)(?![.\d%]*[1-9])"
    r"|(?<![a-z])(?:p/r/)?map(?:@?[.\d:~-]*)?\)?\s*(?:值|也|都|全|一直|变|降|掉)*(?:是|为|到|成|="
    r"|:)\s*0(?:\.0+)?(?![.\d]*[1-9])|(?:准确率|精度|召回率|(?<![a-z])acc|recall|precision)\s*(?:也|都|全|一直|变|降"
    r"|掉)*(?:是|为|到|成|=|:)\s*0(?:\.0+)?(?![.\d%]*[1-9])|(?:map|accuracy|precision|recall"
    r"|p/r/map)\)?(?: \w+){0,2} (?:is|are|becomes?|became|become|drops? to|all) (?:all )?(?:0(?:\.0+)?"
    r"|zero)(?![.\d%]*[1-9])|(?<![\d.])0 for p/r/map|(?<![a-z])(?:max)?m?(?:iou|ap)\s+0(?![.\d]*[1-9])|(?:m?iou"
    r"|map)[^。\n]{0,8}(?:是|为|成|到)了?\s*nan\s*(?:和|与|、)\s*0(?![.\d])",
    "absent_class": r"(?<![a-z])(?:m?iou|kappa|dice|f1|acc)(?:_?score)?\s*(?:=|:|是|为|变成了?|都是|is|are"
    r"|becomes?)?\s*nan(?![a-z])|(?<![a-z])nan (?:iou|kappa|f1)(?![a-z])",
    "norm_above_limit": r"(?:clip|裁剪)[^。\n]{0,20}(?:norm|范数|梯度)[^。\n]{0,10}(?:还是(?=\s*(?:很|几|\d|大|高|爆"
    r"|没|那么|超|一直|有|上|会))|仍|却|依然|一直|大于|超过|高于|远大)|(?:norm|范数)[^。\n]{0,10}(?:大于|超过|高于"
    r"|比)[^。\n]{0,14}(?:clip|裁剪|max_norm|max_grad_norm|阈值)|(?:grad\w*[_ -]?)?norm\w*(?: \w+){0,4} (?:higher"
    r"|larger|greater|above|exceed\w*|bigger|more|over)(?: than)?(?: \w+){0,3} (?:clip\w*|max_(?:grad_)?norm"
    r"|threshold)|(?:clip\w*|max_(?:grad_)?norm)[^.\n]{0,40}(?:but|yet|still"
    r"|however)[^.\n]{0,24}norm[^.\n]{0,24}(?:above|over|larger|higher|greater|large|hundred|\d{2,})",
    "still_update": r"overflow, still update",
    "set_floatx": r"set_floatx\(\s*['\"]float16",
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
