"""The search page and the session that lets its pictures and players through."""

from __future__ import annotations

import hashlib
from importlib import resources

from fastapi import APIRouter, Request
from starlette.responses import Response

from mmsearch.service.answers import errors
from mmsearch.service.auth import SESSION_COOKIE, SESSION_SECONDS, bearer_key, session_token
from mmsearch.service.errors import RequestError
from mmsearch.settings import Settings

CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


class _Asset:
    def __init__(self, name: str, content: bytes) -> None:
        self.content = content
        self.type = CONTENT_TYPES["." + name.rpartition(".")[2]]
        self.etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'

    def answer(self, request: Request) -> Response:
        # no-cache: kept by the browser, but asked about, so that an update shows at once.
        headers = {
            "ETag": self.etag,
            "Cache-Control": "no-cache",
            "Content-Security-Policy": POLICY,
        }
        if self.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(self.content, headers=headers, media_type=self.type)


def _load() -> dict[str, _Asset]:
    folder = resources.files("mmsearch.service") / "ui"
    return {
        item.name: _Asset(item.name, item.read_bytes())
        for item in folder.iterdir()
        if "." + item.name.rpartition(".")[2] in CONTENT_TYPES
    }


def router(settings: Settings) -> APIRouter:
    """The page and its assets, read once."""
    routes = APIRouter()
    assets = _load()

    @routes.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def page(request: Request) -> Response:
        return assets["index.html"].answer(request)

    @routes.api_route("/favicon.ico", methods=["GET", "HEAD"], include_in_schema=False)
    async def icon(request: Request) -> Response:
        """Asked for by browsers that show a media file by itself."""
        return assets["icon.svg"].answer(request)

    @routes.api_route("/ui/{name}", methods=["GET", "HEAD"], include_in_schema=False)
    async def asset(name: str, request: Request) -> Response:
        if name not in assets:
            raise RequestError(404, "no_such_route", f"There is nothing at /ui/{name}.")
        return assets[name].answer(request)

    @routes.post(
        "/v1/session",
        tags=["operation"],
        summary="Let this browser's pictures and players through",
        status_code=204,
        response_class=Response,
        responses={
            204: {"description": "A cookie for media and thumbnails, if keys are in use."},
            **errors(),
        },
    )
    async def session(request: Request) -> Response:
        response = Response(status_code=204)
        key = bearer_key(request.headers)
        if settings.api_keys and key is not None:
            response.set_cookie(
                SESSION_COOKIE,
                session_token(key),
                max_age=SESSION_SECONDS,
                path="/v1/sources",
                httponly=True,
                samesite="strict",
                secure=request.url.scheme == "https",
            )
        return response

    return routes
