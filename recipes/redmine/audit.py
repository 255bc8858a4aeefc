"""Compares Redmine's table of attachments with the files at this site, and lists what differs.

    python3 audit.py [--files DIRECTORY] [--deep] [--json] [--conflicts FILE]

Needs only Python and the command `mariadb`; runs at a site, as a user who may read the files.
It names:

- rows without a file: the file has not come yet, or is lost; geosync log PATH tells more;
- rows whose file is another one: other size, and with --deep another digest. With `--conflicts`
  (the output of `geosync conflicts list --json`) it names the conflict in which the row's own
  content is kept, so that somebody can give it a name of its own;
- files without a row: what Redmine wrote and could not commit, or did not find when it deleted.
  They take space and harm nothing.

Exit codes: 0 every row has its bytes, 1 some row has not, 2 it could not find out.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass

QUERY = (
    "SELECT id, COALESCE(container_type, ''), COALESCE(container_id, 0), filesize, digest,"
    " COALESCE(disk_directory, ''), HEX(disk_filename), HEX(filename) FROM attachments"
    " WHERE disk_filename <> ''"
)
COMMAND = ("mariadb", "--protocol=tcp", "--host=127.0.0.1", "--user=audit", "--password=laboratory",
           "--batch", "--skip-column-names", "redmine")  # fmt: skip
DIGESTS = {32: "md5", 64: "sha256"}
READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table; `path` is below the directory of the files."""

    number: int
    container: str
    size_bytes: int
    digest: str
    path: str
    name: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One row or file that has no counterpart. Of an orphan only `path` is known."""

    kind: str  # missing, wrong, orphan
    path: str
    row: int | None = None
    container: str = ""
    name: str = ""
    explanation: str = ""


def read_rows() -> list[Row]:
    """Asks the database server of this site. Raises OSError, CalledProcessError."""
    done = subprocess.run(
        [*COMMAND, f"--execute={QUERY}"], capture_output=True, text=True, check=True
    )
    return [_row(line) for line in done.stdout.splitlines()]


def _row(line: str) -> Row:
    number, kind, container, size, digest, directory, file_hex, name_hex = line.split("\t")
    file, name = (bytes.fromhex(text).decode(errors="replace") for text in (file_hex, name_hex))
    place = f"{kind} {container}" if kind else "none"
    return Row(int(number), place, int(size), digest, os.path.join(directory, file), name)


def read_files(directory: str) -> dict[str, int]:
    """Returns sizes by path, without what geosync keeps for itself."""
    found = {}
    for parent, directories, names in os.walk(directory):
        if parent == directory and ".geosync" in directories:
            directories.remove(".geosync")
        for name in names:
            path = os.path.join(parent, name)
            try:
                found[os.path.relpath(path, directory)] = os.lstat(path).st_size
            except FileNotFoundError:
                continue  # it went while we looked: Redmine has deleted it
    return found


def audit(
    rows: list[Row], files: dict[str, int], directory: str, kept: dict[str, str], *, is_deep: bool
) -> Iterator[Finding]:
    """Yields what has no counterpart; `kept`: path -> conflicts that keep another content of it."""
    for row in rows:
        about = (row.path, row.number, row.container, row.name)
        if row.path not in files:
            yield Finding("missing", *about, "no such file here")
        elif problem := _difference(row, files[row.path], directory, is_deep=is_deep):
            conflict = kept.get(row.path, "")
            hint = f"; its content may be kept in conflict {conflict}" if conflict else ""
            yield Finding("wrong", *about, problem + hint)
    wanted = {row.path for row in rows}
    for path in sorted(files.keys() - wanted):
        yield Finding("orphan", path, explanation="no row names it")


def _difference(row: Row, size_bytes: int, directory: str, *, is_deep: bool) -> str:
    if size_bytes != row.size_bytes:
        return f"{size_bytes} bytes, and the row says {row.size_bytes}"
    algorithm = DIGESTS.get(len(row.digest))
    if (
        is_deep
        and algorithm
        and _digest(os.path.join(directory, row.path), algorithm) != row.digest
    ):
        return f"its {algorithm} is not {row.digest}"
    return ""


def _digest(path: str, algorithm: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _kept_contents(path: str) -> dict[str, str]:
    if not path:
        return {}
    with open(path, encoding="utf-8") as file:
        conflicts = json.load(file)
    return {each["path"]: str(each["id"]) for each in conflicts if "path" in each}


def _print(findings: list[Finding], rows: int, files: int) -> None:
    titles = {"missing": "rows without a file", "wrong": "rows whose file is another one",
              "orphan": "files without a row"}  # fmt: skip
    print(f"{rows} rows, {files} files")
    for kind, title in titles.items():
        chosen = [each for each in findings if each.kind == kind]
        print(f"{len(chosen)} {title}")
        for each in chosen:
            row = f"row {each.row} ({each.container}, {each.name!r}): " if each.row else ""
            print(f"  {each.path}\n    {row}{each.explanation}")


def main() -> int:
    """Audits and prints; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", default="/var/lib/redmine/default/files")
    parser.add_argument("--deep", action="store_true", help="read every file")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--conflicts", default="", help="what geosync conflicts list --json says")
    options = parser.parse_args()
    try:
        files = read_files(options.files)
        rows = read_rows()
        kept = _kept_contents(options.conflicts)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"audit: can't find out: {error}", file=sys.stderr)
        return 2
    findings = list(audit(rows, files, options.files, kept, is_deep=options.deep))
    if options.json:
        print(json.dumps([asdict(each) for each in findings], indent=1))
    else:
        _print(findings, len(rows), len(files))
    return 1 if any(each.kind != "orphan" for each in findings) else 0


if __name__ == "__main__":
    sys.exit(main())
