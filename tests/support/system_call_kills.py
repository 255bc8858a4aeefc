"""A child process that is killed at a chosen system call: before it, halfway, or after it."""

from __future__ import annotations

import contextlib
import ctypes
import enum
import os
import signal
import struct
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tests.support.system_calls import NAMES, SPLITTING, WRITING, install_filter

Work = Callable[[], None]

_TRACEME, _CONT, _SYSCALL = 0, 7, 24
_GETREGS, _SETREGS = 12, 13
_SETOPTIONS, _GET_SYSCALL_INFO = 0x4200, 0x420E
_OPTIONS: Final = 0x1 | 0x80 | 0x100000  # TRACESYSGOOD, TRACESECCOMP, EXITKILL
_STOPPED_BY_FILTER: Final = signal.SIGTRAP | 7 << 8
_REGISTERS_SIZE_BYTES: Final = 27 * 8
_SIZE_REGISTER_AT: Final = 12 * 8  # rdx: the third argument
_INFO_SIZE_BYTES: Final = 88

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long


class Death(enum.Enum):
    """When the child is killed."""

    BEFORE = "before"  # the call does nothing
    HALFWAY = "halfway through"  # of a write: its first half is made
    AFTER = "after"  # the call is done, and the program does not know


@dataclass(frozen=True, slots=True)
class SystemCall:
    """A call that is about to be made."""

    index: int  # among the changing ones of its process, from 0
    name: str
    arguments: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name} (call {self.index})"


@dataclass(frozen=True, slots=True)
class Kill:
    """Where a child is killed."""

    index: int
    death: Death = Death.BEFORE


@dataclass(slots=True)
class Life:
    """What became of a child."""

    calls: list[SystemCall] = field(default_factory=list)
    was_killed: bool = False


def live(
    work: Work,
    kill: Kill | None,
    meanwhile: Callable[[SystemCall], None] | None = None,
) -> Life:
    """Runs work in a forked child, which dies where it is told to.

    Args:
        work: must not start threads or processes.
        kill: None lets it live to its end.
        meanwhile: is called in this process while the child stands before each changing call.

    Raises:
        AssertionError: the work ended in an exception, or started a thread.
        PermissionError: this machine does not let a process trace its own child.
    """
    child = os.fork()
    if child == 0:
        _be_traced(work)
    life = Life()
    try:
        _follow(child, kill, meanwhile, life)
    except BaseException:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):  # it may have ended
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        raise
    return life


def _be_traced(work: Work) -> None:
    code = 1
    try:
        _ptrace(_TRACEME, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        install_filter()
        work()
        code = 0
    except BaseException:  # noqa: BLE001 - there is no caller: the tracer sees the exit code
        traceback.print_exc()
    finally:
        os._exit(code)


def _follow(
    child: int, kill: Kill | None, meanwhile: Callable[[SystemCall], None] | None, life: Life
) -> None:
    status = _wait(child)
    assert os.WIFSTOPPED(status), "the child could not be traced"
    _ptrace(_SETOPTIONS, child, data=_OPTIONS)
    pending_signal = 0
    while True:
        _ptrace(_CONT, child, data=pending_signal)
        pending_signal = 0
        status = _wait(child)
        if not os.WIFSTOPPED(status):
            assert status == 0, f"the child ended with {os.waitstatus_to_exitcode(status)}"
            return
        if status >> 8 != _STOPPED_BY_FILTER:
            pending_signal = os.WSTOPSIG(status)
            continue
        call = _call(child, len(life.calls))
        assert call.name not in SPLITTING.values(), f"only one thread is followed: {call}"
        life.calls.append(call)
        if meanwhile is not None:
            meanwhile(call)
        if kill is not None and call.index == kill.index:
            _kill(child, call, kill.death)
            life.was_killed = True
            return


def _kill(child: int, call: SystemCall, death: Death) -> None:
    if death is Death.HALFWAY:
        assert call.name in WRITING, f"{call} can't be cut in halves"
        _halve(child)
    if death is not Death.BEFORE:
        _ptrace(_SYSCALL, child)  # until it is done
        assert os.WIFSTOPPED(_wait(child))
    os.kill(child, signal.SIGKILL)
    assert os.WIFSIGNALED(_wait(child))


def _halve(child: int) -> None:
    """Makes the write that is about to be made half as long."""
    registers = ctypes.create_string_buffer(_REGISTERS_SIZE_BYTES)
    _ptrace(_GETREGS, child, data=ctypes.addressof(registers))
    (size_bytes,) = struct.unpack_from("Q", registers, _SIZE_REGISTER_AT)
    struct.pack_into("Q", registers, _SIZE_REGISTER_AT, size_bytes // 2)
    _ptrace(_SETREGS, child, data=ctypes.addressof(registers))


def _call(child: int, index: int) -> SystemCall:
    info = ctypes.create_string_buffer(_INFO_SIZE_BYTES)
    _ptrace(_GET_SYSCALL_INFO, child, _INFO_SIZE_BYTES, ctypes.addressof(info))
    number, *arguments = struct.unpack_from("7Q", info, 24)
    return SystemCall(index, NAMES[number], tuple(arguments))


def _ptrace(request: int, child: int, address: int = 0, data: int = 0) -> None:
    if _libc.ptrace(request, child, address, data) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"ptrace {request}: {os.strerror(number)}")


def _wait(child: int) -> int:
    return os.waitpid(child, 0)[1]
