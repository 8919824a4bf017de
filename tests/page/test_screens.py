"""Each screen of the page does its work, in a real browser, against real upstreams."""

import asyncio
import base64
import contextlib
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from meshproxy.access.keys import hash_of, new_key
from playwright.sync_api import Browser, expect
from tests.kit.authority import Authority, authority
from tests.kit.light import light
from tests.kit.node import NODE_MODULES, needs_node
from tests.kit.program import PROGRAM, Serving, serve
from tests.kit.waiting import DEADLINE
from tests.page.conftest import CHROMIUM, PATIENCE, Visit, digits, document, visiting

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here (on Debian: apt-get install chromium)"),
]
JSQR = NODE_MODULES / "jsqr" / "dist" / "jsQR.js"
READ = """async (picture) => {
  const image = await createImageBitmap(await (await fetch(`data:image/png;base64,${picture}`)).blob());
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  return jsQR(context.getImageData(0, 0, image.width, image.height).data, image.width, image.height)?.data;
}"""
"""Reads a code from a picture, as a camera's program would."""
GRAVE = {"serious", "critical"}
PARTS = re.compile(r"Waiting for a link .+, Upstream .+, Back .+")
expect.set_options(timeout=PATIENCE)


# Upstreams


def test_every_upstream_is_shown_with_its_state_and_the_reason_of_what_is_down(visit: Visit) -> None:
    page = visit.go("upstreams")
    rows = page.get_by_role("region", name="Upstreams").get_by_role("link")
    expect(rows).to_have_count(4)
    expect(rows.first).to_contain_text("broken")
    expect(rows.first).to_contain_text("cannot read the token file")
    expect(rows.filter(has_text="trips")).to_contain_text("up")
    expect(page.get_by_role("status").first).to_contain_text("1 of 4 need attention")
    rows.first.click()
    details = page.get_by_role("region", name="Upstream broken")
    expect(details.get_by_label("Standard error of broken")).to_contain_text("cannot read the token file")


def test_an_upstream_is_restarted_and_is_another_process_then(visit: Visit) -> None:
    page = visit.go("upstreams/echo")
    details = page.get_by_role("region", name="Upstream echo")
    process = details.locator("dt", has_text="Processes").locator("xpath=following-sibling::dd")
    before = process.inner_text()
    details.get_by_role("button", name="Restart").click()
    expect(details.get_by_role("status")).to_have_text("Started anew")
    expect(process).not_to_have_text(before)
    assert visit.mesh.ready()[1]["upstreams"]["echo"]["pids"] == [digits(process.inner_text())]


def test_traffic_is_shown_with_the_share_of_errors_and_a_line_of_the_last_minutes(visit: Visit) -> None:
    for _ in range(3):
        call(visit.mesh, "echo_other")
    subprocess.run(
        [*PROGRAM, "call", visit.mesh.url, "trips_cancel", '{"number": "T1"}'], check=False, capture_output=True
    )
    page = visit.go("upstreams")
    rows = page.get_by_role("region", name="Upstreams").get_by_role("link")
    echo = rows.filter(has_text="echo")
    expect(echo.locator(".number", has_text="errors")).to_contain_text("0 %")
    for figure in ("p50", "p99"):
        expect(echo.locator(".number", has_text=figure).locator("b")).to_have_text(re.compile(r"\d (ms|s|µs)$"))
    expect(echo.locator(".spark .bar").first).to_be_attached()
    trips = rows.filter(has_text="trips")
    expect(trips.locator(".number", has_text="errors").locator("b")).to_have_text(
        re.compile(r"^(100|[1-9]\d?(\.\d)?) %$")
    )
    expect(trips.locator(".spark .bar.bad").first).to_be_attached()


@contextlib.contextmanager
def authority_beside() -> Iterator[Authority]:
    """An authorization server with what it protects, on a loop of its own: a browser drives this thread."""
    loop = asyncio.new_event_loop()
    stack = contextlib.AsyncExitStack()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(stack.enter_async_context(authority()), loop).result(DEADLINE)
    finally:
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(DEADLINE)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_a_person_logs_in_at_an_upstream_from_the_page(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "mesh.yaml"
    with authority_beside() as there:
        file.write_text(document(upstreams={"there": {"url": there.url, "auth": "oauth"}}, profiles={}))
        with serve(file, tmp_path / "log") as mesh, visiting(browser, mesh) as visit:
            mesh.await_settled()
            page = visit.go("upstreams/there")
            details = page.get_by_role("region", name="Upstream there")
            expect(details.locator(".state")).to_have_text("needs login")
            with page.expect_popup() as opened:
                details.get_by_role("button", name="Log in").click()
            # The authority agrees at once, and the browser comes back to the mesh.
            expect(opened.value.locator("body")).to_contain_text("logged in at there")
            expect(details.locator(".state")).to_have_text("up")


# Catalog


def test_the_catalog_is_searched_and_each_component_has_its_origin_and_cost(visit: Visit) -> None:
    page = visit.go("catalog")
    catalog = page.get_by_role("region", name="Catalog")
    catalog.get_by_label("Search", exact=True).fill("book traveller")
    expect(catalog.get_by_role("link")).to_have_count(1)
    catalog.get_by_role("link", name="trips_book").click()
    details = page.get_by_role("region", name="tool trips_book")
    expect(details).to_contain_text("tool of trips, there called book · about")
    catalog.get_by_label("Cost of").select_option("small")
    expect(catalog.locator("dt", has_text="Tools").locator("xpath=following-sibling::dd")).to_have_text("2")


def test_a_tool_is_called_with_a_nested_form_made_from_its_schema(visit: Visit) -> None:
    page = visit.go("catalog/tool/trips_book")
    form = page.get_by_role("form", name="Call trips_book")
    # One traveller has to be there, with an address that has a default.
    form.get_by_role("textbox", name="name").first.fill("Ada")
    form.get_by_label("street").fill("Main street 1")
    expect(form.get_by_label("city")).to_have_value("Berlin")
    for number, city in enumerate(("Bern", "Vienna"), start=1):
        form.get_by_role("button", name="Add stops").click()
        form.get_by_role("textbox", name=f"stops {number}").fill(city)
    form.get_by_label("Kind of way").select_option(label="Bike")
    form.get_by_label("gears").fill("21")
    form.get_by_label("lounge").set_checked(True)
    form.get_by_label("flexible").select_option("true")
    form.get_by_role("button", name="JSON").click()
    arguments = json.loads(form.get_by_label("Arguments as JSON").input_value())
    assert arguments == {
        "travellers": [{"name": "Ada", "address": {"street": "Main street 1", "city": "Berlin"}}],
        "stops": ["Bern", "Vienna"],
        "way": {"by": "bike", "gears": 21},
        "extras": ["lounge"],
        "flexible": True,
    }
    form.get_by_role("button", name="Form").click()
    form.get_by_role("button", name="Call").click()
    result = page.locator(".result")
    expect(result).to_contain_text("T21F")
    expect(result).to_contain_text("Ada of Berlin")
    expect(result).to_contain_text("bike, 21 gears")


def test_a_form_that_lacks_what_is_required_is_not_sent(visit: Visit) -> None:
    page = visit.go("catalog/tool/trips_cancel")
    page.get_by_role("button", name="Call").click()
    expect(page.locator("textarea:invalid")).to_be_focused()
    expect(page.locator(".running")).to_have_count(0)


def test_arguments_can_be_written_as_json_and_a_slip_is_said(visit: Visit) -> None:
    page = visit.go("catalog/tool/trips_cancel")
    page.get_by_role("button", name="JSON").click()
    field = page.get_by_label("Arguments as JSON")
    field.fill('{"number": ')
    expect(page.get_by_role("alert")).to_contain_text("JSON")
    field.fill('{"number": "T9"}')
    page.get_by_role("button", name="Call").click()
    expect(page.locator(".result")).to_contain_text("Error executing tool cancel")
    expect(page.get_by_role("alert")).to_have_text("The tool says that it failed.")


def test_a_call_shows_its_progress_and_its_log_and_its_links_are_followed(visit: Visit) -> None:
    page = visit.go("catalog/tool/trips_search")
    page.get_by_role("textbox", name="to").fill("Berlin")
    page.get_by_role("button", name="Call").click()
    expect(page.get_by_label("Log", exact=True)).to_contain_text("timetable 4 of 4")
    expect(page.get_by_text("4 of 4").last).to_be_visible()
    expect(page.locator(".result")).to_contain_text("3 connections to Berlin")
    page.locator(".result").get_by_role("button", name="timetable").click()
    page.get_by_role("button", name="Read").click()
    expect(page.locator(".contents")).to_contain_text("berlin: 08:12")


def test_a_call_is_given_up(visit: Visit) -> None:
    page = visit.go("catalog/tool/trips_pay")
    page.get_by_role("textbox", name="number").fill("T1")
    page.get_by_role("button", name="Call").click()
    expect(page.get_by_role("form", name="A question")).to_be_visible()
    page.get_by_role("button", name="Give up").click()
    expect(page.get_by_text("Given up")).to_be_visible()


@pytest.mark.parametrize("agrees", [True, False])
def test_a_question_in_the_middle_of_a_call_is_answered_on_the_page(visit: Visit, *, agrees: bool) -> None:
    page = visit.go("catalog/tool/trips_pay")
    page.get_by_role("textbox", name="number").fill("T1")
    page.get_by_role("button", name="Call").click()
    question = page.get_by_role("form", name="A question")
    expect(question).to_contain_text("Pay 120 EUR for T1?")
    if agrees:
        question.get_by_label("agree").select_option("true")
        question.get_by_label("note").fill("from the page")
        question.get_by_role("button", name="Answer").click()
        expect(page.locator(".result")).to_contain_text("T1 is paid: from the page")
    else:
        question.get_by_role("button", name="Decline").click()
        expect(page.locator(".result")).to_contain_text("T1 is not paid")


def test_questions_of_the_modern_era_and_for_a_model_are_answered_too(visit: Visit) -> None:
    page = visit.go("catalog/tool/rounds_ask")
    page.get_by_role("textbox", name="message").fill("Who is it?")
    page.get_by_role("button", name="Call").click()
    question = page.get_by_role("form", name="A question")
    expect(question).to_contain_text("Who is it?")
    question.locator("textarea, input").first.fill("Ada")
    question.get_by_role("button", name="Answer").click()
    expect(page.locator(".result")).to_contain_text("Ada")


def test_pictures_and_sounds_are_shown(visit: Visit) -> None:
    page = visit.go("catalog/tool/trips_postcard")
    page.get_by_role("button", name="Call").click()
    picture = page.locator(".result img")
    expect(picture).to_be_visible()
    assert picture.evaluate("one => one.complete && one.naturalWidth > 0")
    expect(page.locator(".result audio")).to_be_visible()


def test_a_resource_is_read_a_template_filled_in_with_completion_and_a_prompt_rendered(visit: Visit) -> None:
    page = visit.go("catalog")
    catalog = page.get_by_role("region", name="Catalog")
    catalog.get_by_label("Upstream").select_option("trips")
    catalog.get_by_role("link", name="rules").click()
    page.get_by_role("button", name="Read").click()
    expect(page.locator(".contents")).to_contain_text('"bikes": true')

    catalog.get_by_role("link", name="template trips").click()
    page.get_by_role("combobox", name="city").fill("Be")
    expect(page.locator("datalist option")).to_have_count(2)
    assert page.locator("datalist option").first.get_attribute("value") == "Berlin"
    page.get_by_role("combobox", name="city").fill("Bern")
    page.get_by_role("button", name="Read").click()
    expect(page.locator(".contents")).to_contain_text("Bern: 08:12")

    catalog.get_by_role("link", name="weekend").click()
    page.get_by_role("combobox", name="city").fill("Athens")
    page.get_by_role("button", name="Render").click()
    expect(page.locator(".message")).to_contain_text("Plan a weekend in Athens for 200 EUR.")


# Calls


def call(mesh: Serving, name: str) -> None:
    """A call of another client's."""
    subprocess.run([*PROGRAM, "call", mesh.url, name], check=True, capture_output=True, timeout=PATIENCE / 1000)


def test_a_call_of_another_client_is_seen_as_it_ends_with_where_its_time_went(visit: Visit) -> None:
    page = visit.go("calls")
    calls = page.get_by_role("region", name="Calls", exact=True)
    expect(calls).to_be_visible()
    expect(page.get_by_role("status").first).to_contain_text("need attention")
    call(visit.mesh, "echo_other")
    calls.get_by_label("Search", exact=True).fill("echo_other")
    row = calls.get_by_role("row").filter(has_text="echo_other").first
    expect(row).to_contain_text("success")
    row.get_by_role("button").click()
    expect(calls.get_by_role("img")).to_have_attribute("aria-label", PARTS)
    calls.get_by_label("Outcome").select_option("denied")
    expect(calls).to_contain_text("None of the last calls is like that.")


# Edits


def test_an_edit_is_rejected_with_place_and_remedy_and_mended(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "mesh.yaml"
    good = document(upstreams={"echo": light()}, profiles={})
    file.write_text(good)
    with serve(file, tmp_path / "log") as mesh, visiting(browser, mesh) as visit:
        mesh.await_settled()
        page = visit.go("edits")
        expect(page.get_by_text("No edit since the mesh was started")).to_be_visible()
        file.write_text(good.replace('"command"', '"comand"'))
        expect(page.get_by_text("The last edit was rejected")).to_be_visible()
        problem = page.locator(".problem").first
        expect(problem).to_contain_text("upstreams.echo.comand unknown key")
        expect(problem).to_contain_text("did you mean 'command'?")
        expect(problem).to_contain_text(f"{file}:6:")
        file.write_text(document(upstreams={"echo": light(namespace="e"), "new": light()}, profiles={}))
        expect(page.get_by_text("The last edit was rejected")).to_have_count(0)
        newest = page.locator(".edit").first
        expect(newest).to_contain_text("started new")
        expect(newest).to_contain_text("upstreams.echo.namespace")
        expect(newest.locator(".names ins").first).to_have_text("e_echo")


def test_an_upstream_is_disabled_and_enabled_from_the_page(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "mesh.yaml"
    line = json.dumps(light())
    file.write_text(f"# mine\nupstreams:\n  echo: {line}\n")
    with serve(file, tmp_path / "log") as mesh, visiting(browser, mesh) as visit:
        mesh.await_settled()
        page = visit.go("upstreams/echo")
        details = page.get_by_role("region", name="Upstream echo")
        details.get_by_role("button", name="Disable").click()
        details.get_by_role("button", name="Yes").click()
        expect(details.locator(".state")).to_have_text("disabled")
        assert "enabled: false" in file.read_text()
        assert file.read_text().startswith("# mine\n")
        details.get_by_role("button", name="Enable").click()
        expect(details.locator(".state")).to_have_text("up")
        assert "enabled" not in file.read_text()


# Connect


def test_each_client_is_told_how_to_connect(visit: Visit) -> None:
    page = visit.go("connect")
    expect(page.get_by_label("In a terminal for Claude Code")).to_have_text(
        f"claude mcp add --transport http home {visit.mesh.url}"
    )
    page.get_by_role("navigation", name="Clients").get_by_role("link", name="Cursor").click()
    link = page.get_by_role("link", name="Open Cursor")
    assert link.get_attribute("href").startswith("cursor://anysphere.cursor-deeplink/mcp/install?name=home&config=")
    page.get_by_label("Profile").select_option("small")
    expect(page.locator(".address code")).to_have_text(f"{visit.mesh.url}/small")


@pytest.mark.skipif(not JSQR.exists(), reason="jsqr is not there; ./scripts/test installs it where there is npm")
def test_an_address_that_other_devices_can_use_is_a_code_that_they_can_read(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "mesh.yaml"
    url = "https://mesh.example.com"
    file.write_text(document(upstreams={"echo": light()}, server={"public_url": url}))
    with serve(file, tmp_path / "log") as mesh, visiting(browser, mesh, bypass_csp=True) as visit:
        page = visit.go("connect")
        page.get_by_text("For a phone, or another machine").click()
        for profile, address in (("", f"{url}/mcp"), ("small", f"{url}/mcp/small")):
            page.get_by_label("Profile").select_option(profile)
            code = page.get_by_role("img", name=f"The address {address} as a QR code")
            expect(code).to_be_visible()
            picture = base64.b64encode(code.screenshot()).decode()
            page.evaluate(JSQR.read_text())
            assert page.evaluate(READ, picture) == address


def test_an_address_of_this_machine_alone_is_no_code(visit: Visit) -> None:
    page = visit.go("connect")
    expect(page.get_by_role("heading", name="Claude Code")).to_be_visible()
    expect(page.get_by_text("For a phone, or another machine")).to_have_count(0)


# The key


def test_where_the_mesh_asks_for_a_key_so_does_the_page_and_no_url_has_it(browser: Browser, tmp_path: Path) -> None:
    key = new_key()
    keys = [{"name": "ada", "hash": hash_of(key), "rights": ["use", "admin"]}]
    file = tmp_path / "mesh.yaml"
    file.write_text(document(upstreams={"echo": light()}, profiles={}, server={"auth": {"keys": keys}}))
    with serve(file, tmp_path / "log") as mesh, visiting(browser, mesh) as visit:
        urls: list[str] = []
        visit.page.on("request", lambda asked: urls.append(asked.url))
        page = visit.go("catalog/tool/echo_echo")
        expect(page.get_by_role("heading", name="This mesh asks who you are")).to_be_visible()
        page.get_by_label("Key", exact=False).first.fill("mesh_wrong")
        page.get_by_role("button", name="Come in").click()
        expect(page.get_by_role("alert")).to_contain_text("Unauthorized")
        page.get_by_label("Key", exact=False).first.fill(key)
        page.get_by_role("button", name="Come in").click()
        page.get_by_role("button", name="Call").click()
        expect(page.locator(".result")).to_be_visible()
        page.reload()
        expect(page.get_by_role("region", name="tool echo_echo")).to_be_visible()
        page.get_by_role("button", name="Leave").click()
        expect(page.get_by_role("heading", name="This mesh asks who you are")).to_be_visible()
        assert not [url for url in urls if key in url]
        # What was refused is said in the console by the browser itself.
        visit.complaints[:] = [one for one in visit.complaints if "status of 401" not in one]


# Everybody can use it


PLACES = [
    "upstreams",
    "upstreams/broken",
    "catalog",
    "catalog/tool/trips_book",
    "catalog/prompt/trips_weekend",
    "calls",
    "edits",
    "connect",
]


@needs_node
@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1600])
def test_axe_finds_nothing_serious_at_any_width_in_any_colours(
    browser: Browser, mesh: Serving, colours: str, width: int
) -> None:
    axe = (NODE_MODULES / "axe-core" / "axe.min.js").read_text()
    # The policy of the page keeps every script out that is not its own, this one included.
    settings = {"color_scheme": colours, "bypass_csp": True}
    with visiting(browser, mesh, **settings) as visit:
        visit.page.set_viewport_size({"width": width, "height": 800})
        for place in PLACES:
            page = visit.go(place)
            expect(page.get_by_role("heading", level=2 if "/" in place else 1).first).to_be_visible()
            expect(page.get_by_text("Asking the mesh")).to_have_count(0)
            if place == "catalog/tool/trips_book":
                page.get_by_role("textbox", name="name").first.fill("Ada")
            page.evaluate(axe)
            found = page.evaluate("axe.run()")["violations"]
            grave = {one["id"]: [node["html"] for node in one["nodes"]] for one in found if one["impact"] in GRAVE}
            assert grave == {}, place
            assert page.evaluate("document.documentElement.scrollWidth") <= width, place


def test_it_is_used_with_the_keyboard_alone(visit: Visit) -> None:
    page = visit.go("upstreams")
    expect(page.get_by_role("link", name="trips")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    rows = page.get_by_role("region", name="Upstreams").get_by_role("link")
    expect(rows.first).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(rows.nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Upstream echo").get_by_role("heading", level=2)).to_be_focused()
