"""Who may ask: nobody without the key, no page of another server, no name that is not ours."""

import os
import socket
from pathlib import Path

import pytest

from clearhead.studio import page, routes_lessons, routes_looks, routes_runs, routes_texts
from studio.opened import Client, opened

OTHERS = [("GET", "/api/state"), ("GET", "/v1/models"), ("POST", "/v1/completions"), ("GET", "/nowhere")]
NAMES = {"name": "app.js", "name:path": "app.js", "run": "poem", "text": "named-names", "view": "next", "lesson": "1"}


def every_route() -> list[tuple[str, str]]:
    """(method, path) of all that is answered."""
    found = list(OTHERS)
    for module in (page, routes_texts, routes_runs, routes_looks, routes_lessons):
        for route in module.ROUTES:
            path = route.path
            for name, value in NAMES.items():
                path = path.replace(f"{{{name}}}", value)
            assert "{" not in path
            found += [(method, path) for method in route.methods or () if method != "HEAD"]
    return sorted(set(found))


ROUTES = every_route()


def test_all_modules_of_routes_are_here() -> None:
    modules = {name for name in os.listdir(Path(page.__file__).parent) if name.startswith("routes_")}
    assert modules == {"routes_texts.py", "routes_runs.py", "routes_looks.py", "routes_lessons.py"}
    assert len(ROUTES) > 30


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_nothing_is_answered_without_the_key(atelier: Client, method: str, path: str) -> None:
    cookie = f"clearhead-{atelier.port}"
    for headers in (
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Basic {atelier.token}"},
        {"cookie": f"{cookie}=wrong"},
        {"cookie": f"clearhead-1={atelier.token}"},
        {"authorization": "Bearer wrong", "cookie": f"{cookie}={atelier.token}"},
    ):
        answer = atelier.ask(method, path, {}, headers)
        assert (answer.status, answer.code) == (401, "invalid_api_key"), (headers, answer.body)
        assert atelier.token.encode() not in answer.body


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_other_page_and_no_other_name_is_answered(atelier: Client, method: str, path: str) -> None:
    own = f"127.0.0.1:{atelier.port}"
    for headers, code in (
        ({"origin": "https://example.org"}, "foreign_origin"),
        ({"origin": "null"}, "foreign_origin"),
        ({"origin": f"http://127.0.0.1:{atelier.port + 1}", "host": own}, "foreign_origin"),
        ({"host": "example.org"}, "host_not_allowed"),
        ({"host": f"attacker.test:{atelier.port}"}, "host_not_allowed"),
    ):
        answer = atelier.ask(method, path, {}, {**atelier.key, **headers})
        assert (answer.status, answer.code) == (403, code), headers
    if path != "/":  # a link may lead to the page, and to nothing else
        answer = atelier.ask(method, path, {}, {**atelier.key, "sec-fetch-site": "same-site"})
        assert answer.code == "foreign_origin"


def test_the_link_sets_a_cookie_that_opens(atelier: Client) -> None:
    entered = atelier.ask("GET", f"/?view=1&token={atelier.token}")
    assert (entered.status, entered.headers["location"], entered.body) == (303, "/?view=1", b"")
    cookie = f"clearhead-{atelier.port}={atelier.token}"
    assert entered.headers["set-cookie"] == f"{cookie}; HttpOnly; SameSite=Strict; Path=/"
    assert atelier.ask("GET", f"/?token={atelier.token}").headers["location"] == "/"
    page = atelier.ask("GET", "/", headers={"cookie": f"other=1; {cookie}"})
    assert page.status == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert atelier.ask("GET", "/api/state", headers={"cookie": cookie}).status == 200


def test_a_wrong_link_opens_nothing(atelier: Client) -> None:
    cookie = {"cookie": f"clearhead-{atelier.port}={atelier.token}"}
    for path in ("/?token=wrong", "/?token=", f"/?token=wrong&token={atelier.token}"):
        answer = atelier.ask("GET", path, headers=cookie)
        assert (answer.status, answer.code) == (401, "invalid_api_key")
        assert "set-cookie" not in answer.headers
    assert atelier.ask("GET", f"/api/state?token={atelier.token}").status == 401, "only the page is entered by a link"


def test_a_link_from_a_foreign_page_or_name_opens_nothing(atelier: Client) -> None:
    path = f"/?token={atelier.token}"
    assert atelier.ask("GET", path, headers={"host": "example.org"}).code == "host_not_allowed"
    assert atelier.ask("GET", path, headers={"origin": "https://example.org"}).code == "foreign_origin"


def test_the_key_is_new_every_time_and_long(atelier_runs: Path, atelier: Client) -> None:
    with opened(atelier_runs) as other:
        assert other.token != atelier.token
        assert len(other.token) == 32
        assert other.ask("GET", "/api/state", headers=atelier.key).status == 401


def test_every_answer_says_what_it_may_load(atelier: Client) -> None:
    for path in ("/", "/api/state", "/static/app.js", "/plotly.js", "/nowhere"):
        answer = atelier.ask("GET", path, headers=atelier.key)
        policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
        assert policy["default-src"] == policy["frame-ancestors"] == policy["form-action"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_files_of_the_page_have_our_types_and_a_tag(atelier: Client) -> None:
    for name, kind in (("app.js", "text/javascript"), ("style.css", "text/css"), ("lib/dom.js", "text/javascript")):
        answer = atelier.ask("GET", f"/static/{name}", headers=atelier.key)
        assert answer.headers["content-type"] == f"{kind}; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache"
        known = {**atelier.key, "if-none-match": answer.headers["etag"]}
        again = atelier.ask("GET", f"/static/{name}", headers=known)
        assert (again.status, again.body) == (304, b"")
    assert atelier.ask("GET", "/api/state", headers=atelier.key).headers["cache-control"] == "no-store"


def test_plotly_is_the_installed_one(atelier: Client) -> None:
    import plotly

    answer = atelier.ask("GET", "/plotly.js", headers=atelier.key)
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.body == (Path(plotly.__file__).parent / "package_data" / "plotly.min.js").read_bytes()
    known = {**atelier.key, "if-none-match": answer.headers["etag"]}
    assert atelier.ask("GET", "/plotly.js", headers=known).status == 304


@pytest.mark.parametrize("up", ["..", "%2e%2e", "..%2f..", "%2e%2e%2f%2e%2e%2f", "....//", "..%5c..", "%00", "/etc"])
def test_no_name_leads_out_of_a_folder(atelier: Client, up: str) -> None:
    for path in (
        f"/static/{up}/app.py",
        f"/static/{up}/{up}/{up}/pyproject.toml",
        f"/docs/{up}/README.md",
        f"/api/runs/{up}/curves",
        f"/api/runs/{up}/look/next",
        f"/api/runs/{up}%2fpoem/curves",
        f"/api/texts/{up}/look",
        f"/api/lessons/{up}/parts",
        f"/api/stream?run={up}",
        f"/api/compare?runs={up}",
    ):
        answer = atelier.ask("GET", path, headers=atelier.key)
        assert answer.status in (400, 404), path
        assert set(answer.json) == {"error"}
    for path in (f"/api/runs/{up}/delete", f"/api/texts/{up}/delete", f"/api/texts/{up}/done", f"/api/runs/{up}/stop"):
        answer = atelier.ask("POST", path, {"confirm": up} if "runs" in path and "delete" in path else {}, atelier.key)
        assert answer.status in (400, 404), path


def test_a_name_cannot_be_made_that_leads_out(atelier: Client) -> None:
    for name in ("../up", "a/b", ".hidden", "", "a\0b", "x" * 300):
        status, message, _ = atelier.refused("POST", "/api/runs/poem/rename", name=name)
        assert status == 400
        assert "name" in message
    status, _, _ = atelier.refused("POST", "/api/runs", text="named-names", name="../up")
    assert status == 400


def test_a_body_must_be_json_and_small(atelier: Client) -> None:
    plain = atelier.ask("POST", "/api/runs", b"{}", {**atelier.key, "content-type": "text/plain"})
    assert plain.status == 415
    assert atelier.ask("POST", "/api/runs", b"{", atelier.key).code == "invalid_json"
    assert atelier.ask("POST", "/api/runs", b"[]", atelier.key).status == 400
    assert atelier.ask("POST", "/api/texts", b" " * (5 << 20), atelier.key).code == "body_too_large"


def test_it_listens_on_this_machine_alone(atelier: Client) -> None:
    addresses = {str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    for address in addresses - {"127.0.0.1", "127.0.1.1"}:
        with pytest.raises(OSError):
            socket.create_connection((address, atelier.port), timeout=2).close()
