"""A real OpenStack Keystone on loopback, and what a Swift behind it needs in it."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import pytest

from geosync.demo.loopback_port import HOST, choose_ports, listen
from geosync.demo.server_process import ServerProcess, child_environment
from geosync.demo.swift_server import SwiftServer

REPOSITORY = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
INTERPRETER = os.path.join(REPOSITORY, ".venv-keystone", "bin", "python")
PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "keystone_serving.py")
TIMEOUT_S = 30.0
ADMIN_TOKEN_LIFE_S_MIN = 600
DOMAIN_NAME = "Default"
ADMIN = "admin"
ADMIN_PASSWORD = "admin's password"
SWIFT = "swift"
SWIFT_PASSWORD = "Swift's password: 100%(sure) 50%%"


@dataclass(frozen=True, slots=True)
class KeystoneSwift:
    """How a client reaches the Swift behind the Keystone: by password or application credential."""

    auth_url: str
    username: str
    password: str
    project_name: str
    user_domain_name: str
    project_domain_name: str
    application_credential_id: str
    application_credential_secret: str


@contextmanager
def keystone_swift_in(
    keystone_directory: str, swift_directory: str, *, token_life_s: int = 3600
) -> Iterator[tuple[KeystoneSwift, KeystoneServer]]:
    """Runs a Swift behind a Keystone, with a user who may log in by both ways."""
    user = User("ann", "Ann's password", "volumes")
    with KeystoneServer(keystone_directory, token_life_s=token_life_s) as keystone:
        options = keystone.authtoken_options_of_new_swift()
        with SwiftServer(swift_directory, keystone_options=options) as swift:
            keystone.add_object_store(swift.url_of(1))
            keystone.add_user(user, "member")
            credential_id, credential_secret = keystone.add_application_credential(user)
            reached = KeystoneSwift(
                auth_url=keystone.auth_url,
                username=user.name,
                password=user.password,
                project_name=user.project_name,
                user_domain_name=DOMAIN_NAME,
                project_domain_name=DOMAIN_NAME,
                application_credential_id=credential_id,
                application_credential_secret=credential_secret,
            )
            yield reached, keystone


def require_keystone() -> None:
    """Skips a test where there is no Keystone; GEOSYNC_REQUIRE_KEYSTONE=1 forbids that."""
    if not os.path.exists(INTERPRETER):
        reason = f"{INTERPRETER} is missing: run `make keystone-environment`"
        if os.environ.get("GEOSYNC_REQUIRE_KEYSTONE") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


@dataclass(frozen=True, slots=True)
class User:
    """A user with a role in one project."""

    name: str
    password: str
    project_name: str


class KeystoneServer:
    """A Keystone in a new directory, with an admin, who calls its v3 interface here."""

    def __init__(self, directory: str, *, token_life_s: int = 3600) -> None:
        self._directory = directory
        self._token_life_s = token_life_s
        self._port = choose_ports(1)[0]
        self.auth_url = f"http://{HOST}:{self._port}/v3"
        self._token = ""

    def __enter__(self) -> Self:
        with listen(self._port) as listener:
            self._process = ServerProcess(
                [
                    INTERPRETER,
                    PROGRAM,
                    self._directory,
                    self.auth_url,
                    ADMIN_PASSWORD,
                    str(self._token_life_s),
                ],
                listeners={"keystone": listener},
                log_path=os.path.join(self._directory, "keystone.log"),
                environment=child_environment(),
            )
        try:
            self._process.await_ready()
            self._token, _ = self.log_in(User(ADMIN, ADMIN_PASSWORD, ADMIN))
        except BaseException:
            self._process.stop()
            raise
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._process.stop()

    def log_in(self, user: User) -> tuple[str, str]:
        """Returns a token for the user's project, and the user's id."""
        domain = {"name": DOMAIN_NAME}
        password = {"user": {"name": user.name, "domain": domain, "password": user.password}}
        authentication = {
            "identity": {"methods": ["password"], "password": password},
            "scope": {"project": {"name": user.project_name, "domain": domain}},
        }
        headers, answer = self._call("POST", "auth/tokens", {"auth": authentication})
        return headers["X-Subject-Token"], answer["token"]["user"]["id"]

    def add_user(self, user: User, role_name: str) -> None:
        """Adds the user, a project for it, and its role there; the role has to exist."""
        project_id = self._add("project", name=user.project_name, domain_id="default")
        user_id = self._add("user", name=user.name, password=user.password, domain_id="default")
        _, found = self._call("GET", f"roles?name={role_name}")
        role_id = found["roles"][0]["id"]
        self._call("PUT", f"projects/{project_id}/users/{user_id}/roles/{role_id}")

    def pause(self) -> None:
        """Stops the server, as a hung machine would."""
        self._process.pause()

    def resume(self) -> None:
        """Lets it run on."""
        self._process.resume()

    def add_application_credential(self, user: User, name: str = "geosync") -> tuple[str, str]:
        """Returns the id and the secret of a new credential with all of the user's roles."""
        token, user_id = self.log_in(user)
        path = f"users/{user_id}/application_credentials"
        body = {"application_credential": {"name": name}}
        _, answer = self._call("POST", path, body, token)
        credential = answer["application_credential"]
        return credential["id"], credential["secret"]

    def remove_application_credential(self, user: User, credential_id: str) -> None:
        """Takes a credential away, as its user."""
        token, user_id = self.log_in(user)
        self._call(
            "DELETE", f"users/{user_id}/application_credentials/{credential_id}", None, token
        )

    def authtoken_options_of_new_swift(self) -> dict[str, str]:
        """Adds Swift's own user; returns the options with which Swift asks this Keystone."""
        swift = User(SWIFT, SWIFT_PASSWORD, "service")
        self.add_user(swift, ADMIN)
        return {
            "www_authenticate_uri": self.auth_url,
            "auth_url": self.auth_url,
            "auth_type": "password",
            "username": swift.name,
            "password": swift.password,
            "project_name": swift.project_name,
            "user_domain_name": DOMAIN_NAME,
            "project_domain_name": DOMAIN_NAME,
            "interface": "public",
        }

    def add_object_store(self, swift_url: str) -> None:
        """Puts Swift into the catalog, where clients find its address."""
        service_id = self._add("service", name=SWIFT, type="object-store")
        url = f"{swift_url}/v1/AUTH_%(project_id)s"
        self._add(
            "endpoint", interface="public", region_id="loopback", service_id=service_id, url=url
        )

    def _add(self, kind: str, **attributes: str) -> str:
        _, answer = self._call("POST", f"{kind}s", {kind: attributes})
        identity: str = answer[kind]["id"]
        return identity

    def _call(
        self, method: str, path: str, body: object = None, token: str | None = None
    ) -> tuple[Mapping[str, str], Any]:
        # A token of its own for each request of the admin: they may live for seconds only.
        if self._token and token is None and self._token_life_s < ADMIN_TOKEN_LIFE_S_MIN:
            admin, self._token = User(ADMIN, ADMIN_PASSWORD, ADMIN), ""
            self._token, _ = self.log_in(admin)
        headers = {"Content-Type": "application/json", "X-Auth-Token": token or self._token}
        encoded = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.auth_url}/{path}", encoded, headers, method=method)
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            answer = response.read()
            return response.headers, json.loads(answer) if answer else None
