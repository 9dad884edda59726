"""The page's own files: a few names, each with its type; no other name leads to a file."""

import gzip
import hashlib
from collections.abc import Container
from importlib.util import find_spec
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from clearhead.serving.errors import ApiError, short

STATIC = Path(__file__).with_name("static")
DOCS = Path(__file__).parents[3] / "docs"
"""The documentation, where Clearhead is used from its repository; an installed one comes without."""
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".md": "text/plain; charset=utf-8",
}
"""Said by us: what a system takes `.js` for is a matter of luck."""
KEEP = "no-cache"
"""A browser keeps these files, and asks each time whether they are still the same."""


def registered(folder: Path, kinds: Container[str]) -> dict[str, Path]:
    """The files in a folder by their names in an address."""
    found = (file for file in sorted(folder.rglob("*")) if file.is_file() and file.suffix in kinds)
    return {file.relative_to(folder).as_posix(): file for file in found}


FILES = registered(STATIC, set(TYPES) - {".md"})
PAGES = registered(DOCS, {".md"})


async def index(http: Request) -> Response:
    """The page."""
    return _answer(http, FILES["index.html"])


async def static(http: Request) -> Response:
    """One of its files."""
    name = http.path_params["name"]
    if name not in FILES:
        raise ApiError(404, f"the page has no file {short(name)}", code="no_file")
    return _answer(http, FILES[name])


async def docs(http: Request) -> Response:
    """A page of the documentation, as it was written."""
    name = http.path_params["name"]
    if name not in PAGES:
        raise ApiError(404, f"there is no page {short(name)} of the documentation here", code="no_file")
    return _answer(http, PAGES[name])


def _answer(http: Request, file: Path) -> Response:
    content = file.read_bytes()
    headers = {"etag": f'W/"{hashlib.sha256(content).hexdigest()[:32]}"', "cache-control": KEEP}
    if http.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    if "gzip" in http.headers.get("accept-encoding", ""):
        content = gzip.compress(content, mtime=0)
        headers |= {"content-encoding": "gzip", "vary": "accept-encoding"}
    return Response(content, headers=headers, media_type=TYPES[file.suffix])


async def plotly(http: Request) -> Response:
    """plotly.js, as the installed package carries it: nothing is fetched from elsewhere."""
    file = plotly_file()
    found = file.stat()
    headers = {"etag": f'"{found.st_mtime_ns:x}-{found.st_size:x}"', "cache-control": KEEP}
    if http.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    return FileResponse(file, headers=headers, media_type=TYPES[".js"])


def plotly_file() -> Path:
    """Where the installed plotly keeps its JavaScript; the package itself is not imported."""
    spec = find_spec("plotly")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "package_data" / "plotly.min.js"


ROUTES = [
    Route("/", index),
    Route("/static/{name:path}", static),
    Route("/docs/{name:path}", docs),
    Route("/plotly.js", plotly),
]
