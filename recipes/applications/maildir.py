"""A Maildir served by Dovecot on two sites: `python -m recipes.applications.maildir`.

What the recipe says: only `cur` and `new` are synced. Dovecot keeps its index and its control files
(the numbers of messages) beside, at each site its own: they are no common truth, and merging them
would be wrong. So a client that moves to another site reads its list of messages anew, and no
message is lost or doubled. Flags are in the names, so setting one is a rename.
"""

from __future__ import annotations

import imaplib
import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from recipes.applications.two_sites import ApplicationSite, await_same, await_that, tree, two_sites
from recipes.redmine.propositions import run_propositions

RESULTS = "/var/tmp/geosync-maildir.json"
USER = "vmail"
PORT = 1143
MESSAGES = 30
CONFIGURATION = """
[[capture]]
paths = ["tmp/**", "*/tmp/**", "maildirfolder", "dovecot*"]
open_files = "exclude"
"""
RELAY = """
import os, socket, sys, threading
server = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
def answers():
    while part := server.recv(65536):
        os.write(1, part)
    os._exit(0)
threading.Thread(target=answers, daemon=True).start()
while part := os.read(0, 65536):
    server.sendall(part)
"""
DOVECOT = """
base_dir = $PLACE/run
state_dir = $PLACE/run
log_path = $PLACE/dovecot.log
protocols = imap
listen = *
ssl = no
disable_plaintext_auth = no
default_login_user = dovenull
default_internal_user = dovecot
mail_location = maildir:$ROOT:INDEX=$PLACE/index:CONTROL=$PLACE/control
maildir_stat_dirs = yes
first_valid_uid = 1
service imap-login {
  inet_listener imap {
    port = 1143
  }
  inet_listener imaps {
    port = 0
  }
}
passdb {
  driver = static
  args = password=laboratory
}
userdb {
  driver = static
  args = uid=mail gid=mail home=$PLACE/home
}
"""


def no_message_is_lost_or_doubled() -> str:
    """Messages that are stored at both sites at once are at both, each once."""
    with _world() as (bari, cnaf):
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(_store_messages, (bari, cnaf)))
        await_same(bari, cnaf)
        seen = [_subjects(site) for site in (bari, cnaf)]
        assert seen[0] == seen[1]
        assert len(seen[0]) == len(set(seen[0])) == 2 * MESSAGES
        assert not bari.conflicts()
    return f"{2 * MESSAGES} messages at both sites, each once"


def flags_are_set_at_both_sites() -> str:
    """Flags of the same messages, set at both sites at once: no message is lost or doubled."""
    with _world() as (bari, cnaf):
        _store_messages(bari)
        await_same(bari, cnaf)
        with ThreadPoolExecutor(2) as threads:
            flags = (r"\Flagged", r"\Answered")
            list(threads.map(_flag_all, (bari, cnaf), flags))
        await_same(bari, cnaf)
        for site in (bari, cnaf):
            subjects = _subjects(site)
            assert len(subjects) == len(set(subjects)) == MESSAGES, (site.name, len(subjects))
        both = sum(name.endswith(("2,FR", "2,FRS")) for name in tree(bari.root))
        one = sum("2,F" in name or "2,R" in name for name in tree(bari.root))
        assert one == MESSAGES
    return f"{MESSAGES} messages at both sites, each once; {both} have both flags, the rest one"


def deleted_at_one_site() -> str:
    """Messages that are deleted at one site go at both; of those flagged meanwhile none is lost."""
    with _world() as (bari, cnaf):
        _store_messages(bari)
        await_same(bari, cnaf)
        _delete(cnaf, "1:5")
        await_same(bari, cnaf)
        _check_as_many_as_files(bari, cnaf, MESSAGES - 5)
        bari.network.isolate("bari")
        _flag_all(bari, r"\Seen", MESSAGES - 5)
        _delete(cnaf, "1:5")
        bari.network.rejoin("bari")
        await_same(bari, cnaf)
        _check_as_many_as_files(bari, cnaf, MESSAGES - 5)
    return "5 deleted are gone at both; 5 deleted while they were flagged elsewhere are at both"


def _check_as_many_as_files(bari: ApplicationSite, cnaf: ApplicationSite, count: int) -> None:
    files = len([name for name in tree(bari.root) if name.startswith(("cur/", "new/"))])
    seen = [len(_subjects(bari)), files, len(_subjects(cnaf))]
    assert seen == [count, count, count], seen


@contextmanager
def _world() -> Iterator[tuple[ApplicationSite, ApplicationSite]]:
    with two_sites("maildir", configuration=CONFIGURATION) as sites:
        for site in sites:
            _start_dovecot(site)
        yield sites


def _start_dovecot(site: ApplicationSite) -> None:
    for name in ("run", "index", "control", "home"):
        os.makedirs(f"{site.place}/{name}", exist_ok=True)
        shutil.chown(f"{site.place}/{name}", "mail", "mail")
    for name in ("", "cur", "new", "tmp"):
        os.makedirs(f"{site.root}/{name}", exist_ok=True)
        shutil.chown(f"{site.root}/{name}", "mail", "mail")
    text = DOVECOT.replace("$PLACE", site.place).replace("$ROOT", site.root)
    with open(f"{site.place}/dovecot.conf", "w", encoding="ascii") as file:
        file.write(text)
    site.spawn("dovecot-start", ["dovecot", "-F", "-c", f"{site.place}/dovecot.conf"])
    await_that(f"Dovecot at {site.name} answers", lambda: _answers(site))


def _answers(site: ApplicationSite) -> bool:
    said = site.run("doveadm", "-c", f"{site.place}/dovecot.conf", "who", is_checked=False)
    return "Error" not in said and "Fatal" not in said


@contextmanager
def _mailbox(site: ApplicationSite) -> Iterator[imaplib.IMAP4]:
    """Logs in through the network of the site, whose loopback nobody else reaches."""
    relay = site.network.command_in(site.name, [sys.executable, "-c", RELAY, str(PORT)])
    with imaplib.IMAP4_stream(shlex.join(relay)) as client:
        client.login(USER, "laboratory")
        client.select()
        yield client


def _store_messages(site: ApplicationSite) -> None:
    with _mailbox(site) as client:
        for number in range(MESSAGES):
            message = f"Subject: {number} of {site.name}\r\n\r\nHello.\r\n".encode()
            client.append("INBOX", "", imaplib.Time2Internaldate(time.time()), message)


def _flag_all(site: ApplicationSite, flag: str, count: int = MESSAGES) -> None:
    with _mailbox(site) as client:
        for number in range(1, count + 1):
            client.store(str(number), "+FLAGS", f"({flag})")


def _delete(site: ApplicationSite, numbers: str) -> None:
    with _mailbox(site) as client:
        client.store(numbers, "+FLAGS", r"(\Deleted)")
        client.expunge()


def _subjects(site: ApplicationSite) -> list[str]:
    with _mailbox(site) as client:
        _, found = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    return sorted(part[1].decode().strip() for part in found if isinstance(part, tuple))


PROPOSITIONS = (no_message_is_lost_or_doubled, flags_are_set_at_both_sites, deleted_at_one_site)

if __name__ == "__main__":
    sys.exit(run_propositions(PROPOSITIONS, sys.argv[1:], RESULTS) > 0)
