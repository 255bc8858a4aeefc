"""Coarse times: when the next write to a file may leave its size and times as they are."""

from conflict.observation import Fingerprint


def may_hide_a_write(seen: Fingerprint, *, granularity_ns: int, looked_at_ns: int) -> bool:
    """Tells whether a write after a look could give the very times that the look showed.

    A write sets mtime and ctime to what the kernel's clock says then, so both must be recent. A
    time far in the future stems from a clock that was set back: a write now gets another one.

    Args:
        seen: what the look showed.
        granularity_ns: how far apart two changes are that have different times for certain.
        looked_at_ns: by the kernel's clock, when the look began.
    """
    if not granularity_ns:
        return False
    ages_ns = (looked_at_ns - seen.mtime_ns, looked_at_ns - seen.ctime_ns)
    return all(abs(age_ns) <= granularity_ns for age_ns in ages_ns)
