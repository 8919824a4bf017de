"""`CommandLogin`: `auth: {type: headers, command: ...}`, where a program prints the headers. Place: login, above `login`.

It prints one JSON object of texts, as what other clients call a headers helper does. It is run when the upstream is connected to for the first time,
and when the upstream refuses what it printed before. All that it prints counts as secret.
"""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Callable

from meshproxy.config.login import HeadersFromCommand
from meshproxy.config.secrecy import secrets_of_header
from meshproxy.errors import UpstreamUnavailable
from meshproxy.http.client import encode_headers
from meshproxy.login.challenge import Challenge
from meshproxy.login.login import Login

__all__ = ["CommandLogin"]


class CommandLogin(Login):
    """The headers of one upstream.

    Args:
        upstream: its configured name.
        url: of it; the program finds both in its environment, as MESHPROXY_UPSTREAM and MESHPROXY_URL.
        auth: what the config says.
        directory: where the program runs: that of the config.
        conceal: as for `Login`.
    """

    def __init__(
        self,
        upstream: str,
        url: str,
        auth: HeadersFromCommand,
        directory: str | None,
        conceal: Callable[[list[str]], None],
    ) -> None:
        super().__init__(upstream, conceal)
        self.names = frozenset()
        self._auth = auth
        self._directory = directory
        self._environment = {"MESHPROXY_UPSTREAM": upstream, "MESHPROXY_URL": url}

    async def ready(self) -> None:
        if not self.headers:
            await self.once(lambda: self.obtain(None))

    async def obtain(self, wanted: Challenge | None) -> None:
        printed = await self._run()
        found = _headers(printed)
        if found is None:
            # What it printed is not shown, as it may hold what is secret.
            raise self.refused("auth.command prints no JSON object of headers and their texts: run it to see")
        self.names = frozenset(name.lower() for name in found)
        self.show(found, [secret for value in found.values() for secret in secrets_of_header(value)])

    async def _run(self) -> bytes:
        """What the program prints. It, and what it started, has ended when this returns or raises."""
        program, *arguments = self._auth.command
        try:
            process = await asyncio.create_subprocess_exec(
                program,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                cwd=self._directory,
                env={**os.environ, **self._environment},
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise self.refused(f"auth.command cannot be started: {program}: {reason}") from None
        try:
            async with asyncio.timeout(self._auth.timeout):
                printed, _ = await process.communicate()
        except TimeoutError:
            raise UpstreamUnavailable(
                self.upstream, f"auth.command took longer than {self._auth.timeout:g} s (auth.timeout)"
            ) from None
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        if process.returncode:
            raise UpstreamUnavailable(
                self.upstream, f"auth.command ended with status {process.returncode}: run it to see why"
            )
        return printed


def _headers(printed: bytes) -> dict[str, str] | None:
    """The headers in what was printed; None if these are none that could be sent."""
    try:
        found = json.loads(printed)
        if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
            return None
        encode_headers(found)
    except ValueError:
        return None
    return found
