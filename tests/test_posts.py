"""Posts such as issue reports are reduced to what the author says, without code, addresses and template text."""

import pytest

from qa_service.parsing import normalise, parse_question
from qa_service.parsing.posts import code_of_post, read_post

POST = """### Describe the bug
Our recommender's loss goes to nan as soon as mixed precision is on, never without it. It is an MLP of six layers.
<!-- Thanks for reporting! Please fill in the form below. -->
**PyTorch Version**: 2.4.1
- [x] I have searched the existing issues
![screenshot](https://example.org/shot.png) and [the config](https://example.org/config)
```python
optimizer = torch.optim.Adam(model.parameters(), lr=3e-4)
scaler = GradScaler()
logits = model(x.half())
```
```
Traceback (most recent call last):
  File "train.py", line 90, in <module>
FloatingPointError: loss is nan at step 412
```
torchrun --nproc_per_node 4 train.py --layers 300
What overflows here?"""


def test_of_a_post_what_it_says_is_left() -> None:
    """The description and the question remain; headings of the template, versions, links, commands and code do not."""
    said = read_post(POST)
    assert "goes to nan as soon as mixed precision is on" in said
    assert said.endswith("What overflows here?")
    for noise in (
        "Describe the bug",
        "Thanks for reporting",
        "2.4.1",
        "searched",
        "example.org",
        "torchrun",
        "GradScaler",
    ):
        assert noise not in said, noise


def test_the_line_of_a_block_that_reports_something_is_kept_and_its_code_is_not() -> None:
    assert "FloatingPointError: loss is nan at step 412" in read_post(POST)
    assert "Traceback" not in read_post(POST)


def test_settings_are_read_from_code_but_not_the_numbers_of_a_command() -> None:
    assert parse_question(POST).params == {"lr": 3e-4, "layers": 6}


@pytest.mark.parametrize(
    "short",
    [
        "`torch.log(torch.softmax(x))` gives -inf, why?",
        "```\nloss = -torch.log(p)\n``` why nan?",
        "https://example.org/nan",
        "import torch\nx = torch.zeros(3)\nprint(x / x)\nprint(0 * float('inf'))",
        "## 问题描述\nloss 一直是 nan",
    ],
)
def test_a_short_question_is_left_as_it_is(short: str) -> None:
    assert read_post(short) == short
    assert code_of_post(short) == ""


def test_a_program_that_nothing_sets_off_is_left_out_and_prose_between_is_not() -> None:
    """Code that is not marked as a block is removed too, and the sentences around it stay."""
    program = "\n".join(f"self.fc{number} = nn.Linear({number}, 10)" for number in range(12))
    said = read_post(f"我的网络 loss 一直停在 0.69，准确率一直是 50%，代码如下\n{program}\n请问问题在哪里？")
    assert said == "我的网络 loss 一直停在 0.69，准确率一直是 50%，代码如下\n请问问题在哪里？"


def test_prose_that_looks_like_a_form_is_kept_where_it_reports() -> None:
    lines = ["调整之后:", "错误依旧存在:", "batch 改小:", "换了优化器:", "学习率从 2e-4 降到 2e-7:", "还是不行"]
    text = "微调时出现 grad_norm:nan，根据官方教程复现的，" * 6 + "\n" + "\n".join(lines)
    assert read_post(text) == text


def test_a_post_of_which_nothing_would_be_left_is_the_question() -> None:
    """If the reduction would leave nothing, the whole post is used."""
    program = "```\n" + "x = f(y)\n" * 40 + "```"
    assert read_post(program) == program


def test_the_question_is_matched_by_what_the_post_says() -> None:
    assert "GradScaler" not in normalise(POST)
    assert normalise(POST) == parse_question(POST).text


@pytest.mark.parametrize("piece", ["*" * 399 + "\n", "[", "<!--", "[a](", "```\n", ",", "a=b(\n", "- *" * 130 + "\n"])
def test_a_long_text_of_one_sign_is_read(piece: str) -> None:
    """Texts of 200,000 equal characters or strings are read without excessive backtracking."""
    assert read_post(piece * (200_000 // len(piece)))
