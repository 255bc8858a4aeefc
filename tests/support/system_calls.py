"""The system calls that change something that lasts, and a kernel filter that stops at just these.

A process that installs the filter stops for its tracer right before each of them (seccomp(2),
SECCOMP_RET_TRACE); calls that only read cost nothing. The numbers are those of x86-64.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Iterable
from typing import Final

# Numbers from asm/unistd_64.h.
CHANGING: Final = {
    1: "write",
    18: "pwrite64",
    20: "writev",
    40: "sendfile",
    74: "fsync",
    75: "fdatasync",
    76: "truncate",
    77: "ftruncate",
    82: "rename",
    83: "mkdir",
    84: "rmdir",
    85: "creat",
    86: "link",
    87: "unlink",
    88: "symlink",
    90: "chmod",
    91: "fchmod",
    92: "chown",
    93: "fchown",
    94: "lchown",
    132: "utime",
    133: "mknod",
    162: "sync",
    188: "setxattr",
    189: "lsetxattr",
    190: "fsetxattr",
    197: "removexattr",
    198: "lremovexattr",
    199: "fremovexattr",
    235: "utimes",
    258: "mkdirat",
    259: "mknodat",
    260: "fchownat",
    261: "futimesat",
    263: "unlinkat",
    264: "renameat",
    265: "linkat",
    266: "symlinkat",
    268: "fchmodat",
    277: "sync_file_range",
    280: "utimensat",
    285: "fallocate",
    296: "pwritev",
    306: "syncfs",
    316: "renameat2",
    326: "copy_file_range",
    328: "pwritev2",
    452: "fchmodat2",
}
_OPENING: Final = {2: "open", 257: "openat"}  # change something when they create or truncate
_CLONING: Final = {16: "ioctl"}  # with FICLONE or FICLONERANGE
SPLITTING: Final = {56: "clone", 57: "fork", 58: "vfork", 435: "clone3"}
NAMES: Final = CHANGING | _OPENING | _CLONING | SPLITTING
WRITING: Final = frozenset(("write", "pwrite64"))  # may be cut short; the size is argument 2

_FLAGS_ARGUMENT: Final = {2: 1, 257: 2}
_REFLINKS: Final = (0x40049409, 0x4020940D)
_X86_64: Final = 0xC000003E
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06  # of classic BPF
_TRACE, _ALLOW = 0x7FF00000, 0x7FFF0000
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16  # in struct seccomp_data
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _MODE_FILTER = 22, 38, 2

Instruction = tuple[int, int, int, int]  # code, skipped when true, skipped when false, value

_libc = ctypes.CDLL(None, use_errno=True)


def missing_requirement() -> str | None:
    """Returns why processes can't be stopped at system calls here, None when they can."""
    if platform.machine() != "x86_64":
        return f"numbers of system calls are known for x86_64 only, this is {platform.machine()}"
    if struct.calcsize("P") != 8:
        return "this Python is no 64-bit process"
    return None


def install_filter() -> None:
    """Makes this process, for all its life, stop for its tracer before each changing call."""
    program = b"".join(struct.pack("HBBI", *instruction) for instruction in _program())
    buffer = ctypes.create_string_buffer(program)
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    header_buffer = ctypes.create_string_buffer(header)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1, 0)
    _prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.addressof(header_buffer))


def _prctl(option: int, second: int, third: int) -> None:
    arguments = (ctypes.c_ulong(value) for value in (second, third, 0, 0))
    if _libc.prctl(option, *arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl {option}: {os.strerror(number)}")


def _program() -> Iterable[Instruction]:
    yield _LOAD, 0, 0, _ARCHITECTURE_AT
    yield _EQUAL, 1, 0, _X86_64
    yield _RETURN, 0, 0, _ALLOW
    yield _LOAD, 0, 0, _NUMBER_AT
    for number in (*CHANGING, *SPLITTING):
        yield _EQUAL, 0, 1, number
        yield _RETURN, 0, 0, _TRACE
    for number, argument in _FLAGS_ARGUMENT.items():
        yield _EQUAL, 0, 4, number
        yield _LOAD, 0, 0, _ARGUMENTS_AT + 8 * argument
        yield _ANY_BIT, 0, 1, os.O_CREAT | os.O_TRUNC
        yield _RETURN, 0, 0, _TRACE
        yield _RETURN, 0, 0, _ALLOW
    for number in _CLONING:
        yield _EQUAL, 0, 4 + len(_REFLINKS) - 1, number
        yield _LOAD, 0, 0, _ARGUMENTS_AT + 8
        yield _EQUAL, 1, 0, _REFLINKS[0]
        yield _EQUAL, 0, 1, _REFLINKS[1]
        yield _RETURN, 0, 0, _TRACE
        yield _RETURN, 0, 0, _ALLOW
    yield _RETURN, 0, 0, _ALLOW
