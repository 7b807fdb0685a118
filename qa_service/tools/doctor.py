"""`numstab doctor`: checks an installation and says what to do. The checks make no lasting changes."""

import json
import platform
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Literal

from qa_service import __version__
from qa_service.answering.knowledge import Knowledge
from qa_service.errors import MissingPackage, NumstabError
from qa_service.experiments.spec import load_specs
from qa_service.knowledge.library import Library
from qa_service.lab.runner import CLI_PRELOAD, ProcessRunner
from qa_service.lab.seccomp import why_unsupported
from qa_service.model import Lang, RunStatus, Text
from qa_service.paths import bundled
from qa_service.retrieval.embedder import DEFAULT_ENCODER, check_weights, load_embedder
from qa_service.settings import Settings
from qa_service.shared_state import KEY_PREFIX, SharedState, SharedStateUnavailable

_TESTED_TORCH = "2.13.0"
_STATE_MARKS = {"ok": "✓", "note": "·", "wrong": "✗"}
_CONFINE_OR_SWITCH_OFF = Text(
    "用 x86-64 或 aarch64 的 Linux；如果 demos 里的代码都可信，也可以设 NUMSTAB_SANDBOX=off",
    "use Linux on x86-64 or aarch64; or, if all code in demos is trusted, set NUMSTAB_SANDBOX=off",
)
_LOOK_AT_SHARED = Text(
    "看 NUMSTAB_SHARED：服务器开着吗？密码对吗？", "look at NUMSTAB_SHARED: does the server run, is the password right?"
)
_LOOK_AT_STORE = Text(
    "看 NUMSTAB_STORE：服务器开着吗？密码对吗？", "look at NUMSTAB_STORE: does the server run, is the password right?"
)
_LOOK_AT_CLUSTER = Text(
    "看 NUMSTAB_CLUSTER：首节点（numstab node）开着吗？每台机器的令牌（RAY_AUTH_TOKEN_PATH）、Ray、numstab 都一样吗？",
    "look at NUMSTAB_CLUSTER: does the head (numstab node) run; are the token (RAY_AUTH_TOKEN_PATH), Ray and numstab "
    "the same on every machine?",
)
_REINSTALL = Text("从锁文件重新安装：make setup", "install from the lock: make setup")
_PREPARE = Text("运行 numstab prepare", "run numstab prepare")
_FREE_PORT = Text("停掉占用它的程序，或用 --port", "stop what listens there, or use --port")


@dataclass(frozen=True, slots=True)
class DoctorCheck:
    """The result of one check: what was found (`says`) and what to do (`todo`). The state `note` is not a fault."""

    name: str
    state: Literal["ok", "note", "wrong"]
    says: Text
    todo: Text | None = None


def run_checks(settings: Settings, port: int) -> list[DoctorCheck]:
    """Runs the checks that concern every front; an exception in a check is reported as a fault."""
    table: tuple[tuple[str, Text, Callable[[], DoctorCheck]], ...] = (
        ("python", _REINSTALL, _check_python),
        ("torch", _REINSTALL, lambda: _check_torch(settings)),
        ("encoder", Text("从锁文件重新安装，或改 NUMSTAB_ENCODER", "install from the lock, or mend NUMSTAB_ENCODER"),
         lambda: _check_encoder(settings)),
        ("cache", Text("让它可写，或改 NUMSTAB_CACHE", "make it writable, or set NUMSTAB_CACHE"),
         lambda: _check_cache(settings)),
        ("library", Text("改好这些文件：numstab kb lint", "mend these files: numstab kb lint"),
         lambda: _check_library(settings)),
        ("index", _PREPARE, lambda: _check_index(settings)),
        ("run", Text("看 NUMSTAB_MEMORY、NUMSTAB_DEADLINE，或重新安装 torch",
                     "look at NUMSTAB_MEMORY and NUMSTAB_DEADLINE, or install torch anew"),
         lambda: _check_run(settings)),
        ("sandbox", _CONFINE_OR_SWITCH_OFF, lambda: _check_sandbox(settings)),
        ("store", _LOOK_AT_STORE, lambda: _check_store(settings)),
        *([("shared", _LOOK_AT_SHARED, lambda: _check_shared(settings))] if settings.shared else []),
        *([("cluster", _LOOK_AT_CLUSTER, lambda: _check_cluster(settings))] if settings.cluster else []),
        ("port", _FREE_PORT, lambda: _check_port(port)),
    )  # fmt: skip
    return [_run_check(*row) for row in table]


def print_checks(checks: list[DoctorCheck], lang: Lang | None, *, as_json: bool) -> int:
    """Prints the checks to standard output; returns exit status 1 if any is wrong, else 0."""
    wrong = any(check.state == "wrong" for check in checks)
    if as_json:
        rows = [asdict(check) for check in checks]
        sys.stdout.write(json.dumps({"ok": not wrong, "checks": rows}, ensure_ascii=False) + "\n")
        return int(wrong)
    for check in checks:
        sys.stdout.write(f"{_STATE_MARKS[check.state]} {check.name:8}  {check.says[lang or 'en']}\n")
        if check.todo is not None:
            sys.stdout.write(f"            → {check.todo[lang or 'en']}\n")
    return int(wrong)


def _run_check(name: str, todo: Text, check: Callable[[], DoctorCheck]) -> DoctorCheck:
    """Runs a check; an exception becomes its result, with `todo`. A missing optional package is only a note."""
    try:
        return check()
    except ModuleNotFoundError as error:
        missing = MissingPackage.from_import(error)
        says = Text(missing.zh, missing.en) if missing else Text(str(error), str(error))
        return DoctorCheck(name, "note" if missing else "wrong", says, None if missing else todo)
    except NumstabError as error:
        return DoctorCheck(name, "wrong", Text(error.zh, error.en), todo)
    except Exception as error:  # any failure of the check is its result
        message = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        return DoctorCheck(name, "wrong", Text(message, message), todo)


def _check_python() -> DoctorCheck:
    found = platform.python_version()  # needs no check: on an older one this module would be a syntax error
    if _is_installed("numstab-core") and _is_installed("numstab") and not _is_built_on_the_core():
        says = Text(
            "numstab 自带全部文件（来自代码仓库或旧版本），又装了 numstab-core：卸载其中一个，另一个也就坏了",
            "numstab with files of its own (of a checkout or a former version) is installed beside numstab-core: "
            "removing one breaks the other",
        )
        todo = Text("两个都卸载，再装要用的那个", "uninstall both, then install the one that is wanted")
        return DoctorCheck("python", "note", says, todo)
    return DoctorCheck("python", "ok", Text(f"Python {found}", f"Python {found}"))


def _is_installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


def _is_built_on_the_core() -> bool:
    """Whether the installed `numstab` is the published one, which has no files of its own."""
    return any(each.startswith("numstab-core") for each in requires("numstab") or ())


def _check_torch(settings: Settings) -> DoctorCheck:
    """Whether torch is installed, in the version with which the claims were tested."""
    if settings.python:  # the check "run" shows whether torch works there
        there = Text(f"实验在 {settings.python} 里运行", f"experiments run in {settings.python}")
        return DoctorCheck("torch", "ok", there)
    try:
        found = version("torch")
    except PackageNotFoundError:
        todo = Text(
            "用 NUMSTAB_PYTHON 指定装有 torch 的 Python，或者 pip install 'numstab-core[run]'",
            "name a Python that has torch in NUMSTAB_PYTHON, or pip install 'numstab-core[run]'",
        )
        return DoctorCheck("torch", "wrong", Text("没有安装 torch", "torch is not installed"), todo)
    if found.partition("+")[0] != _TESTED_TORCH:
        says = Text(
            f"torch 是 {found}，断言是用 {_TESTED_TORCH} 检验的",
            f"torch is {found}; the claims were tested with {_TESTED_TORCH}",
        )
        in_a_checkout = (bundled("kb").parent / "Makefile").is_file()  # a wheel takes any torch
        return DoctorCheck("torch", "note", says, _REINSTALL if in_a_checkout else None)
    return DoctorCheck("torch", "ok", Text(f"torch {found}", f"torch {found}"))


def _check_encoder(settings: Settings) -> DoctorCheck:
    if settings.encoder == DEFAULT_ENCODER:
        check_weights()
        return DoctorCheck(
            "encoder", "ok", Text("编码器的权重与我们量过的相同", "the encoder's weights are those we measured with")
        )
    load_embedder(settings.encoder)
    return DoctorCheck(
        "encoder", "ok", Text(f"编码器 {settings.encoder} 能加载", f"the encoder {settings.encoder} loads")
    )


def _check_cache(settings: Settings) -> DoctorCheck:
    settings.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=settings.cache):
        return DoctorCheck("cache", "ok", Text(f"{settings.cache} 可写", f"{settings.cache} can be written"))


def _check_library(settings: Settings) -> DoctorCheck:
    experiments = load_specs(settings.demos)
    entries = len(Library.read(settings.kb, experiments))
    says = Text(f"{entries} 个词条，{len(experiments)} 个实验", f"{entries} entries, {len(experiments)} experiments")
    return DoctorCheck("library", "ok", says)


def _check_index(settings: Settings) -> DoctorCheck:
    if Knowledge.read(settings, load_embedder(settings.encoder)).matcher.is_cached:
        return DoctorCheck(
            "index", "ok", Text("索引和分类器与词条一致", "index and classifier are those of these entries")
        )
    says = Text(
        "索引还没有为这些词条生成：第一个问题要多等一分钟",
        "there is no index of these entries yet: the first question takes a minute longer",
    )
    return DoctorCheck("index", "note", says, _PREPARE)


def _check_run(settings: Settings) -> DoctorCheck:
    runner = ProcessRunner(
        deadline=settings.deadline,
        memory=settings.memory,
        slots=1,
        preload=CLI_PRELOAD,
        confined=settings.sandbox == "required" and not why_unsupported(),  # the check "sandbox" reports the latter
        python=settings.python,
    )
    experiment = next(iter(load_specs(settings.demos).values()))
    run = runner.run(experiment, {name: each.default for name, each in experiment.params.items()})
    if run.status is not RunStatus.RAN:
        raise RuntimeError(f"{experiment.slug}: {run.status}: {run.note.en}")
    took = f"{run.seconds:.2f} s"
    return DoctorCheck("run", "ok", Text(f"子进程里跑了一个实验（{took}）", f"an experiment ran in a child ({took})"))


def _check_sandbox(settings: Settings) -> DoctorCheck:
    """Enters the sandbox in a child process. Without Landlock, experiments can read all that the service can read."""
    if settings.sandbox == "off":
        says = Text(
            "隔离关掉了（NUMSTAB_SANDBOX=off）：实验只受内存和时间的限制",
            "switched off (NUMSTAB_SANDBOX=off): experiments have limits of memory and time only",
        )
        return DoctorCheck("sandbox", "note", says)
    code = (
        "from qa_service.lab import landlock, sandbox; print(landlock.landlock_version()); sandbox.Sandbox().confine()"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["?"])[-1].partition("CannotConfine: ")[2] or done.stderr[-200:]
        says = Text(f"不能隔离实验，所以不运行：{reason}", f"experiments cannot be confined, so none is run: {reason}")
        return DoctorCheck("sandbox", "wrong", says, _CONFINE_OR_SWITCH_OFF)
    if done.stdout.strip() == "0":
        says = Text(
            "实验不能用网络、写文件、开进程；内核没有 Landlock，所以能读服务能读的文件",
            "experiments have no network, writing or processes; without Landlock they read what the service can read",
        )
        todo = Text("用启用了 Landlock 的内核（Linux 5.13 起）", "use a kernel with Landlock switched on (Linux 5.13)")
        return DoctorCheck("sandbox", "note", says, todo)
    says = Text(
        "实验不能用网络、写文件、开进程，只能读程序库",
        "experiments have no network, writing or processes, and read libraries only",
    )
    return DoctorCheck("sandbox", "ok", says)


def _check_shared(settings: Settings) -> DoctorCheck:
    """Writes a key that expires after a second, as a read-only server cannot be used."""
    shared = SharedState(settings.shared)
    try:
        with shared.guarded() as client:
            client.set(f"{KEY_PREFIX}doctor", "1", px=1000)
    except SharedStateUnavailable as error:
        return DoctorCheck("shared", "wrong", _why_not_shared(str(error)), _LOOK_AT_SHARED)
    finally:
        shared.close()
    says = Text("与其他服务共用的服务器有回应，也能写", "the server that services share answers and can be written")
    return DoctorCheck("shared", "ok", says)


def _why_not_shared(error: str) -> Text:
    """A description of an error of the client library, given by the name of its class."""
    alone = Text("每个服务只能各算各的", "each service runs and counts by itself")
    reason = {
        "AuthenticationError": Text("不接受这个密码", "does not accept the password"),
        "NoPermissionError": Text("不许这个用户写", "does not let this user write"),
        "ReadOnlyError": Text("只能读，不能写（是副本吗？）", "can be read, not written (is it a replica?)"),
    }.get(error, Text(f"没有回应（{error}）", f"does not answer ({error})"))
    return Text(
        f"NUMSTAB_SHARED 的服务器{reason.zh}：{alone.zh}", f"the server of NUMSTAB_SHARED {reason.en}: {alone.en}"
    )


def _check_cluster(settings: Settings) -> DoctorCheck:
    """Connects as a service does. Machines with another version of numstab are reported as wrong; a note says if the
    results of machines may differ in their last bits.
    """
    from qa_service.lab.cluster_inspection import inspect_cluster

    found = inspect_cluster(settings.cluster)
    takers = [each for each in found.machines if each.takes_jobs]
    others = sorted({each.numstab_version for each in found.machines if not each.takes_jobs})
    if found.problem or not (takers or others):
        why = found.problem or "; ".join(found.refusals) or "no machine with slots"
        says = Text(
            f"集群用不上，实验在本机运行：{why}", f"the cluster is out of reach, experiments run on this machine: {why}"
        )
        return DoctorCheck("cluster", "wrong", says, _LOOK_AT_CLUSTER)
    if others or found.refusals:
        reasons = [*(f"numstab {each}" for each in others), *found.refusals]
        count = len(found.machines) - len(takers) + len(found.refusals)
        says = Text(
            f"{len(takers)} 台机器接受任务，{count} 台不接受（{'；'.join(reasons)}；本机是 numstab {__version__}）",
            f"{len(takers)} machines take jobs, {count} do not ({'; '.join(reasons)}; here: numstab {__version__})",
        )
        return DoctorCheck("cluster", "wrong", says, _LOOK_AT_CLUSTER)
    slots = sum(each.slots for each in takers)
    zh, en = f"集群有 {len(takers)} 台机器，{slots} 个槽位", f"machines of the cluster: {len(takers)}, slots: {slots}"
    if len(kinds := {each.environment for each in takers}) > 1:
        says = Text(
            f"{zh}，机器有 {len(kinds)} 种（torch、Python 或处理器不同）：同一个种子，末几位数可能不一样",
            f"{en}; they are of {len(kinds)} kinds (torch, Python or processor): with one seed, last digits may differ",
        )
        return DoctorCheck("cluster", "note", says)
    return DoctorCheck("cluster", "ok", Text(zh, en))


def _check_store(settings: Settings) -> DoctorCheck:
    """Whether the store can be reached, and whether its tables are those of this version; changes nothing."""
    from sqlalchemy.exc import SQLAlchemyError

    from qa_service.store.engine import migration_state

    try:
        current, newest = migration_state(settings.store_url)
    except SQLAlchemyError as error:
        why = type(error).__name__  # its text may quote the address
        says = Text(
            f"连不上存储（{why}）：反馈存不下，其他不受影响",
            f"the store is not reached ({why}): feedback cannot be kept, nothing else is affected",
        )
        return DoctorCheck("store", "wrong", says, _LOOK_AT_STORE)
    if current is None or newest is None:
        says = Text("存储还是空的：第一次用到时建表", "the store is empty: its tables are made on first use")
        return DoctorCheck("store", "note", says)
    if current > newest:
        says = Text(
            f"存储在迁移 {current}，本机的 numstab {__version__} 只认得到 {newest}：另一台机器的版本更新",
            f"the store is at migration {current}, numstab {__version__} here knows {newest}: another machine is newer",
        )
        todo = Text("每台机器装同一个版本的 numstab", "install the same version of numstab on every machine")
        return DoctorCheck("store", "wrong", says, todo)
    if current != newest:
        zh = f"存储在迁移 {current}，最新的是 {newest}：第一次用到时升级"
        en = f"the store is at migration {current}, the newest is {newest}: brought up to date on first use"
        return DoctorCheck("store", "note", Text(zh, en))
    says = Text(f"存储连得上，在最新的迁移（{current}）", f"the store is reached, at the newest migration ({current})")
    return DoctorCheck("store", "ok", says)


def _check_port(port: int) -> DoctorCheck:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            says = Text(f"端口 {port} 不能用：{error.strerror}", f"port {port} cannot be used: {error.strerror}")
            return DoctorCheck("port", "wrong", says, _FREE_PORT)
    return DoctorCheck("port", "ok", Text(f"端口 {port} 空着", f"port {port} is free"))
