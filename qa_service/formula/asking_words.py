"""Words that a question for a value may be made of, besides formulas, formats and the values of variables.

A sentence of which anything else is left speaks of something else: a loss, a layer, a step.
"""

CHINESE_WORDS = """
    请问 请 帮我 帮忙 麻烦 你 我 想知道 知道 告诉 看看 看 试试 试 计算 算一下 算算 算 求一下 求 一下 等于多少 等于几
    等于什么 等于啥 等于 是多少 是几 是什么 是啥 得多少 得几 得什么 得出 得到 得 多少 多大 多小 几 什么 啥 结果 答案
    数值 值 会怎样 会怎么样 怎样 怎么样 如何 会变成 变成 变为 变 返回 输出 算出来 算出 算得 算下来 出来 大概 大约
    精确 准确 具体 到底 究竟 真的 应该 会 能 是否 是不是 会不会 能不能 吗 呢 啊 呀 嘛 吧 么 了 的 里面 里 中 下面 下
    上 时候 时 当 在 用 以 按 拿 把 将 对 放到 放进 放在 存成 存到 存进 存为 存 转成 转换成 转换为 转换 转为 转到 转
    换成 换 表示成 表示为 表示 舍入到 舍入成 舍入 四舍五入到 四舍五入 还剩 剩下 剩 还 直接 手算 手动 精度 格式 类型
    数据类型 浮点数 浮点 单 双 溢出 上溢 下溢 发生 有 没有 和 与 跟 以及 分别 各 各是 那 这个 这 式子 表达式 公式
    函数 计算机 电脑 程序 一样 就 又 再 先 后 然后 它 令 若 如果 假如 设 取 处 点 这点 是 为 给出 给 打印 出 数 一个
    结果里 我想 想 问 一问 梯度 导数 求导 微分 反向传播 关于 大 小 成 到 进 稳定 数值稳定 安全 哪里 什么时候 何时 不
    会出错 出错 直接算 硬算 实际 真正 装得下 放得下 误差 相对误差 绝对误差 次正规数 非正规数 比较 正好 恰好 刚好
    正巧 装下 装 容得下 容纳 向量 数组 列表 这样写 这么写 写法 写成 写 改写 改成 改 更 最 稳不稳定 稳不稳 安不安全
    准不准确 准不准 靠不靠谱 稳 可靠 靠谱 问题 出问题 会出问题 丢精度 损失精度 精度损失 丢失精度 丢 损失 怎么写
    怎么改写 怎么算 怎么改 该 才 比较稳 更好 等价 形式 版本 任意 取值 范围 自动求导 之后 直接存 保留 位小数 小数
    大约是 差不多 取整 多少呢 精确表示 会得 会是 会得到 等 于 各自 分别是 或者 还是 成了 会等于 这里 其中 很小 很大
    较大 较小 比较大 接近 靠近 附近 特别 非常 相等 一样大
"""
ENGLISH_WORDS = """
    nan inf infinite finite what whats is are was does do did will would can could should shall you i me we it its
    that this the a an of in at on as to into for with when if let by from and then there using under use used get
    gets got give gives gave return returns yield yields equal equals evaluate evaluates evaluated evaluating
    compute computes computed computing calculate calculates calculated calculating calculation result results value
    values answer output outputs print prints come comes out become becomes turn turns happen happens how much large
    big small exactly exact precisely really actually please tell show find know want work cast casting casted
    converted convert converting conversion round rounds rounded rounding store stored storing represent represented
    representable representation nearest closest precision format type dtype float floating point number numbers
    arithmetic pytorch torch numpy python overflow overflows underflow underflows still say left remains remain
    expression formula function naively naive directly gradient derivative slope grad respect wrt x hi hello hey
    thanks just about my i'd i'm s safe stable numerically unstable accurate where break breaks fail fails go goes
    wrong blow blows up zero one bit bits both each respectively decimal digits actual look looks like precise fit
    fits error errors relative absolute ulp ulps off compare compared versus vs gpu cpu cuda ieee autograd subnormal
    denormal stands stand mathematically so now make makes made take takes hold holds safely stably accurately
    reliable way ways version form forms rewrite rewritten write writes written better best good alternative
    alternatives reformulate reformulated avoid avoids avoiding cancellation catastrophic lose loses losing lost
    significance loss-free without suffer suffers prone code implement implementation any all every everywhere
    possible some small-x large-x digit more most quick quickly question also or same different after before being
    it'll near close tiny huge which
"""
