"""The current storage URL and token of a Swift login, renewed once however many threads ask."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from keystoneauth1 import exceptions  # noqa: TID251 - its home
from keystoneauth1.identity import v3  # noqa: TID251 - its home
from keystoneauth1.session import Session  # noqa: TID251 - its home

from transport.errors import StoreRefused, StoreUnavailable
from transport.swift_credentials import LoginKind, SwiftCredentials

if TYPE_CHECKING:
    from collections.abc import Callable

_REFUSALS: Final = (exceptions.Unauthorized, exceptions.Forbidden, exceptions.BadRequest)


@dataclass(frozen=True, slots=True)
class SwiftAccess:
    """Where the account is, the token that opens it for some hours, and whom to trust there.

    Attributes:
        cacert: file of certificates; "" for those of the system.
    """

    storage_url: str
    token: str = field(repr=False)
    cacert: str = ""


class SwiftSession:
    """Holds one access for all threads, and gets a new one when the current one was refused.

    Single flight: while one thread logs in the others wait for the same outcome. A token that a
    thread saw refused is renewed only if it is still the current one; otherwise threads would
    keep invalidating each other's new tokens.
    """

    def __init__(self, login: Callable[[], SwiftAccess]) -> None:
        """Takes the function that logs in; it raises `StoreRefused` or `StoreUnavailable`."""
        self._login = login
        self._lock = threading.Lock()
        self._access: SwiftAccess | None = None
        self._flight: Future[SwiftAccess] | None = None

    def access(self, refused: SwiftAccess | None = None) -> SwiftAccess:
        """Returns an access other than the one that the store refused; logs in if there is none.

        Raises:
            StoreRefused: the credentials are wrong.
            StoreUnavailable: nobody could be asked about the credentials.
        """
        with self._lock:
            if self._access is not None and self._access is not refused:
                return self._access
            flight = self._flight
            is_pilot = flight is None
            if flight is None:
                flight = self._flight = Future()
        if is_pilot:
            self._fly(flight)
        return flight.result()

    def _fly(self, flight: Future[SwiftAccess]) -> None:
        access: SwiftAccess | None = None
        failure: BaseException | None = None
        try:
            access = self._login()
        except BaseException as error:  # noqa: BLE001 - every waiting thread raises it
            failure = error
        with self._lock:
            self._access, self._flight = access, None
        if access is not None:
            flight.set_result(access)
        else:
            flight.set_exception(failure)


def login_keystone(credentials: SwiftCredentials, timeout_s: float) -> SwiftAccess:
    """Logs in with Keystone v3 and finds the object store in its catalogue.

    Raises:
        StoreRefused: Keystone refused the credentials, or its catalogue has no such object store.
        StoreUnavailable: Keystone could not be reached, or what answered is not Keystone.
    """
    session = Session(
        auth=_plugin(credentials),
        timeout=timeout_s,
        verify=credentials.cacert or True,
        redirect=False,
    )
    attempt = f"log in as {credentials.describe()}"
    try:
        token = session.get_token()
        storage_url = session.get_endpoint(
            service_type="object-store",
            interface=credentials.interface or "public",
            region_name=credentials.region_name or None,
        )
    except exceptions.EndpointNotFound:
        storage_url = None
    except _REFUSALS as error:
        raise StoreRefused(
            f"{attempt}: Keystone refused ({error.http_status}); correct the credentials"
        ) from error
    except exceptions.NotFound as error:
        if "Could not find" in str(error):  # so Keystone says it, and nobody else
            raise StoreRefused(
                f"{attempt}: Keystone does not know it ({error.message}): it was revoked, has"
                " expired, or is another Keystone's; correct the credentials"
            ) from error
        raise StoreUnavailable(f"{attempt}: {error}; if it stays so, check auth_url") from error
    except (exceptions.ClientException, ValueError, TypeError, KeyError) as error:
        raise StoreUnavailable(
            f"{attempt}: {type(error).__name__}: {error}; if it stays so, check auth_url"
        ) from error
    finally:
        session.close()
    if not token or not storage_url:
        raise StoreRefused(
            f"{attempt}: the catalogue has no object store with the interface "
            f"{credentials.interface or 'public'!r} in the region "
            f"{credentials.region_name or '(any)'!r}; correct region_name, interface or project"
        )
    return SwiftAccess(storage_url.rstrip("/"), token, credentials.cacert)


def _plugin(credentials: SwiftCredentials) -> v3.Password | v3.ApplicationCredential:
    user_domain_id = credentials.user_domain_id or None
    user_domain_name = credentials.user_domain_name or None
    if credentials.kind is LoginKind.V3_APPLICATION_CREDENTIAL:
        return v3.ApplicationCredential(
            auth_url=credentials.auth_url,
            application_credential_id=credentials.application_credential_id or None,
            application_credential_name=credentials.application_credential_name or None,
            application_credential_secret=credentials.secret,
            username=credentials.user or None,
            user_domain_id=user_domain_id,
            user_domain_name=user_domain_name,
        )
    return v3.Password(
        auth_url=credentials.auth_url,
        username=credentials.user,
        password=credentials.secret,
        user_domain_id=user_domain_id,
        user_domain_name=user_domain_name,
        project_id=credentials.project_id or None,
        project_name=credentials.project_name or None,
        project_domain_id=credentials.project_domain_id or None,
        project_domain_name=credentials.project_domain_name or None,
    )
