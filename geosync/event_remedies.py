"""What to do about events of level warning and above; each line of the log tells it.

A test compares with the events that the code logs, another one with docs/handbook.md.
"""

from collections.abc import Mapping
from typing import Final

NOTHING: Final = "nothing"
_VERIFY: Final = "look at what else is damaged with: geosync verify"

REMEDIES: Final[Mapping[str, str]] = {
    "brake_decided": NOTHING,
    "brake_engaged": "look at it with: geosync brake list; then approve or reject it",
    "brake_released": NOTHING,
    "change_failed": "see the reason; it is tried again, and all else goes on",
    "checkpoint_differs": "run geosync verify on both sites; the next checkpoint is compared anew",
    "checkpoint_passed_over": "nothing, as an earlier one or the log is read instead",
    "checkpoint_refused": "nothing, as an earlier one or the log is read instead",
    "conflict_copy_failed": "see the reason; the version is in the store, and listed all the same",
    "daemon_failed": "start it again, and report these lines; nothing captured is lost",
    "control_connection_failed": "raise LimitNOFILE of the service if it happens again",
    "control_request_failed": "report these lines; the site is kept in sync all the same",
    "damaged_file_found": "look at the disk's health; the volume's version is brought back",
    "disk_failed": "see the reason; all goes on once it is mended",
    "drift_found": "look at it with: geosync conflicts list; here only other sites' changes count",
    "drift_reverted": "what was there is below .geosync/drift; stop the program that wrote it",
    "earlier_incarnations_retired": NOTHING,
    "earlier_journal_not_read": "nothing, unless it can be mended; the site joins without it",
    "encryption_suspected": "if nobody meant that, disconnect this machine and look at it",
    "endpoint_failed": "look at that endpoint; another one is used meanwhile",
    "epoch_claimed": NOTHING,
    "epoch_released": NOTHING,
    "held_back": "see what geosync status says of it; until then no site collects garbage",
    "hint_peer_unknown": "correct the peer's name in [hints], or the name service",
    "hints_off": "see the reason; until then changes are found by polls alone",
    "hook_failed": "see the reason, and run the program by hand; it is tried again",
    "http_not_served": "give this daemon its own `listen` in [http], and start it again",
    "http_open_to_the_network": "put a proxy with passwords before it, or listen on 127.0.0.1",
    "http_request_failed": "report these lines; the site is kept in sync all the same",
    "journal_set_aside": "look at the conflicts later; the site joins anew with the files it has",
    "late_write_captured": "look at the conflicts: a program wrote to a file that was replaced",
    "late_writes": "look at what became of each with: geosync promote --report",
    "log_of_two_daemons": "see status of the other sites; two machines share one identity",
    "log_quarantined": "look at that site's version and disk; all else goes on",
    "membership_fence": NOTHING,
    "membership_suspect": "if that site is not lost, start it again: it joins anew by itself",
    "not_set_aside": "see the outcome; it is tried again",
    "pack_lost": "restore what status names from a backup; keep others out of the state directory",
    "pack_made_again": "find out who deletes files in the state directory",
    "parked_brought_out": "look at that path: a crash had left it between two names",
    "private_directory_renewed": "find out who deletes .geosync in the root",
    "role_changed": NOTHING,
    "reload_refused": "correct the file; the daemon goes on with what it had",
    "root_lost": "mount or move back the root; nothing is taken for deleted meanwhile",
    "root_not_usable": "mount or move back the root; nothing is taken for deleted meanwhile",
    "segment_refused": "look at that site's version and disk, and at both with: geosync verify",
    "segment_stored_again": _VERIFY,
    "set_aside": "look at it at the place that is named; nobody else has it",
    "setuid_withheld": "set allow_setuid = true if other sites may make programs of root here",
    "spool_failed": "see the reason; what was captured is published once it is mended",
    "state_not_usable": "make room in the state directory, or make it writable",
    "store_failed": "see the reason, and ask: geosync doctor; changes wait here meanwhile",
    "stray_file_captured": "look at the conflicts: a crash had left this version aside",
    "superseded": "nothing, as the site joins anew; of two clones, give one another site name",
    "supplied_again": "look at the store: it had lost contents, which this site has stored again",
    "version_rescued": "look at the conflicts: a crash had left this version aside",
    "wanted": "start the sites that may have it, or look at it with: geosync verify",
    "watcher_not_started": "see the reason, and ask: geosync doctor; changes are found by scans",
}
"""Event -> what a person does about it."""
