"""Names of owners: what the volume calls whom, with a map, without a name, without an answer."""

from __future__ import annotations

from geosync.disk.owner_names import Names, OwnerNames


class Machine:
    """Users of a machine, and a name service that may be away."""

    def __init__(self, users: dict[str, int]) -> None:
        self.users = users
        self.is_away = False
        self.questions = 0

    def name_of(self, number: int) -> str:
        self.questions += 1
        for name, known in self.users.items():
            if known == number and not self.is_away:
                return name
        raise KeyError(number)

    def number_of(self, name: str) -> int:
        self.questions += 1
        if self.is_away:
            raise KeyError(name)
        return self.users[name]

    def names(self, local_names: dict[bytes, bytes] | None = None) -> Names:
        return Names(self.name_of, self.number_of, local_names or {})


def test_the_system_is_asked_once_until_it_is_to_be_asked_again() -> None:
    machine = Machine({"alice": 7})
    names = machine.names()
    assert [names.name_of(7), names.name_of(7), names.number_of(b"alice")] == [b"alice"] * 2 + [7]
    assert names.number_of(b"alice") == 7
    assert machine.questions == 2
    names.forget()
    assert names.name_of(7) == b"alice"
    assert machine.questions == 3


def test_who_has_no_name_goes_by_number_until_there_is_one() -> None:
    machine = Machine({})
    names = machine.names()
    assert names.name_of(7) == b"#7"
    assert names.number_of(b"#7") == 7
    assert names.number_of(b"alice") is None
    machine.users["alice"] = 7
    names.forget()
    assert names.name_of(7) == b"alice"
    assert names.number_of(b"alice") == 7


def test_what_is_no_number_of_anybody_is_unknown() -> None:
    names = Machine({}).names()
    for name in (b"#", b"#-1", b"#no", b"#4294967295", b"#99999999999999", b""):
        assert names.number_of(name) is None, name
    assert names.number_of(b"#4294967294") == 4294967294
    assert OwnerNames().users.number_of(b"with\0zero") is None


def test_a_name_service_that_is_away_renames_nobody() -> None:
    machine = Machine({"alice": 7})
    names = machine.names()
    assert names.name_of(7) == b"alice"
    assert names.number_of(b"alice") == 7
    machine.is_away = True
    names.forget()
    assert names.name_of(7) == b"alice"
    assert names.number_of(b"alice") == 7


def test_a_map_says_whom_the_volume_calls_by_another_name() -> None:
    names = Machine({"apache": 48, "dave": 9}).names({b"www-data": b"apache", b"wiki": b"#77"})
    assert names.name_of(48) == b"www-data"
    assert names.number_of(b"www-data") == 48
    assert names.name_of(77) == b"wiki"
    assert names.number_of(b"wiki") == 77
    assert names.name_of(9) == b"dave"
    assert names.number_of(b"apache") == 48


def test_a_user_here_whose_name_means_another_one_goes_by_number() -> None:
    names = Machine({"apache": 48, "www-data": 33}).names({b"www-data": b"apache"})
    assert names.name_of(33) == b"#33"
    assert names.number_of(names.name_of(33)) == 33
    assert names.name_of(48) == b"www-data"


def test_answers_have_an_age() -> None:
    for_ever, at_once = OwnerNames(lifetime_s=1e9), OwnerNames(lifetime_s=0.0)
    for names in (for_ever, at_once):
        names.users = Machine({"alice": 7}).names()
        assert names.users.name_of(7) == b"alice"
        names.users._ask_name = lambda _: "bob"
        names.refresh()
    assert for_ever.users.name_of(7) == b"alice"
    assert at_once.users.name_of(7) == b"bob"
