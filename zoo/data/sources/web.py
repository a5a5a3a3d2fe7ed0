"""https://: one file or one archive, resumed where a download was cut.

In comes an address and a folder to download into; out go the files. Half a file waits as `.part`,
with the server's validator beside it, and is continued only when the server still has the same file.
Refused: a redirect from https to plain http, and an answer shorter than it was announced.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from zoo.data.sources.archives import extract
from zoo.data.sources.origin import ARCHIVES, address
from zoo.data.sources.request import Brought, Request, Unreachable, sha256_of

TIMEOUT = 20.0
_CHUNK = 1 << 20


class _StaySafe(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https down to http."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        if urlsplit(req.full_url).scheme == "https" and urlsplit(newurl).scheme != "https":
            raise urllib.error.URLError(f"redirected from https to {newurl}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def bring(request: Request) -> Brought:
    """Download the file, or the archive and the wanted files in it, into `request.folder`."""
    uri = address(request.origin.uri)
    url = f"{uri.scheme}://{uri.name}"
    name = Path(urlsplit(url).path).name
    if not name.endswith(ARCHIVES):
        _download(url, request.folder / name, request)
        return Brought()
    archive = request.folder / ".archive" / name
    _download(url, archive, request)
    digest = sha256_of(archive)
    request.check_archive(archive, digest)
    extract(archive, uri.folder, request.wants, request.folder)
    archive.unlink()
    return Brought(archive_sha256=digest)


def _download(url: str, target: Path, request: Request) -> None:
    """`url` into `target`, by way of `<target>.part`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    validator = target.with_name(f"{target.name}.etag")
    headers = {"User-Agent": "text-zoo", "Accept-Encoding": "identity"}
    start = part.stat().st_size if part.is_file() and validator.is_file() else 0
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": validator.read_text(encoding="ascii")}
    opener = urllib.request.build_opener(_StaySafe)
    try:
        with opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as answer:
            if answer.status != 206:
                start = 0
            mark = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
            if mark and not mark.startswith("W/"):
                validator.write_text(mark, encoding="ascii")
            else:
                # Without a strong validator two halves could belong to two versions: start over next time.
                validator.unlink(missing_ok=True)
            length = answer.headers.get("Content-Length")
            total = start + int(length) if length else None
            with part.open("ab" if start else "wb") as sink:
                done = _pour(answer, sink, start, total, target.name, request)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:
            # The part is longer than the file is now: it belongs to another version.
            part.unlink(missing_ok=True)
            validator.unlink(missing_ok=True)
        raise Unreachable(f"{url} answered {error.code} {error.reason}") from error
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        if isinstance(error, OSError) and not isinstance(error, urllib.error.URLError | ConnectionError | TimeoutError):
            raise  # of the disk, not of the network
        raise Unreachable(f"{url}: {getattr(error, 'reason', None) or error}") from error
    if total is not None and done != total:
        raise Unreachable(f"{url}: the connection ended after {done:,} of {total:,} bytes; the next try resumes there")
    part.replace(target)
    validator.unlink(missing_ok=True)


def _pour(
    answer: http.client.HTTPResponse, sink: IO[bytes], done: int, total: int | None, name: str, request: Request
) -> int:
    """Copy the answer to the file, so that what came before a cut stays; bytes in the file, as far as it came."""
    while chunk := answer.read(_CHUNK):
        sink.write(chunk)
        done += len(chunk)
        request.progress(name, done, total)
    return done
