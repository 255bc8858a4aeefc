"""Reading, checking and writing configurations."""

import os
import stat
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geosync.configuration.volume_configuration import (
    Mode,
    StoreKind,
    Tuning,
    default_configuration_path,
    default_configuration_text,
    load_configuration,
    parse_configuration,
    write_new_configuration,
)
from geosync.errors import ConfigurationError, OperatorError
from geosync.exit_codes import ExitCode
from geosync.network_address import NetworkAddress

COMPLETE = """
volume    = "redmine"
site      = "bari"
root      = "//srv//redmine/./files/"
state_dir = "/var/lib/geosync/redmine"
mode      = "replica"
allow_setuid = true
fifos     = true
store     = "directory"
[swift]
cloud = "infn"
[directory]
path = "/srv/geosync-store"
[http]
listen = "[::1]:8484"
[tuning]
settle_ms = 100
[owners]
www-data = "apache"
"#1000" = "böb"
[groups]
www-data = "#48"
"""
MINIMAL = {"volume": "redmine", "site": "bari", "root": "/srv/redmine"}


def _problems(**changes) -> dict[str, object]:
    """The problems of an otherwise right document, by key."""
    with pytest.raises(ConfigurationError) as caught:
        parse_configuration(MINIMAL | changes, "file.toml")
    return {problem.key: problem for problem in caught.value.problems}


def test_every_key_of_a_file_is_read(tmp_path):
    path = tmp_path / "redmine.toml"
    path.write_text(COMPLETE)
    configuration = load_configuration(str(path), {})
    assert (configuration.volume, configuration.site) == ("redmine", "bari")
    assert configuration.root == b"/srv/redmine/files"
    assert configuration.state_dir == b"/var/lib/geosync/redmine"
    assert configuration.mode is Mode.REPLICA
    assert configuration.allow_setuid
    assert configuration.fifos
    assert configuration.owners == {b"www-data": b"apache", b"#1000": "böb".encode()}
    assert configuration.groups == {b"www-data": b"#48"}
    assert configuration.store is StoreKind.DIRECTORY
    assert configuration.swift == {"cloud": "infn"}
    assert configuration.directory_path == b"/srv/geosync-store"
    assert configuration.http_listen == NetworkAddress("::1", 8484)
    assert configuration.tuning == Tuning(settle_ms=100)
    assert configuration.source == str(path)


def test_keys_that_are_left_out_have_their_documented_defaults():
    configuration = parse_configuration(MINIMAL, "options")
    assert configuration.state_dir == b"/var/lib/geosync/redmine"
    assert configuration.mode is Mode.MULTI_MASTER
    assert not configuration.allow_setuid
    assert not configuration.fifos
    assert configuration.owners == configuration.groups == {}
    assert configuration.store is StoreKind.SWIFT
    assert configuration.swift == {}
    assert configuration.directory_path is None
    assert configuration.http_listen == NetworkAddress("127.0.0.1", 8484)
    assert configuration.tuning == Tuning(30, 200, 2000, 3600, 4, 64, 10_000, 24)


def test_all_problems_are_reported_at_once_with_what_was_found():
    problems = _problems(
        volume="Red Mine",
        site=7,
        root="files",
        mode="multimaster",
        allow_setuid="yes",
        stor="swift",
        http=8484,
        swift={"key": 12345},
        tuning={"settle_ms": True, "poll_idle_ms": 10},
    )
    assert list(problems) == [
        "stor",
        "volume",
        "root",
        "site",
        "mode",
        "allow_setuid",
        "[swift] key",
        "http",
        "[tuning] settle_ms",
        "[tuning] poll_idle_ms",
    ]
    assert problems["volume"].found == '"Red Mine"'
    assert '"red-mine"' in problems["volume"].remedy
    assert '"multi-master"' in problems["mode"].remedy
    assert '"store"' in problems["stor"].remedy


def test_owners_that_can_not_be_are_problems():
    bad = {
        "a": 5,
        "b": "",
        "c": "x:y",
        "d": "#12x",
        "e": "#",
        "f": "two\nlines",
        "": "g",
        "#h": "h",
    }
    assert set(_problems(owners=bad)) == {"[owners] " + key for key in bad}
    twice = _problems(groups={"one": "wheel", "two": "wheel"})
    assert "one" in twice["[groups] two"].expected


def test_a_bad_volume_does_not_make_its_default_state_directory_a_problem():
    assert list(_problems(volume="Bad", root="/var/lib")) == ["volume"]
    assert list(_problems(root="/var/lib")) == ["state_dir"]


def test_a_password_is_never_shown():
    assert "12345" not in str(_problems(swift={"key": 12345}))
    shown = repr(parse_configuration(MINIMAL | {"swift": {"key": "opensesame"}}, "f"))
    assert "opensesame" not in shown


@pytest.mark.parametrize("key", ["volume", "site", "root"])
def test_what_has_no_default_must_be_there(key):
    document = {each: value for each, value in MINIMAL.items() if each != key}
    with pytest.raises(ConfigurationError, match="found:    nothing") as caught:
        parse_configuration(document, "f")
    assert [problem.key for problem in caught.value.problems] == [key]


@pytest.mark.parametrize("name", ["a", "0", "a-b-", "a" * 63])
def test_good_names_are_taken(name):
    assert parse_configuration(MINIMAL | {"volume": name, "site": name}, "f").site == name


@pytest.mark.parametrize("name", ["", "-a", "A", "a_b", "a.b", "a/b", "a" * 64, "a\n", "é"])
def test_bad_names_are_refused(name):
    assert list(_problems(volume=name)) == ["volume"]
    assert list(_problems(site=name)) == ["site"]


@pytest.mark.parametrize("mode", ["multi-master", "replica", "primary", "standby"])
def test_the_four_modes_are_taken(mode):
    assert parse_configuration(MINIMAL | {"mode": mode}, "f").mode == mode


@pytest.mark.parametrize("path", ["", "a", "./a", "/a/../b", "/a\0", "/a\udcff"])
def test_paths_are_absolute_and_mean_one_place(path):
    assert list(_problems(root=path)) == ["root"]
    assert list(_problems(state_dir=path)) == ["state_dir"]


@pytest.mark.parametrize(
    ("root", "state_dir"),
    [("/a/b", "/a/b/c"), ("/a/b/c", "/a/b"), ("/a", "/a"), ("/", "/a"), ("/a/.", "//a/b")],
)
def test_neither_of_root_and_state_dir_lies_inside_the_other(root, state_dir):
    assert list(_problems(root=root, state_dir=state_dir)) == ["state_dir"]


def test_a_name_that_merely_begins_alike_lies_outside():
    document = MINIMAL | {"root": "/a/b", "state_dir": "/a/bc"}
    assert parse_configuration(document, "f").state_dir == b"/a/bc"


def test_nesting_is_seen_through_symbolic_links(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "root")
    state_dir = str(tmp_path / "link" / "state")
    assert list(_problems(root=str(tmp_path / "root"), state_dir=state_dir)) == ["state_dir"]


def test_the_directory_store_needs_a_path_outside_of_root():
    assert list(_problems(store="directory")) == ["[directory] path"]
    problems = _problems(store="directory", directory={"path": "/srv/redmine/store"})
    assert list(problems) == ["[directory] path"]


def test_a_key_below_the_wrong_table_is_told_where_it_belongs():
    problems = _problems(http={"mode": "replica", "lisen": ""})
    assert "above the first line" in problems["[http] mode"].remedy
    assert '"listen"' in problems["[http] lisen"].remedy


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("", None),
        ("127.0.0.1:0", NetworkAddress("127.0.0.1", 0)),
        ("localhost:65535", NetworkAddress("localhost", 65535)),
        ("[::]:80", NetworkAddress("::", 80)),
    ],
)
def test_a_listen_address_is_a_host_and_a_port_or_nothing(listen, address):
    configuration = parse_configuration(MINIMAL | {"http": {"listen": listen}}, "f")
    assert configuration.http_listen == address
    assert str(address or "") == listen


@pytest.mark.parametrize("listen", ["8484", ":8484", "a:", "a:65536", "::1:80", "a:-1", "a:²", 80])
def test_other_listen_addresses_are_refused(listen):
    assert list(_problems(http={"listen": listen})) == ["[http] listen"]


@pytest.mark.parametrize("value", [0, 65, 1.5, "4", True])
def test_tuning_is_a_whole_number_within_its_bounds(value):
    assert list(_problems(tuning={"transfer_workers": value})) == ["[tuning] transfer_workers"]


@pytest.mark.parametrize(
    "content",
    [
        b"volume = ",
        b'volume = "a"\nvolume = "b"',
        b'volume = "\xff"',
        b"a = " + b"[" * 100_000,
        b"a = " + b"9" * 5000,
        b"#" * ((1 << 20) + 1),
    ],
)
def test_a_file_that_is_not_toml_is_a_configuration_error(tmp_path, content):
    path = tmp_path / "v.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(str(path), {})
    assert str(path) in str(caught.value)


def test_a_named_file_comes_before_the_environment_and_that_before_the_only_file(tmp_path):
    for name in ("named", "environment", "only"):
        (tmp_path / name).mkdir()
        path = tmp_path / name / "v.toml"
        path.write_text(f'volume = "v"\nsite = "{name}"\nroot = "/srv/v"\n')
    named, from_environment = (str(tmp_path / each / "v.toml") for each in ("named", "environment"))
    directory = str(tmp_path / "only")
    environment = {"GEOSYNC_CONFIG": from_environment}
    assert load_configuration(named, environment, directory).site == "named"
    assert load_configuration(None, environment, directory).site == "environment"
    assert load_configuration(None, {}, directory).site == "only"


def test_several_files_to_choose_from_are_listed(tmp_path):
    for name in ("b.toml", "a.toml", "c.txt"):
        (tmp_path / name).touch()
    with pytest.raises(OperatorError) as caught:
        load_configuration(None, {}, str(tmp_path))
    assert str(caught.value).endswith(f"are:\n  {tmp_path}/a.toml\n  {tmp_path}/b.toml")
    assert caught.value.exit_code is ExitCode.BAD_USAGE


@pytest.mark.parametrize("place", ["missing.toml", ".", "no/such/place.toml", "a\0b"])
def test_a_file_that_cannot_be_read_is_bad_usage(tmp_path, place):
    with pytest.raises(OperatorError, match="cannot read the configuration") as caught:
        load_configuration(f"{tmp_path}/{place}", {})
    assert caught.value.exit_code is ExitCode.BAD_USAGE


def test_without_any_file_the_error_says_how_to_make_one(tmp_path):
    for directory in (tmp_path, tmp_path / "missing"):
        with pytest.raises(OperatorError, match="geosync init"):
            load_configuration(None, {}, str(directory))


def test_the_default_place_is_named_after_the_volume():
    assert default_configuration_path("redmine") == "/etc/geosync/redmine.toml"


_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(
    path=_TEXT.filter(lambda text: "\0" not in text and ".." not in text),
    swift=st.dictionaries(_TEXT, _TEXT),
    mode=st.sampled_from(Mode),
    listen=st.sampled_from(["", "127.0.0.1:1", "[::1]:2"]),
    rescan_s=st.sampled_from([3600, 7]),
)
def test_the_text_that_init_writes_reads_back_as_it_was(path, swift, mode, listen, rescan_s):
    document = {
        "volume": "v",
        "site": "s",
        "root": f"/r/{path}",
        "state_dir": f"/state/{path}",
        "mode": mode.value,
        "store": "directory",
        "swift": swift,
        "directory": {"path": f"/store/{path}"},
        "http": {"listen": listen},
        "tuning": {"rescan_s": rescan_s},
    }
    configuration = parse_configuration(document, "options")
    text = default_configuration_text(configuration)
    assert parse_configuration(tomllib.loads(text), "file") == configuration


def test_the_text_that_init_writes_names_every_key_even_of_defaults():
    text = default_configuration_text(parse_configuration(MINIMAL, "options"))
    for line in ('mode = "multi-master"', '# path = "', "# settle_ms = 30", '# cloud = "'):
        assert f"\n{line}" in text
    assert parse_configuration(tomllib.loads(text), "f") == parse_configuration(MINIMAL, "f")


def test_a_new_file_is_complete_and_kept_from_others(tmp_path):
    path = tmp_path / "etc" / "geosync" / "v.toml"
    previous = os.umask(0)
    try:
        write_new_configuration(str(path), "à = 1\n")
    finally:
        os.umask(previous)
    assert path.read_text(encoding="utf-8") == "à = 1\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(path.parent) == ["v.toml"]


def test_a_file_that_is_there_is_never_overwritten(tmp_path):
    path = tmp_path / "v.toml"
    path.write_text("mine")
    with pytest.raises(OperatorError, match="there already"):
        write_new_configuration(str(path), "other")
    assert path.read_text() == "mine"
    assert os.listdir(tmp_path) == ["v.toml"]


def test_a_dangling_link_is_not_written_through(tmp_path):
    (tmp_path / "v.toml").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OperatorError, match="there already"):
        write_new_configuration(str(tmp_path / "v.toml"), "other")
    assert os.listdir(tmp_path) == ["v.toml"]


def test_a_place_that_is_no_directory_is_an_error_for_the_operator(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OperatorError, match="cannot write"):
        write_new_configuration(str(tmp_path / "file" / "v.toml"), "text")


# Several endpoints

ENDPOINTS = MINIMAL | {
    "swift": {
        "user": "geosync",
        "endpoint": [
            {"name": "near", "auth_url": "https://near/v3"},
            {"name": "far", "auth_url": "https://far/v3", "region_name": "cnaf"},
        ],
    }
}


def test_endpoints_are_kept_in_their_order_and_written_again() -> None:
    configuration = parse_configuration(ENDPOINTS, "f")
    assert configuration.swift == {"user": "geosync"}
    assert [each["name"] for each in configuration.swift_endpoints] == ["near", "far"]
    text = default_configuration_text(configuration)
    assert parse_configuration(tomllib.loads(text), "f") == configuration


def test_what_is_wrong_with_endpoints_is_told_at_once() -> None:
    problems = _problems(
        swift={
            "endpoint": [
                {"name": "a", "user": "x"},
                {"name": "a", "auth_url": 5},
                {"auth_url": "https://x/v3"},
            ]
        }
    )
    told = str(problems)
    assert "[[swift.endpoint]] 1" in told
    assert "user" in told
    assert "two called" in told
    assert "name of your own" in told
    assert len(problems) == 4


def test_endpoints_must_be_tables() -> None:
    assert "array of tables" in str(_problems(swift={"endpoint": "https://x"}))


@pytest.mark.parametrize("names", [[], ["files.example.org"], ["a", "B-2.example"]])
def test_names_of_the_http_server_are_host_names_and_survive_writing(names):
    configuration = parse_configuration(MINIMAL | {"http": {"names": names}}, "f")
    assert configuration.http_names == tuple(names)
    written = tomllib.loads(default_configuration_text(configuration))
    assert parse_configuration(written, "f") == configuration


@pytest.mark.parametrize("names", ["a", [1], ["a:80"], [""], ["http://a"], ["ü"], None])
def test_other_names_of_the_http_server_are_refused(names):
    assert list(_problems(http={"names": names})) == ["[http] names"]
