"""`FastMCP`: a server whose components come from providers. `FastMCPProxy`: the same in front of one upstream.

    server = FastMCP("my-mesh")
    server.add_provider(ProxyProvider(ProxyClient("https://docs.example.com/mcp")), namespace="docs")
    server.run(transport="http", port=8000)

It is the `Handler` of every downstream transport: each method of the protocol is a row of a table here, and what is not answered here is
handed to the composite.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self

from meshproxy.access.access import Entrance
from meshproxy.catalog.catalog import Mount
from meshproxy.config.models import MeshConfig
from meshproxy.eras.translate import ServerSignature
from meshproxy.errors import INVALID_PARAMS, RpcError, UpstreamError
from meshproxy.kinds import BY_LIST_METHOD
from meshproxy.links.target import config_of
from meshproxy.mesh.composite import CompositeProvider
from meshproxy.mesh.grace import Grace
from meshproxy.mesh.upstreams import mount_of, provider_of
from meshproxy.observe.calls import Calls
from meshproxy.relay.call import Call, ended
from meshproxy.relay.downstream import Downstream, Outcome, RequestContext, Result
from meshproxy.relay.handler import finish
from meshproxy.relay.recorder import Recorder
from meshproxy.serving.announcements import Announcements
from meshproxy.serving.directory import Directory
from meshproxy.serving.http import HttpApp
from meshproxy.serving.methods import Answer, Methods
from meshproxy.serving.server import listen, run, serve_http, serve_pipes
from meshproxy.serving.settings import HttpSettings
from meshproxy.supervision.starts import Starts
from meshproxy.upstream.client import CLIENT, ProxyClient
from meshproxy.upstream.link_choice import SessionMode
from meshproxy.upstream.provider import ProxyProvider
from meshproxy.wire.codec import opened
from meshproxy.wire.protocol import (
    COMPLETE,
    LOG_LEVELS,
    META_SUBSCRIPTION,
    TASK_METHODS,
    Era,
    negotiated,
)

Transport = Literal["http", "stdio"]


class FastMCP:
    """A server made of providers.

    `async with` starts and stops its providers; `run` does so around a transport.

    Attributes:
        answer: takes every request, see `meshproxy.relay.handler.Handler`.
        annotated_schema: see there.
        composite: the providers, and the snapshot that is served.
        entrance: who may come in over HTTP.
        calls: the requests that have ended lately, where a config says that they are kept.
        on_session_ended: told how many seconds a session of the legacy era has lasted.
        recorder: tells whoever listens what became of each request.
        stamp: its name and version, for results of the modern era.
    """

    def __init__(
        self,
        name: str = "meshproxy",
        *,
        version: str | None = None,
        instructions: str | None = None,
        list_grace: float = 3.0,
    ) -> None:
        self.composite = CompositeProvider()
        self.entrance = Entrance()
        self.info: dict[str, Any] = {"name": name, "version": version or CLIENT["version"]}
        self.stamp = ServerSignature(self.info)
        self._announcements = Announcements(self.composite)
        self.composite.on_announce(self._announcements.announce)
        self.composite.on_own_change(self._announcements.announce_to)
        self._directory = Directory(self.composite, self.stamp, instructions)
        self._grace = Grace(self.composite, list_grace)
        self.composite.settle = self._grace.wait
        self._is_running = False
        self._background: set[asyncio.Task[None]] = set()
        methods: dict[str, Answer] = {
            "initialize": self._initialize,
            "server/discover": self._discover,
            "ping": self._ping,
            "tools/call": self.composite.router.call_tool,
            "prompts/get": self.composite.router.get_prompt,
            "resources/read": self.composite.router.read,
            "completion/complete": self._complete,
            "logging/setLevel": self._set_level,
            "resources/subscribe": self._subscribe,
            "resources/unsubscribe": self._unsubscribe,
            "subscriptions/listen": self._listen,
            **dict.fromkeys(BY_LIST_METHOD, self._list),
            **dict.fromkeys(TASK_METHODS, self.composite.task),
        }
        self.recorder = Recorder(self.composite.router.hides)
        self.calls = Calls(self.recorder.listen)
        self.on_session_ended: Callable[[float], None] = lambda _: None
        self._methods = Methods(methods, self.recorder)
        # On the way of every call, so nothing stands between it and the table.
        self.answer: Answer = self._methods.answer if type(self).on_request is FastMCP.on_request else self._await
        self.annotated_schema = self.composite.router.annotated_schema

    def __repr__(self) -> str:
        return f"<FastMCP {self.info['name']!r} {self.composite!r}>"

    def add_provider(self, provider: ProxyProvider, namespace: str = "", *, separator: str = "_") -> None:
        """Serve a provider's components behind those of the others; see docs/design.md for names in a namespace."""
        provider.sign_as(self.stamp)
        self.composite.add(provider, Mount(provider.name, namespace, separator))
        if self._is_running:
            self.extend_grace()
            provider.start()

    def take(self, config: MeshConfig) -> None:
        """Go by a config, but for its upstreams: what is said of the mesh, who may come in, and what each may use. A snapshot has to follow in the same step."""
        self.instructions = config.instructions
        self.composite.views.take(config)
        self.entrance.take(config)
        self.calls.obey(config.observe.calls.keep, config.observe.calls.arguments)

    # --- life

    def start(self) -> None:
        """Let every provider begin to connect. Needs a running event loop."""
        self._is_running = True
        self.extend_grace()
        for mounted in self.composite.mounted:
            mounted.provider.start()

    def extend_grace(self) -> None:
        """Providers are starting: listings wait for them from now for as long as `list_grace` says."""
        self._grace.extend()

    def end_streams(self) -> None:
        """End every listen stream in good order: nothing else does, so it comes before waiting for what runs."""
        self._announcements.close()

    async def aclose(self) -> None:
        """End listen streams and close every provider. Idempotent."""
        self.end_streams()
        self.composite.close()
        await asyncio.gather(*(mounted.provider.aclose() for mounted in self.composite.mounted))
        await self.entrance.aclose()
        for task in self._background:
            task.cancel()
        if self._background:
            await asyncio.wait(self._background)

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    # --- transports

    def http_app(self, settings: HttpSettings | None = None) -> HttpApp:
        """An ASGI application of its own, which starts and closes the providers with its lifespan."""
        return HttpApp(self, settings, entrance=self.entrance, lifespan=lambda: self)

    def run(
        self, transport: Transport = "stdio", *, host: str = "127.0.0.1", port: int = 8000, path: str = "/mcp"
    ) -> None:
        """Serve until the client leaves (stdio) or SIGINT or SIGTERM comes; `host`, `port` and `path` are for http.

        Raises:
            CannotListen: the port cannot be had.
        """
        sockets = listen(host, port) if transport == "http" else []

        async def main(stopping: asyncio.Event) -> None:
            async with self:
                if transport == "http":
                    app = HttpApp(self, HttpSettings(host=host, path=path))
                    await serve_http(app, sockets, stopping, before_drain=self.end_streams)
                else:
                    await serve_pipes(self, stopping)

        run(main)

    @property
    def instructions(self) -> str | None:
        """Its own words to a model, put before those of the upstreams."""
        return self._directory.instructions

    @instructions.setter
    def instructions(self, instructions: str | None) -> None:
        self._directory.instructions = instructions

    # --- the handler

    async def on_request(self, context: RequestContext, method: str, params: dict[str, Any]) -> Result:
        """Answer a request, as `answer` does, for who rather awaits it. A subclass may override this: then every request comes through here.

        Raises:
            RpcError: an error answer.
        """
        try:
            return await finish(Call(context, method, params), self._methods.dispatch)
        except UpstreamError as error:
            raise error.rpc from None

    def _await(self, call: Call) -> None:
        if self.recorder.listeners:
            self.recorder.begin(call)
        call.go(self._ask_subclass)

    def _ask_subclass(self, call: Call) -> None:
        call.wait(self.on_request(call.context, call.method, call.params), ended)

    def on_notification(self, downstream: Downstream, method: str, params: dict[str, Any]) -> None:
        """See `meshproxy.relay.downstream.Handler`."""
        if method == "notifications/initialized":
            self._announcements.add_session(downstream)
            downstream.on_close(partial(self._left, downstream, time.monotonic()))
        elif method == "notifications/roots/list_changed":
            for provider, _ in self.composite.providers_for(downstream.visitor):
                self._spawn(provider.audience.roots_changed(downstream))

    def _left(self, downstream: Downstream, since: float) -> None:
        self._spawn(self.composite.unsubscribe_all(downstream))
        self.on_session_ended(time.monotonic() - since)

    # --- answers

    def _initialize(self, call: Call) -> None:
        version = negotiated(opened(call.params.get("protocolVersion")))
        call.context.downstream.headers = call.context.headers
        call.end(self._directory.initialized(call.context.downstream.visitor, version))

    def _discover(self, call: Call) -> None:
        call.end(self._directory.discovered(call.context.downstream.visitor))

    def _ping(self, call: Call) -> None:
        call.end(self._own(call, {}))

    def _complete(self, call: Call) -> None:
        call.then(self._own)
        self.composite.router.complete(call)

    def _list(self, call: Call) -> None:
        if call.params.get("cursor") is not None:
            raise RpcError(INVALID_PARAMS, f"{call.method}: unknown cursor; the listing has one page")
        visitor = call.context.downstream.visitor
        if self._grace.starting(visitor):
            call.wait(self._grace.wait(visitor), self._listed)
        else:
            self._listed(call, None)

    def _listed(self, call: Call, _: None) -> None:
        spec, downstream = BY_LIST_METHOD[call.method], call.context.downstream
        call.end(self._directory.listing(downstream.visitor, spec, downstream.era))

    def _set_level(self, call: Call) -> None:
        downstream, level = call.context.downstream, opened(call.params.get("level"))
        if level not in LOG_LEVELS:
            raise RpcError(INVALID_PARAMS, f"{call.method}: 'level' must be one of {', '.join(LOG_LEVELS)}")
        downstream.log_level = level
        # The level is in force here; an upstream that takes its time to hear of it keeps nobody waiting.
        for provider, _ in self.composite.providers_for(downstream.visitor):
            self._spawn(provider.audience.set_level(downstream, level))
        call.end({})

    def _subscribe(self, call: Call) -> None:
        notify = call.context.downstream.notify
        call.context.downstream.headers = call.context.headers
        call.wait(
            self.composite.subscribe(
                call.context.downstream, call.params, lambda told: notify("notifications/resources/updated", told)
            ),
            _done,
        )

    def _unsubscribe(self, call: Call) -> None:
        call.wait(self.composite.unsubscribe(call.context.downstream, call.params), _done)

    def _listen(self, call: Call) -> None:
        call.context.downstream.headers = call.context.headers
        call.wait(self._announcements.listen(call.context, call.params), self._listened)

    def _listened(self, call: Call, _: None) -> None:
        call.end({"resultType": COMPLETE, "_meta": {**self.stamp.meta, META_SUBSCRIPTION: call.context.request_id}})

    # --- what is served

    def _own(self, call: Call, outcome: Outcome) -> Outcome:
        """A result of the mesh's own making, which no upstream has dressed, for the era of its caller."""
        if call.context.downstream.era is Era.MODERN and isinstance(outcome, dict) and "resultType" not in outcome:
            return self.stamp.into(outcome, cacheable=False)
        return outcome

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._background.discard(task)
        if not task.cancelled():
            # What was only a courtesy to an upstream that is gone needs no word.
            task.exception()


def _done(call: Call, _: None) -> None:
    """What was asked for is done, and there is nothing to say of it."""
    call.end({})


class FastMCPProxy(FastMCP):
    """One upstream behind one endpoint, without a prefix.

    `target` is what `ProxyClient` takes, a client, or, also as `client_factory`, a factory of clients. `{"mcpServers": {...}}` with several servers is
    served as the same in a file is: each under its name.
    """

    def __init__(
        self,
        target: Any = None,
        name: str = "meshproxy",
        *,
        client_factory: Callable[..., Any] | None = None,
        session: SessionMode = "auto",
        **options: Any,
    ) -> None:
        super().__init__(name, **options)
        config = config_of(target) if isinstance(target, Mapping) and client_factory is None else None
        if config is not None and len(config.enabled) > 1:
            starts = Starts()
            for spec in config.enabled:
                self.composite.add(provider_of(spec, config.scrubber, self.stamp, starts), mount_of(spec, config))
            return
        if target is not None and not isinstance(target, ProxyClient) and not callable(target):
            target = ProxyClient(target)
        self.add_provider(ProxyProvider(target, client_factory=client_factory, session=session))
