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
    r"|(?<![a-z])yolo(?!act)|目标检测|检测框|(?<![a-z])anchors?(?![a-z]|,? (?:and )?(?:the )?positive)"
    r"|object detection",
    "bce": r"(?<![a-z])bce(?![a-z])|bce(?:with)?(?:logits)?loss|binary[_ -]?cross[_ -]?entropy|二元交叉熵|二值交叉熵"
    r"|二分类交叉熵",
    "focal": r"(?<![a-z])focal",
    "dice": r"(?<![a-z])dice(?![a-z])|dice_?loss",
    "mse": r"(?<![a-z])mse(?:loss|_loss)?(?![a-z])|mean[_ ]squared[_ ]error|squared (?:error|sum|loss)|均方误差"
    r"|平方误差|回归(?:任务|问题|模型|预测)|(?<!logistic )regression",
    "kl": r"kl[ _-]?div\w*|kl ?散度|(?<![a-z])kl[ _-]?loss|(?<![a-z])kld(?![a-z])",
    "vae": r"(?<![a-z])(?<!no-half-)vae(?![a-z]|[_.=])|variational auto|变分自编码",
    "log_variance": r"log[_ ]?var(?![a-z])|logvar|gaussian_?nll|gaussiannll|log[_ -]?std|heteroscedastic",
    "wgan": r"(?<![a-z])(?:wgan|gan[-_ ]gp)|wasserstein|gradient penalty|梯度惩罚",
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
    "ddpg": r"(?<![a-z])(?:ddpg|td3)(?![a-z])",
    "arcface": r"(?:arc|cos|sphere|insight)[- ]?face|(?<![a-z])arc[_ ]?(?:loss|margin)|(?<![a-z])aa?m[- ]?softmax"
    r"|additive (?:angular )?margin|angular[- ]margin|角度?间隔"
    r"|sqrt\( ?1(?:\.0?)? ?- ?(?:torch\.pow\( ?|tf\.square\( ?)?cos",
    "distillation": r"(?<!r1-)(?<!r1_)(?<!dataset )(?<!dataset-)distill(?!\.py|-(?:qwen|llama))|蒸馏"
    r"|(?<![a-z])kd(?![a-z-])|teacher[^.。\n]{0,30}student|student[^.。\n]{0,30}teacher|kl_?div\w*[^.。\n]{0,80}temperature",
    "denoiser": r"(?<![a-z])dd[pi][mo]{1,2}(?![a-z])"
    r"|(?<!reaction[- ])(?<!vection[- ])diffusion(?! (?:coeff|equation|term|pde))"
    r"|扩散(?!系数|方程|项)|noise_pred|denois\w+"
    r"|text-to-(?:image|video)|image-to-video|(?<![a-z])t2i(?![a-z])|文生图|图生视频"
    r"|(?<![a-z])(?:flux|kontext|wan ?2)(?![a-z])",
    "contrastive": r"contrastive|info-?nce|nt-?xent|simclr|对比(?:学习|损失)",
    "logit_scale": r"logit[_ ]?scale",
    "action_mask": r"action[_ ]?mask|mask\w* (?:out )?(?:the )?(?:invalid|illegal) actions"
    r"|(?:屏蔽|掩蔽|无效|非法)的?动作|动作掩码",
    "value_loss": r"value[_ ](?:function[_ ])?loss|(?<![a-z])vf[_ ]?loss|critic[_ ]?loss|loss/value"
    r"|(?:价值|critic|值函数)(?:网络|函数)?的?\s*(?:损失|loss)|loss of the critic",
    "policy_loss": r"(?<![a-z])(?:policy|actor|pg)[_/ ](?:gradient[_ ])?(?:q_)?loss(?![a-z])|loss/policy"
    r"|(?:策略|(?<![a-z])actor)(?:网络)?的?\s*(?:损失|loss)",
    "explained_variance": r"explained[_ ]var|解释方差",
    "negative_entropy": r"negative entropy|(?<!cross[ _-])entropy[_ ]?loss[^.。\n]{0,24}?[^\w.]-\s?\d"
    r"|(?<!交叉)熵(?:损失)?[^。\n]{0,6}负",
    "negative_kl": r"negative (?:approx_?)?kl|(?<![a-z])(?:approx_?)?kl['\"]?\s*[:=]\s*-\d"
    r"|(?<![a-z])kl(?![a-z])[^.。;\n]{0,40}(?:negative|below (?:0|zero)|[变为是成]负)",
    "growing_kl": r"(?<![a-z])kl(?![a-z-]| (?:weight|anneal|coef))[^.。;,，\n]{0,30}(?:increas|grow|bigger|larger"
    r"|explod|rises|rising|涨|变大|增大|增加|骤增|飙升|上升|爆|升高|越来越大)",
    "zero_kl": r"(?<![a-z])kl['\"]?(?:[\s:=]|散度|也|都|一直|始终|is|stays|remains|为|是){1,8}"
    r"(?:0(?:\.0+)?(?![\d.])|zero)",
    "approx_kl": r"approx[_ ]?kl",
    "rising_entropy": r"(?<!cross[ _-])entropy(?![ _]?coef)[^.。,，\n]{0,30}"
    r"(?:增加|上升|增大|increas|rises?|rising|grow|explod|goes up)"
    r"|(?<!交叉)熵(?!系数)[^。,\n]{0,12}(?:涨|上升|升高|增大|增加|骤增|飙升|变大|爆)",
    "overestimation": r"over-?estimat|高估|过估计",
    "reward_model": r"reward[_ -]?model|奖励模型|rewardtrainer",
    "invalid_distribution": r"parameter (?:loc|scale|logits|probs) (?:has invalid|\(|of distribution)|std ?>= ?0",
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
    "pow_backward": r"powbackward",
    "sqrt_backward": r"(?<!r)sqrtbackward",
    "rsqrt_backward": r"rsqrtbackward",
    "log_backward": r"(?<![a-z])log(?:2|10|1p)?backward",
    "div_backward": r"(?<![a-z])(?:div|reciprocal)backward",
    "mul_backward": r"(?<![a-z])mulbackward",
    "exp_backward": r"(?<![a-z])exp(?:m1)?backward",
    "acos_backward": r"(?<![a-z])(?:acosh?|asin|atanh|erfinv)backward",
    "softmax_backward": r"(?<!log)softmaxbackward",
    "log_softmax_backward": r"logsoftmaxbackward",
    "logsumexp_backward": r"logsumexpbackward",
    "norm_backward": r"(?:^|(?<![a-z]))(?:linalgvector)?normbackward",
    "std_backward": r"(?<![a-z])(?:std|var)(?:mean)?backward",
    "layer_norm_backward": r"(?:layer|group)normbackward",
    "batch_norm_backward": r"batchnormbackward",
    "matmul_backward": r"(?<![a-z])(?:(?:add|b|addb|badd)?mm|mv|dot|linear|(?:cudnn|mkldnn|slow)?_?conv\w*)backward",
    "mse_backward": r"mselossbackward",
    "eigh_backward": r"(?:eigh?|svd|symeig)backward",
    "ctc_backward": r"ctclossbackward",
    "slogdet_backward": r"(?:slog|log)?detbackward",
    "half_overflow": r"to type (?:at|c10)::half without overflow",
    "outside_unit_interval": r"input_val >= zero|should be between 0 and 1",
    "non_finite_matrix": r"contained non-finite values",
    "scheduler_before_step": r"lr_scheduler\.step\(\)[`'’]? before",
    "mask": r"(?<![a-z])(?:attn|attention|key_padding|padding|loss|label|src|tgt)?_?mask(?:s|ed"
    r"|ing)?(?![a-z]| r-?cnn)"
    r"|掩码|(?<![a-z])masked_fill",
    "loss_mask": r"loss_?mask|masked[ _](?:mean|loss|average)|mask\.sum\(|valid[ _]?mask"
    r"|掩码(?:后|内)?(?:求|的)?(?:平均|损失)|(?:按|对|用)掩码",
    "ignored_labels": r"ignore_index|(?<![\d.e])-100(?![\d.])|(?:labels?|标签)[^.。\n]{0,12}(?:masked|屏蔽|忽略)",
    "left_padding": r"left[- ]?pad\w*|padding_side|左(?:侧|边)?填充|左(?:侧)?\s*padding",
    "speech": r"mel[-_ ]?spec\w*|(?<![a-z])fbank|log[-_ ]?mel|频谱|语音|(?<![a-z])(?:tts|asr)(?![a-z])|speech|声码器"
    r"|vocoder|utterance"
    r"|paraformer|funasr|wenet|(?<![a-z])whisper|tacotron|fastspeech|aishell|librispeech|(?<![a-z])conformer",
    "segmentation": r"(?<!instance )(?<!instance-)segmentation|语义分割|图像分割|医学分割"
    r"|(?<![a-z])(?:fcn\d*s?|deeplab\w*|nn-?unet|segformer|pspnet|m(?:ean )?iou)(?![a-z])",
    "time_series": r"时间序列|时序(?:数据|预测)|time[- ]series|股票|股价|stock (?:price|prediction|market)"
    r"|(?<![a-z])(?:darts|gluonts|deepar|n-?beats|informer|autoformer|patchtst)(?![a-z])|forecast",
    "table": r"pandas|\.csv|(?<![a-z])(?:df|dataframe)(?![a-z])|表格数据|特征(?:列|工程|比较稀疏)|one-?hot 特征"
    r"|(?:features?|columns?) (?:with|contain|of) (?:many|missing)|sparse features|tabular",
    "graph": r"(?<![a-z])(?:gnn|gcn|gat|graphsage)s?(?![a-z])|图(?:神经)?网络|graph (?:neural|conv|transformer)|图卷积"
    r"|节点分类|node (?:classification|embedding)s?|torch[_-]geometric|(?<![a-z])pyg(?![a-z])|edge_(?:attr"
    r"|index)|(?<![a-z])dgl(?![a-z])",
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
    r"|lora[^。\n]{0,10}(?:合并|融合)|merg(?:e|ed|ing)[^.\n]{0,30}(?:lora|adapter|weights)|(?:lora"
    r"|adapter)s?[^.\n]{0,30}merg(?:e|ed|ing)",
    "nan_cast": r"invalid value encountered in cast",
    "exclamation_marks": r"感叹号|!{4,}|exclamation marks?|全部?(?:为|是|都是)\s?[\"“'‘]?!",
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
    "zero_rate": r"(?:(?<![a-z])lr|learning[ _-]?rate|学习率)\s*(?:[=:]|都|也|直接|调整?|设置?|改|变|降|为|成|到|是"
    r"|was|set|is|to|at|of)(?:\s*(?:[=:]|都|也|直接|调整?|设置?|改|变|降|为|成|到|是|was|set|is|to|at|of))*\s*"
    r"(?:0(?:\.0+)?(?!\.?\d|e)|zero|零)",
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
    "splats": r"gaussian[-_ ]splat|gsplat|splatfacto|(?<![a-z\d])[234]d-?gs(?![a-z])|高斯(?:泼溅|溅射|喷溅|点)",
    "nerf": r"(?<![a-z])nerf|nerf(?![a-z])|neural radiance|神经辐射场|instant[- ]?ngp",
    "darknet_average": r"region (?:\d+ )?avg \(?iou: ?-?nan",
    "dense_head": r"retina-?net|(?<![a-z])fcos(?![a-z])|centernet|centerpoint|efficientdet|(?<![a-z])hm_loss",
    "pinn": r"(?<![a-z])pinns?(?![a-z])|physics[- ]informed|deepxde|物理信息(?:神经)?网络|pde[-_ ]?(?:loss"
    r"|residual|损失|残差)",
    "count_likelihood": r"negative[_ ]?binomial|neg_?bin(?![a-z])|负二项|poisson_?nll|poisson (?:loss|likelihood"
    r"|regression)"
    r"|泊松(?:损失|似然|回归|分布)",
    "percentage_error": r"(?<![a-z])s?mape(?![a-z])|percentage error|百分比误差",
    "ciou": r"(?<![a-z])ciou",
    "box_assertion": r"boxes1\[:, ?2:\] ?>= ?boxes1",
    "heatmap": r"heat-?maps?(?![a-z])|热力?图|关键点|pose estimation|姿态估计|key-?points?(?![a-z])",
    "espnet": r"(?<![a-z])espnet|the grad norm is \w+\. skipping",
    "wav2vec2": r"wav2vec|(?<![a-z])hubert(?![a-z])|wavlm",
    "vits": r"(?:gpt[-_ ]?so|(?<![a-z])so[-_ ]?|bert[-_ ]?)vits|grad_norm_g(?![a-z])|vits[-_ ](?:fast|fine"
    r"|recipe|tts)"
    r"|(?:tts|coqui)[^\n]{0,12}(?<![a-z])vits(?![a-z])",
    "relu_in_recurrent": r"(?:lstm|gru|rnn)[^.,;。，\n]{0,40}relu activation"
    r"|(?:lstm|gru|rnn)\([^)\n]{0,60}relu|(?:lstm|gru|rnn) (?:layers? )?(?:with|using) (?:a )?relu"
    r"|relu (?:activation )?(?:in|inside|for) (?:the |an? |my )?(?:lstm|gru|rnn)|(?:lstm|gru"
    r"|rnn) ?(?:的?激活(?:函数)?)?(?:用|是|改成|换成)了? ?relu",
    "codebook": r"vq[-_ ]?vae|vq-?gan|(?<![a-z])codebook|码本|vector[- ]quanti",
    "silog": r"(?<![a-z])si_?log|scale[- ]invariant (?:log|loss|error)|尺度不变[^,。\n]{0,4}(?:损失|对数|loss)",
    "norm_by_hand": r"/ ?(?:torch\.|np\.|tf\.|jnp\.)?(?:linalg\.)?norm\(|/ ?\w+\.norm\(|/ ?\|\|\w+\|\|"
    r"|除以(?:它的?|自己的?|自身的?|向量的?)?(?:模长?|范数|norm|l2)"
    r"|divid\w+ by (?:its|the|their) (?:l2 |own )?(?:norm|length)",
    "log_one_plus_exp": r"log\( ?1(?:\.0?)? ?\+ ?(?:torch\.|np\.|math\.|tf\.|jnp\.)?(?:exp\(|e\^)",
    "asks_to_stop": r"should i (?:just |now )?(?:(?:stop|abort|kill|restart|continue)(?! (?:us|decay|clip))"
    r"|keep (?:train|going|it))|(?:can"
    r"|may) i (?:just )?(?:continue|keep training|let it run)"
    r"|(?:要不要|需要|是否|用不用|该不该)(?:停|中断|终止|重新?训|继续)|还能(?:不能)?(?:接着|继续)训?|可以继续训",
    "neural_ode": r"neural[- ]?[oc]des?(?![a-z])|torchdiffeq|(?<![a-z])odeint|神经常?微分方程",
    "gpytorch": r"gpytorch|botorch",
    "rotation": r"quaternion|四元数|axis[- ]angle|轴角|rodrigues|rotation (?:matrix(?! embed)|matrices|loss"
    r"|vector)|旋转(?:矩阵"
    r"|向量)|so\(3\)|geodesic (?:loss|distance)",
    "flow": r"normali[sz]ing flow|real-?nvp|(?<![a-z])glow(?![a-z])|(?<![a-z])maf(?![a-z])|标准化流|流模型|tempflow"
    r"|srflow|(?:affine )?coupling (?:layer|block|operation)|affine coupling",
    "rmse_loss": r"rmse[ _]?loss|rmse (?:as|损失)|用 ?rmse|sqrt\( ?(?:\w+\.)*(?:mse|criterion)"
    r"|root[- ]mean[- ]squared?(?:[- ]error)? (?:as|loss)",
    "ssim": r"(?<![a-z])(?:ms|d)[-_ ]?ssim(?![a-z])|(?<![a-z])ssim[_ ]?(?:loss|损失)|1 ?- ?(?:\w+\.)?ssim",
    "squared_log": r"(?<![a-z])r?msle(?![a-z])|mean[ _]squared[ _]log|对数平方误差|均方对数",
    "correlation": r"pearson|皮尔[逊森]|concordance|(?<![a-z])ccc(?![a-z])|相关系数|correlation (?:loss|coefficient)",
    "distance": r"(?<![a-z])cdist|chamfer|pairwise[_ ]dist|euclidean distance|欧[氏式]距离"
    r"|points? coincide|两点(?:之间的?)?距离",
    "detr": r"(?<![a-z])(?:\w{1,12}[- ])?detr(?![a-z])",
    "new_stage": r"until i reached|(?:when|once|after|as soon as) (?:the |i )?(?:\w+ )?(?:second|adversarial"
    r"|new|joint|gan|diffusion)"
    r" (?:stage|phase|loss|training) (?:start|begin|kick|(?:is|was|gets) (?:added|switched|turned)"
    r"|join|switch)\w*|(?:after|when"
    r"|once) (?:i |we )?unfr[eo]\w+"
    r"|解冻(?:之?后|以后)|(?:进入|到了?|开始)第[二三]阶段|第[二三]阶段(?:一开始|开始|训练)"
    r"|加入?了?[^,。\n]{0,8}(?:损失|loss) ?(?:之后|以后|后|就)",
    "density": r"negative log[- ]?likelihood|(?<![a-z])nll(?!_?loss)(?![a-z])|gaussian_?nll|mixture density"
    r"|(?<![a-z])mdn(?![a-z])"
    r"|负对数似然|adaptive\w*lossfunction",
    "reciprocal": r"(?<![\w./])1(?:\.0?)? ?/ ?(?:d|r|dist|distance|distances|depth|radius|norm|sigma|std|x"
    r"|t)(?![a-z\d])|inverse (?:distance|depth)|距离的?倒数|取倒数"
    r"|torch\.reciprocal|\.reciprocal\(",
    "matrix_inverse": r"linalg\.(?:inv|solve|pinv|lstsq)|torch\.(?:inverse|pinverse)|\.inverse\(|矩阵求?逆"
    r"|matrix inver(?:se|sion)|singular matrix|gauss[- ]newton",
    "fft": r"(?<![a-z])[ir]{0,2}fft[12n]?(?![a-z])|torch\.fft|(?<![a-z])fno(?![a-z])|neural operator|傅里叶",
    "rollout": r"roll-?outs? (?:step|train|length|of|for|loss)|(?:long|autoregressive"
    r"|multi-?step) roll-?outs?|unroll(?:ed|ing) (?:\w+ )?(?:step|train|model|simulat)|自回归(?:展开|预测|滚动|训练)"
    r"|多步(?:展开|滚动|预测)|滚动预测",
    "arc_function": r"(?<![a-z])a(?:rc)?(?:sin|cos)\(|(?<![a-z])arc(?:sin|cos)(?![a-z])"
    r"|(?<![a-z])a(?:rc)?tan2|(?<![a-z])a(?:sin|cos)(?![a-z])|反(?:正|余)弦",
    "gem": r"(?<![a-z])gem(?:[ _]?pool\w*)(?![a-z])|generali[sz]ed mean pool\w*",
    "validation_nan": r"(?:(?<![a-z])(?:cv|val(?:id(?:ation)?)?|dev|eval)"
    r"|验证集?(?:的)?)[_ ]?(?:\w{1,12}[_ ])?(?:loss|损失) ?(?:就|都|却|一直)?(?:是|为|变成|is|are|was|=|:|becomes?"
    r"|always)?(?: always)? ?nan",
    "no_valid_pixels": r"sparse (?:gt|ground[- ]truth|depth|flow|label|supervision)\w*|valid[_ ](?:pixels"
    r"|points)|no (?:foreground|valid (?:pixel|point))s?|没有(?:前景|有效像素|有效点)|稀疏(?:真值|深度|标注)",
    "ocr": r"(?<![a-z])crnn|warp-?ctc|(?<![a-z])ocr(?![a-z])|文字识别|车牌识别|文本行识别",
    "crf": r"(?<![a-z])crf(?![a-z])|条件随机场",
    "unscaled": r"(?:not|n['’]t|without|never) (?:been )?(?:scal(?:ed|ing)|normali[sz](?:ed|ing|ation)"
    r"|standardi[sz](?:ed|ing))|unscaled|unnormali[sz]ed"
    r"|(?:没有?|未)(?:做|进行|经过)?(?:过)?(?:数据)?(?:归一化|标准化|缩放)|(?:values?|prices?|targets?|inputs?"
    r"|features?) (?:are |is )?(?:around|up to|of about|in the) (?:\d{4,}|thousands|millions)",
    "log_det": r"log[-_ ]?det(?![a-z])|slogdet|logdet|multivariate[_ ]?(?:normal|gaussian)|对数行列式|log\(\w*\.?det\(",
    "renderer": r"pytorch3d|nvdiffrast|differentiable (?:render|raster)\w*|可微渲染|soft ?ras(?![a-z])",
    "lbfgs": r"l-?bfgs",
    "huge_percentage": r"mape[^.。\n]{0,24}?(?:\d{3,}(?:\.\d+)? ?%|(?<![\d.])\d{4,}|超高|很大|巨大|飙升|huge|explod"
    r"|(?:very|too) (?:high|large))",
    "only_outputs_nan": r"(?:outputs?|returns?|predictions?"
    r"|logits?)[^.。\n]{0,24}?nan[^。\n]{0,90}?inputs?[^。\n]{0,24}?(?:correct|fine|(?<![a-z])ok|normal"
    r"|not nan|no nan|finite)"
    r"|(?:inputs?[^。\n]{0,24}?(?:correct|fine|(?<![a-z])ok|normal|not nan|no nan|finite)"
    r"|输入[^。\n]{0,8}?(?:正常|没问题|没有 ?nan|不是 ?nan))[^。\n]{0,60}?(?:outputs?|logits?|输出)[^。\n]{0,16}?nan",
    "one_class": r"(?:one|single|third|last|rare|some|certain|this) class(?:es)?[^.\n]{0,40}?(?<![a-z])nan"
    r"|(?<![a-z])nan (?:only )?for (?:one|some|a|the \w+) class"
    r"|(?:某(?:一|个|些)?个?|其中一|只有一?个?|有一个)类别?[^。\n]{0,16}?(?<![a-z])nan|(?:loss|dice|iou"
    r"|score) for (?:the )?\w+ (?:class )?(?:is |always |returns )+['\"‘’“”]?nan",
    "zero_dice": r"(?<![a-z])dice(?:[ _](?:score|coefficient|coef|for (?:every|each|all) class(?:es)?))?\s*"
    r"(?:一直|总是|都|全|始终)?(?:is|was|stays? at|are|=|:|是|为)?\s*(?:always )?\[?0(?:\.0+)?(?![.\d])",
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
