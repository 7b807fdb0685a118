"""Every text of the page in both languages, in the terms of the glossary."""

from qa_service.model import Lang, Text
from qa_service.presentation import formula_words

HTML_LANG = {"zh": "zh-CN", "en": "en"}
LANGUAGE_NAME = Text("中文", "English")

LABELS = {
    # the frame
    "colon": Text("：", ": "),
    "tagline": Text(
        "深度学习的数值稳定性：每个回答都带现场测得的数", "Numerical stability, answered with live numbers"
    ),
    "about": Text(
        "回答里的数不是背出来的：实验当场运行，断言由测得的数判定，参数你可以改。",
        "The numbers in an answer are not recited: the experiment runs while you wait, "
        "each claim is judged by what was measured, and the parameters are yours to change.",
    ),
    "skip": Text("跳到正文", "Skip to content"),
    "nav_ask": Text("提问", "Ask"),
    "nav_entries": Text("全部词条", "All entries"),
    "no_script": Text(
        "提问和运行实验需要 JavaScript。没有它也能阅读：",
        "Asking and running experiments need JavaScript. Without it you can still read:",
    ),
    "incomplete": Text(
        "这一页没有完整送达，有些功能用不了。", "Part of this page did not arrive, so some of it does not work."
    ),
    "reload": Text("重新载入", "Reload the page"),
    # a question for the value of a formula
    "format": Text("格式", "format"),
    "open_formula": Text("每一步、梯度和更稳的写法", "Each step, the gradient and stabler forms"),
    # in a frame of another site
    "open_at": Text("在 numstab 打开完整页面", "Open the whole page at numstab"),
    "embed_closed": Text(
        "这台服务器不允许别的网站嵌入它的词条。运维可以用 NUMSTAB_EMBED 列出允许的网站。",
        "This server does not let pages of other sites show its entries. Its operator can list such sites in "
        "NUMSTAB_EMBED.",
    ),
    "embed_no_key": Text(
        "嵌入的页面不接受密钥：地址会写在别的网站的页面里。",
        "An embedded page takes no key: its address stands in a page of another site.",
    ),
    # asking
    "question": Text("你的问题", "Your question"),
    "placeholder": Text("nan、梯度、初始化、精度……", "nan, gradients, precision …"),
    "ask": Text("提问", "Ask"),
    "stop": Text("停止", "Stop"),
    "offline": Text(
        "你现在没有联网；问题还在，连上以后再试。",
        "You are offline; the question is kept. Try again once you are back.",
    ),
    "edit": Text("改一改再问", "Edit"),
    "past": Text("问过的问题", "Asked before"),
    "past_export": Text("导出", "Export"),
    "past_clear": Text("清空", "Clear"),
    "clear_sure": Text("清空问过的问题？这不能撤销。", "Clear what was asked before? This cannot be undone."),
    "predict": Text("先猜再看", "Predict first"),
    "predict_about": Text("先选一个答案，再看测得的结果", "Choose a number before you see what was measured"),
    "large": Text("大字", "Large type"),
    "large_about": Text("教室里用的大字", "Large type for a classroom"),
    "guess": Text("猜一猜：“{}”会是多少？", "Your guess: what will “{}” be?"),
    "guess_give_up": Text("不猜了，直接看", "Just show me"),
    "told": Text("正文（答案在里面，先猜再看）", "The text (it tells, so guess first)"),
    "never": Text("从未发生", "never"),
    "guessed": Text("你猜 {}，测得 {}。", "You guessed {}; measured: {}."),
    "queued": Text("排队中，第 {} 位", "Waiting; number {} in line"),
    "copy": Text("复制", "Copy"),
    "show_all": Text("显示全部代码", "Show all of it"),
    "copied": Text("已复制", "Copied"),
    "not_copied": Text("没能复制", "Not copied"),
    "helpful": Text("这个回答有用吗？", "Was this helpful?"),
    "yes": Text("有用", "Yes"),
    "no": Text("没用", "No"),
    "why": Text("可以说说为什么（选填）", "Why? (optional)"),
    "send": Text("发送", "Send"),
    "thanks": Text("收到了，谢谢！", "It is on record. Thank you!"),
    "save": Text("保存：", "Save as"),
    "bits": Text("看它的每一位", "See its bits"),
    "bits_number": Text("数", "number"),
    "bit_sign": Text("符号位", "sign bit"),
    "bit_exponent": Text("指数位", "exponent bit"),
    "bit_fraction": Text("尾数位", "fraction bit"),
    "retry": Text("再试一次", "Try again"),
    "examples": Text("例如", "For example"),
    "looking": Text("正在查找词条……", "Looking for the entry …"),
    "measuring": Text("正在运行：", "Running: "),
    "finished": Text("回答完毕。", "The answer is complete."),
    "stopped": Text("已停止。", "Stopped."),
    "unreachable": Text(
        "连不上服务，问题还在。请检查服务是否在运行，再试一次。",
        "The service cannot be reached. Your question is kept; see that the service is running, then try again.",
    ),
    "broken": Text(
        "回答到一半，连接断了，可能是服务在重启。问题还在，再试一次就好。",
        "The connection broke in the middle of the answer; the service may be restarting. "
        "Your question is kept: try again.",
    ),
    "silent": Text(
        "服务太久没有回音。问题还在，再试一次就好。",
        "The service has been silent for too long. Your question is kept: try again.",
    ),
    "too_often": Text(
        "请求太频繁了，问题还在，过一会儿再试。",
        "Too many requests. Your question is kept; try again in a moment.",
    ),
    "restarting": Text(
        "服务正忙或正在重启，问题还在，过几秒再试。",
        "The service is busy or restarting. Your question is kept; try again in a few seconds.",
    ),
    "not_understood": Text("服务的答复无法识别。请再试一次。", "The reply made no sense. Please try again."),
    "drawing": Text("正在画图……", "Drawing the chart …"),
    "no_chart": Text(
        "图没能画出来；数据表里有同样的数。", "The chart could not be drawn; the data table has the same numbers."
    ),
    "chart_later": Text(
        "现在画不出图：画图的程序没能取到。会自动再试；数据表里有同样的数。",
        "The chart cannot be drawn now: what draws it could not be fetched. It is tried again by itself; "
        "the data table has the same numbers.",
    ),
    # an answer
    "answer": Text("回答", "The answer"),
    "alternatives": Text("也可能是在问：", "Or do you mean:"),
    "unsure": Text("不太确定是不是在问这个（把握 {}%）", "not quite sure that this is your question ({} %)"),
    "previously": Text("上次", "before:"),
    "read_as": Text("从问题里读到", "read from the question"),
    "used_to_find": Text("用来找词条", "to find the entry"),
    "used_in_run": Text("用在实验里", "in the experiment"),
    "used_to_tell": Text("用来分辨", "to tell the causes apart"),
    "not_used": Text("没有用到", "not used"),
    "used": Text("用处：", "used "),
    "strike": Text("不对，划掉再问：", "Not so, ask again without: "),
    "because": Text("你提到：", "you mention: "),
    "excluded": Text("不像，因为你提到：", "unlikely, you mention: "),
    "whole_question": Text("全文", "The whole text"),
    "notes": Text("说明", "Please note"),
    "lecture": Text("讲座原话", "In the lecture’s words"),
    "lecture_question": Text("听众问", "Asked in the lecture"),
    "lecture_answer": Text("讲座答", "The lecture answers"),
    "netizens": Text("网友说", "What netizens said"),
    "own_page": Text("打开这个词条", "Open this entry"),
    "related": Text("接着看", "Related"),
    "references": Text("参考文献", "References"),
    # evidence
    "evidence": Text("证据", "Evidence"),
    "more_evidence": Text("其余证据", "More evidence"),
    "more_inside": Text("{} 个实验，{} 条断言", "experiments: {}, claims: {}"),
    "measured_now": Text("刚刚测得", "measured just now"),
    "measured_earlier": Text("此前用同样的代码测得", "measured earlier with the same code"),
    "measured_on": Text("{} 用同样的代码测得", "measured on {} with the same code"),
    "change": Text("改参数 ▸", "change ▸"),
    "present": Text("全屏", "Present"),
    "present_about": Text(
        "全屏放这张图：左右键逐条看断言，Esc 退出",
        "This chart on the whole screen: arrow keys step through the claims, Esc leaves",
    ),
    "present_steps": Text("← → 换一条断言　Esc 退出", "← → next claim · Esc leaves"),
    "leave": Text("退出", "Leave"),
    "more_about": Text("全部参数、种子、数据、源码和收据", "All parameters, seeds, data, source and receipt"),
    "readout_hint": Text(
        "拖动滑块，正文里的数一起变。点正文里的数，这里给出全部数位。",
        "Drag a slider and the numbers in the text follow. Point at a number in the text to see all its digits here.",
    ),
    "number_about": Text("测得的数", "a measured number"),
    "show_evidence": Text("看证据", "Show the evidence"),
    "close": Text("关闭", "Close"),
    "seed": Text("随机种子", "seed"),
    "die": Text("换一个随机种子", "Roll another seed"),
    "compare": Text("逐个比较", "compare all of"),
    "compare_nothing": Text("不比较", "nothing"),
    "many": Text("20 个种子", "20 seeds"),
    "many_about": Text(
        "换 20 个随机种子各跑一遍，看断言有多常成立", "Run with 20 seeds: how often do the claims hold?"
    ),
    "aspects": Text("同一组实验还回答", "The same experiments also answer"),
    "permalink": Text("这组参数的链接", "Link to these parameters"),
    "notebook": Text("下载笔记本", "Notebook"),
    "script": Text("下载脚本", "Script"),
    "run": Text("运行", "Run"),
    "run_again": Text("再运行一次", "Run again"),
    "run_all": Text("全部现场测一遍", "Measure everything now"),
    "running": Text("运行中", "Running"),
    "row": Text("第 {} 行", "row {}"),
    "claims": Text("断言", "Claims"),
    "measured": Text("测得", "measured"),
    "claimed": Text("断言", "claimed"),
    "holds": Text("成立", "holds"),
    "fails": Text("不成立", "fails"),
    "unknown": Text("未知", "unknown"),
    "elsewhere": Text("不适用于这组参数", "does not apply at these parameters"),
    "elsewhere_many": Text("不适用", "do not apply"),
    "holds_many": Text("成立", "hold"),
    "fails_many": Text("不成立", "fail"),
    "unknown_many": Text("未知", "unknown"),
    "pending": Text("待测", "pending"),
    "not_run": Text("尚未运行", "not run yet"),
    "as_stated": Text("词条正是这么说的", "just as the entry says"),
    "not_visible": Text("在这组参数下看不到这条断言。", "With these parameters the claim is not visible."),
    "restore": Text("恢复词条的参数", "Restore the entry’s parameters"),
    "chart": Text("图：", "Chart: "),
    "all_metrics": Text("全部指标", "All metrics"),
    "metric": Text("指标", "metric"),
    "compared": Text("比较", "Compared"),
    "beside": Text("其中关键的一步运算，在八种格式里", "The operation on which it turns, in eight formats"),
    "phrasings": Text("这样问也能找到它", "Also found when asked like this"),
    "value": Text("数值", "value"),
    "data": Text("数据", "Data"),
    "first_rows": Text("只列出前", "Shown are the first"),
    "receipt": Text("收据", "Receipt"),
    "took": Text("用时", "took"),
    "entry_hash": Text("词条", "entry"),
    "code_hash": Text("代码", "code"),
    "versions": Text("版本", "versions"),
    "machine": Text("机器", "machine"),
    "source": Text("实验源码", "The experiment’s source"),
    "ran": Text("运行完毕", "ran"),
    "raised": Text("实验报错", "raised an error"),
    "timed_out": Text("运行超时", "ran out of time"),
    "crashed": Text("进程崩溃", "crashed"),
    "out_of_memory": Text("内存不足", "ran out of memory"),
    # the entries
    "entries": Text("全部词条", "All entries"),
    "entries_about": Text(
        "一个词条讲一个问题，按讲座里的顺序排列；每个都带可以运行的证据。",
        "One entry for each question, in the order of the lecture; every one has evidence that you can run.",
    ),
    "further": Text("延伸问题", "Further questions"),
    "no_entry": Text("没有编号为“{}”的词条。", "There is no entry “{}”."),
    "no_experiment": Text("没有叫“{}”的实验。", "There is no experiment “{}”."),
    "other_experiments": Text("其他实验", "Other experiments"),
    "find": Text("查找", "Find"),
    "nothing_found": Text("没有找到。", "Nothing found."),
    "ask_instead": Text("拿它去提问", "Ask it instead"),
    "by_theme": Text("按主题", "By theme"),
    "by_item": Text("按讲座的顺序", "In the order of the lecture"),
    "experiments": Text("实验", "Experiments"),
    "experiment": Text("实验", "Experiment"),
    "experiments_about": Text(
        "每个实验都可以单独拿来玩：参数和随机种子写在地址里，换一个就再测一次。",
        "Each experiment can be played with by itself: its parameters and its seed stand in the address.",
    ),
    "playground_about": Text(
        "改参数，换种子，再运行；这一页的地址就是这组参数。",
        "Change the parameters or the seed and run it again; the address of this page holds them.",
    ),
    "used_by": Text("用到它的词条", "Entries it is evidence of"),
    "play": Text("单独打开这个实验", "Open this experiment by itself"),
    "item": Text("第 {} 题", "Item {}"),
    "closing_remark": Text("结语", "Closing remark"),
    # one's own formula
    "formula": Text("你的公式", "Your formula"),
    "nav_formula": Text("公式", "Formula"),
    "formula_beyond": formula_words.BEYOND_FLOAT64,
    "formula_own": Text("换成自己的公式算一算 →", "Try a formula of your own →"),
    "formula_about": Text(
        "写一个公式，看它在每种浮点格式里算成什么、从哪一步开始出错、在哪里会坏，以及更稳定的写法。",
        "Write a formula and see what every float format makes of it, which step goes wrong first, where it breaks, "
        "and a stabler form.",
    ),
    "formula_expression": Text("公式", "formula"),
    "formula_compare_in": Text("比较写法用的格式", "compare forms in"),
    "formula_gradient": Text("也算梯度", "the gradient too"),
    "formula_measure": Text("测一测", "Measure"),
    "formula_hint": Text(
        "变量可以是一个数（100、1/3、inf），也可以是一个范围（-1000..1000）。",
        "A variable is a number (100, 1/3, inf) or a range (-1000..1000).",
    ),
    "formula_values": Text("每种格式里的值", "The value in each format"),
    "formula_dtype": Text("数据类型", "dtype"),
    "formula_outcome": Text("结果", "outcome"),
    "formula_ulp": Text("误差（ulp）", "error (ulp)"),
    "formula_exact": Text("精确值", "exact value"),
    "formula_exact_is": Text("精确值", "The exact value"),
    "formula_at": Text("取", "At"),
    "formula_at_breaking": Text("取一个会让它出错的输入", "At an input that breaks it,"),
    "formula_stop": Text("。", "."),
    "formula_and": Text("、", ", "),
    "formula_first_wrong": Text("第一个出错的步骤", "The first step that goes wrong"),
    "formula_steps": Text("每一步的值：", "Each step in"),
    "formula_step": Text("步骤", "step"),
    "formula_gradient_by": Text("对 {} 的梯度", "The gradient by {}"),
    "formula_map": Text("在哪里会坏", "Where it breaks"),
    "formula_map_about": Text(
        "每种格式一条，横轴是变量（对称对数），颜色是丢掉多少位；下面的表里有同样的内容。",
        "A strip for each format over the variable, on a symmetric logarithmic axis; its colour says how many bits are "
        "lost. The table below says the same.",
    ),
    "formula_stable_strip": Text("稳定的写法（{}）", "stable form ({})"),
    "formula_shade_0": Text("最多丢两位", "at most two bits lost"),
    "formula_shade_1": Text("丢掉不到一半", "less than half of them"),
    "formula_shade_2": Text("丢掉一半以上", "more than half"),
    "formula_shade_3": Text("全错、inf 或 nan", "all of them, inf or nan"),
    "formula_breaks": Text("会让它出错的输入", "an input that breaks it"),
    "formula_never": Text("没有找到", "none found"),
    "formula_lost": Text("平均丢掉的位数", "bits lost on average"),
    "formula_regions": Text("在哪里失败", "where it fails"),
    "formula_from_to": Text("{} 到 {}", "{} to {}"),
    "formula_too_large": Text("结果本身太大", "the result itself is too large"),
    "formula_undefined": Text("那里没有定义", "undefined there"),
    "formula_stable": Text("稳定的写法", "A stabler form"),
    "formula_gains": Text(
        "在 {dtype} 里平均少丢 {gained} 位：原来丢 {before} 位，这样写丢 {after} 位。",
        "It loses {gained} bits less on average in {dtype}: {after} instead of {before}.",
    ),
    "formula_wins": Text("在 {} 上它更好。", "It is better from {}."),
    "formula_no_stable": Text("没有找到更稳定的写法。", "No stabler form was found."),
    "formula_permalink": Text("这个结果的链接", "Link to this result"),
    **{f"formula_status_{status}": text for status, text in formula_words.STATUS.items()},
    **{f"formula_how_{how or 'none'}": text for how, text in formula_words.HOW.items()},
    # the diagnosis of a training run
    "nav_diagnose": Text("诊断", "Diagnose"),
    "diagnosis": Text("训练出了什么问题？", "What is wrong with this run?"),
    "diagnosis_about": Text(
        "贴一段训练日志，或给一个文件：先说结论，再列出你自己的数作证据，用你的数当场做实验，最后给几行改法。"
        "训练正常，就只说正常。",
        "Paste a training log or choose a file. You get the verdict, the evidence from your own numbers, "
        "an experiment run at them now, and the few lines to change. A healthy run is called healthy.",
    ),
    "diagnosis_log": Text("训练日志", "Training log"),
    "diagnosis_file": Text("或选一个文件", "or a file"),
    "diagnosis_send": Text("诊断", "Diagnose"),
    "diagnosis_hint": Text(
        "任何训练器打印的文本、CSV、trainer_state.json、TensorBoard 事件文件都行，"
        "gzip 也行；最大 8 MiB。日志不会保存。",
        "Text that any trainer prints, CSV, trainer_state.json, a TensorBoard event file, gzip of these; up to 8 MiB. "
        "The log is not kept.",
    ),
    "diagnosis_last_file": Text(
        "刚才的文件是 {}，要再用请重新选。", "The last file was {}; choose it again to use it again."
    ),
    "diagnosis_again": Text("改一改日志，或换一份", "Change the log, or take another"),
    "diagnosis_reading": Text("正在读日志、做实验……", "Reading the log, running the experiment …"),
    "diagnosis_too_large": Text(
        "太大了：这一页最多收 {} MiB。更大的文件请用命令 numstab diagnose。",
        "Too large: this page takes at most {} MiB. For a larger file use the command numstab diagnose.",
    ),
    "diagnosis_kept": Text("没有送到，日志还在，请再试一次。", "It did not get through. Your log is kept: try again."),
    "diagnosis_whole": Text("看完整的诊断", "Whole diagnosis"),
    "diagnosis_sick": Text("有问题", "Sick"),
    "diagnosis_healthy": Text("健康", "Healthy"),
    "diagnosis_not_numerics": Text("不是数值问题", "Not numerics"),
    "diagnosis_undecided": Text("还说不准", "Cannot tell yet"),
    "diagnosis_unreadable": Text("没读到", "Not read"),
    "diagnosis_certain": Text("确定", "certain"),
    "diagnosis_likely": Text("很可能", "likely"),
    "diagnosis_possible": Text("可能", "possible"),
    "diagnosis_also": Text("也可能是：{}（{}）", "It may also be: {} ({})"),
    "diagnosis_question": Text("一个问题就能分清", "One question tells them apart"),
    "diagnosis_evidence": Text("证据：你的数", "Evidence from your numbers"),
    "diagnosis_margins": Text("看着吓人但没事的", "Alarming, but harmless"),
    "diagnosis_cited": Text("日志里的这几行", "These lines of the log"),
    "diagnosis_excerpt": Text("日志摘录", "Excerpt of the log"),
    "diagnosis_line": Text("第 {} 行", "line {}"),
    "diagnosis_step": Text("第 {} 步", "step {}"),
    "diagnosis_stop": Text("。", "."),
    "diagnosis_curve": Text("曲线", "The curve"),
    "diagnosis_excluded": Text("排除了什么", "Ruled out"),
    "diagnosis_experiment": Text("用你的数字做的实验", "The experiment at your numbers"),
    "diagnosis_yours": Text("取自你的日志：{}。", "From your log: {}."),
    "diagnosis_change": Text("改动：{}。", "The cure: {}."),
    "diagnosis_not_run": Text("这次没有跑成：", "It was not run this time:"),
    "diagnosis_as_is": Text("现在这样", "As it is"),
    "diagnosis_cured": Text("改了以后", "With the cure"),
    "diagnosis_cure": Text("怎么改", "What to do"),
    "diagnosis_unseen": Text("没有看到的", "What was not seen"),
    "diagnosis_next": Text("加上这一行，下次能知道更多：", "With this line the next run would tell more:"),
    "diagnosis_read": Text("读懂 {} 行，共 {} 行", "{} of {} lines were understood"),
    "diagnosis_cut": Text("中间有省略", "the middle was left out"),
    "diagnosis_json": Text("下载 JSON", "Download as JSON"),
    # when something is wrong
    "wrong": Text("打不开这一页", "This page cannot be shown"),
    "bad_lang": Text(
        "这一页没有你要的语言；有中文和英文。",
        "This page does not come in that language; there are Chinese and English.",
    ),
    "this_page": Text("看这一页的中文版", "This page in English"),
    "back": Text("回到提问", "Back to asking"),
}

EXAMPLES = {
    "zh": (
        "100 个 1.5 连乘会怎样？",
        "loss 变成 nan 了怎么办？",
        "float16 的精度够训练用吗？",
        "准确率一直停在 50% 是为什么？",
        "ResNet 的残差连接为什么有用？",
    ),
    "en": (
        "What happens when 100 factors of 1.5 are multiplied?",
        "Why is my loss nan?",
        "Is float16 precise enough for training?",
        "Why does accuracy stay at 50%?",
        "Why do residual connections help?",
    ),
}

_FOR_SCRIPTS = (
    "looking", "measuring", "finished", "stopped", "unreachable", "not_understood", "running", "row", "drawing",
    "no_chart", "chart_later", "offline", "queued", "copy", "copied", "not_copied", "show_all", "thanks", "guess",
    "never", "guess_give_up", "guessed", "told", "clear_sure", "broken", "silent", "too_often", "restarting",
    "holds_many", "fails_many", "unknown_many", "elsewhere_many", "previously", "number_about", "show_evidence",
    "close", "measured", "present_steps", "leave", "diagnosis_reading", "diagnosis_too_large", "diagnosis_kept",
)  # fmt: skip


def labels_in(lang: Lang) -> dict[str, str]:
    """Label name → text in one language."""
    return {name: text[lang] for name, text in LABELS.items()}


def script_labels(lang: Lang) -> dict[str, str]:
    """The labels that scripts need; all others are in the HTML."""
    return {name: LABELS[name][lang] for name in _FOR_SCRIPTS}
