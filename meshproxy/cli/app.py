"""The commands as the user sees them: names, arguments, options and help. What each does is in a module of its own, imported when it runs."""

# ruff: noqa: D301, FBT002 - \b is typer's own mark for a paragraph that stays as it is, and an option is a parameter with a default

import importlib.util
from typing import Annotated, Any, Literal

import typer

from meshproxy.cli.access_app import key_app, why
from meshproxy.cli.auth_app import auth_app
from meshproxy.cli.clients_app import connect, import_, plan
from meshproxy.cli.completing import components
from meshproxy.cli.completion_app import completion
from meshproxy.cli.doctor_app import doctor
from meshproxy.cli.edits_app import add, disable, enable, remove, rename
from meshproxy.cli.options import AsJson, Headers, module_of
from meshproxy.cli.pins_app import pins_app
from meshproxy.cli.running_app import calls, logs, reload, restart, status

__all__ = ["app"]

Transport = Literal["http", "stdio"]
Kinds = Literal["tools", "resources", "templates", "prompts"]
Level = Literal["debug", "info", "warning", "error"]
Form = Literal["console", "json"]

app = typer.Typer(
    name="meshproxy",
    add_completion=False,
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

File = Annotated[str, typer.Argument(metavar="FILE", show_default=False, help="The config, YAML or JSON.")]
Target = Annotated[
    str, typer.Argument(metavar="FILE|URL", show_default=False, help="A config, or the URL of a mesh that runs.")
]


def _version(asked: bool) -> None:  # noqa: FBT001  # typer's way to call it
    if asked:
        from importlib.metadata import version  # noqa: PLC0415  # reading a package's papers takes a mail reader

        spec = importlib.util.find_spec("meshproxy.http.heads")
        is_compiled = spec is not None and not str(spec.origin).endswith(".py")
        typer.echo(f"meshproxy {version('meshproxy')}{' (compiled)' if is_compiled else ''}")
        raise typer.Exit


@app.callback()
def meshproxy(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback does it all
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Many MCP servers behind one endpoint, edited live.

    meshproxy reads a YAML file that lists MCP servers, and serves their tools, resources, resource templates and prompts as one
    MCP server, each under its own namespace. While it serves, edits of the file add, change and remove servers; clients stay
    connected, and calls to other servers go on.

    \b
    A first mesh.yaml:
      upstreams:
        files:
          command: npx
          args: [-y, "@modelcontextprotocol/server-filesystem", "."]
        docs:
          url: https://docs.example.com/mcp

    \b
    And what to do with it:
      meshproxy check mesh.yaml
      meshproxy serve mesh.yaml
      meshproxy list mesh.yaml tools
      meshproxy call mesh.yaml files_read_text_file path=README.md
      meshproxy list http://127.0.0.1:8000/mcp

    \b
    Exit status:
      0    it worked
      1    it failed while it ran, or the tool that was called says so
      2    the command line or the config is wrong; every problem is a line on stderr
      10   plan: something would change; doctor: something was found
      130  interrupted

    `meshproxy COMMAND --help` says more about each command.
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def serve(
    file: File,
    transport: Annotated[
        Transport,
        typer.Option(help="http: clients connect to a port. stdio: one client, which starts this command itself."),
    ] = "http",
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", show_default=False, help="Listen here and not at server.host.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            metavar="PORT", min=0, max=65535, show_default=False, help="Not at server.port; 0 takes a free one."
        ),
    ] = None,
    log_level: Annotated[Level, typer.Option(help="The least severe level of the log, which goes to stderr.")] = "info",
    log_format: Annotated[
        Form, typer.Option(help="console: a line of text for each event. json: an object for each.")
    ] = "console",
) -> Any:
    """Serve the upstreams of a config as one MCP server.

    The port opens at once, and upstreams are served as they come up. One that is down is tried again and again; the others
    do not wait for it.

    Save an edit of FILE, and it is in force within a second or two: new upstreams are started before old ones are let go, and those
    that did not change keep their processes, sessions and running calls. An edit that cannot be used is reported, and
    changes nothing. What cannot change while it runs, `name` and `server`, is reported as needing a restart.

    \b
    Endpoints, over http:
      http://127.0.0.1:8000/mcp      MCP, streamable HTTP (server.path)
      http://127.0.0.1:8000/healthz  200 while the process lives
      http://127.0.0.1:8000/readyz   200 once every required upstream is up; JSON with the state of each

    \b
    Signals:
      SIGINT, SIGTERM  end: running calls have 3 seconds, then every upstream is closed
      twice            end at once
      SIGHUP           read the file again; end, if it is that the terminal was closed

    \b
    Examples:
      meshproxy serve mesh.yaml
      meshproxy serve mesh.yaml --port 9000 --log-format json
      meshproxy serve ~/.config/client/mcp.json --transport stdio
    """
    return module_of("serve").serve(file, transport=transport, host=host, port=port, level=log_level, form=log_format)


@app.command()
def check(
    file: File,
    connect: Annotated[
        bool, typer.Option("--connect", help="Also start or connect to every upstream and list it.")
    ] = False,
) -> Any:
    """Say whether a config can be used, without serving it.

    Reads FILE exactly as `serve` does and prints every problem, each with its line, its column and its key. With --connect,
    every upstream is also started and listed, and two of them that claim one public name are a problem too.

    Exits with 0 if all is well, and with 2 if anything is wrong.
    """
    return module_of("check").check(file, connect=connect)


@app.command("list")
def list_(
    target: Target,
    kind: Annotated[
        Kinds | None,
        typer.Argument(metavar="[tools|resources|templates|prompts]", show_default=False, help="Only these."),
    ] = None,
    header: Headers = None,
    as_json: AsJson = False,
) -> Any:
    """List what a mesh offers, under its public names.

    On a FILE, its upstreams are started, listed and ended again. On a URL, the mesh (or any other MCP server) that runs there
    is asked.

    \b
    Examples:
      meshproxy list mesh.yaml
      meshproxy list http://127.0.0.1:8000/mcp tools --json
      meshproxy list https://mesh.example.com/mcp --header "Authorization: Bearer $TOKEN"
    """
    return module_of("listing").show_listing(target, kind, headers=header or [], as_json=as_json)


@app.command()
def call(
    target: Target,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            show_default=False,
            autocompletion=components,
            help="A tool, a prompt, or the URI of a resource.",
        ),
    ],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[JSON | KEY=VALUE ...]", show_default=False, help="An object, or one argument each."),
    ] = None,
    header: Headers = None,
    as_json: AsJson = False,
) -> Any:
    """Call a tool, get a prompt or read a resource.

    NAME is a public name, as `list` shows it. A VALUE is taken as JSON (3, true, [1, 2], {"a": 1}) unless it is none, or the tool
    wants a text there. On a FILE, only the upstreams are started that NAME may belong to.

    Texts are printed as they are, other contents are described. What an upstream asks meanwhile is declined, with a note.
    Exits with 1 if the tool says that it failed.

    \b
    Examples:
      meshproxy call mesh.yaml clock_now timezone=Asia/Tokyo
      meshproxy call mesh.yaml notes_write '{"title": "Tea", "text": "two lumps"}'
      meshproxy call mesh.yaml note://notes/Tea
      meshproxy call http://127.0.0.1:8000/mcp clock_now --json
    """
    return module_of("calling").call(target, name, arguments or [], headers=header or [], as_json=as_json)


@app.command()
def schema() -> int:
    """Print the JSON Schema of the config, for editors.

    \b
    With this as its first line, an editor that knows YAML schemas completes and explains every key of a mesh.yaml:
      # yaml-language-server: $schema=./mesh.schema.json
    where mesh.schema.json is what `meshproxy schema > mesh.schema.json` wrote.
    """
    from meshproxy.config.schema import schema_text  # noqa: PLC0415

    typer.echo(schema_text(), nl=False)
    return 0


for about in (status, calls, logs, restart, reload):
    app.command()(about)
app.add_typer(key_app)
app.command()(why)
app.add_typer(auth_app)
app.add_typer(pins_app)
app.command(context_settings={"allow_interspersed_args": False})(add)
for command in (remove, enable, disable, rename):
    app.command()(command)
app.command("import")(import_)
app.command()(connect)
app.command()(plan)
app.command()(doctor)
app.command()(completion)


@app.command(hidden=True)
def sample(
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="notes or clock.")],
    transport: Annotated[Transport, typer.Option(help="How to serve it.")] = "stdio",
    port: Annotated[int, typer.Option(min=0, max=65535, help="With http: where, on 127.0.0.1.")] = 0,
) -> Any:
    """Serve one of the sample servers that come with meshproxy."""
    return module_of("sample").run(name, transport, port)
