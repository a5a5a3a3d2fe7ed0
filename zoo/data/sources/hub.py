"""hf://: files of a Hugging Face repository at one commit.

In comes org/name, with a commit or without; out go the files. An open revision is resolved to the commit
that `main` stands at, once: the cache records it and asks for that very commit from then on.
huggingface_hub resumes what was cut, and takes the user's own token where one is set. It keeps its own cache, which
other programs fill too: where a commit and all names are known, what is there is taken without a network.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import re
from collections.abc import Iterator
from pathlib import Path

from zoo.data.sources.origin import address
from zoo.data.sources.request import Brought, Request, Unreachable

TIMEOUT = 10.0
UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC)
"""What the system says of a folder that cannot be written, or not any more."""


def bring(request: Request) -> Brought:
    """Download the wanted files at the pinned, recorded or current commit."""
    import huggingface_hub
    from huggingface_hub.utils.tqdm import disable_progress_bars

    uri = address(request.origin.uri)
    kind = "dataset" if uri.name.startswith("datasets/") else "model"
    repository = uri.name.removeprefix("datasets/")
    asked = uri.revision or request.revision
    shared = _shared(repository, kind, asked, request.missing)
    if shared is not None:
        with _plain_errors(request.origin.uri):
            for name, path in shared.items():
                again = functools.partial(_downloaded, request, repository, name, kind, asked, force=True)
                request.take(name, path, again)
        return Brought(revision=asked)
    client = huggingface_hub.HfApi()
    disable_progress_bars()
    with _plain_errors(request.origin.uri):
        # Asked in any case: this call gives up at once where there is no network, a download tries for half a minute.
        info = client.repo_info(repository, repo_type=kind, revision=asked, timeout=TIMEOUT)
        revision = info.sha
        if request.missing:
            names = sorted(request.missing)
        else:
            names = [
                n for n in client.list_repo_files(repository, repo_type=kind, revision=revision) if request.wants(n)
            ]
        for name in names:
            request.progress(name, 0, None)
            fetch = functools.partial(_downloaded, request, repository, name, kind, revision)
            request.take(name, fetch(), functools.partial(fetch, force=True))
    return Brought(revision=revision)


def _downloaded(
    request: Request, repository: str, name: str, kind: str, revision: str | None, *, force: bool = False
) -> Path:
    """The file in the hub's own cache, brought there where it is not; in ours where that one cannot be written."""
    import huggingface_hub

    fetch = functools.partial(
        huggingface_hub.hf_hub_download,
        *(repository, name),
        repo_type=kind,
        revision=revision,
        etag_timeout=TIMEOUT,
        force_download=force,
    )
    try:
        return Path(fetch()).resolve()
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        return Path(fetch(local_dir=request.folder)).resolve()


def _shared(repository: str, kind: str, revision: str | None, names: frozenset[str]) -> dict[str, Path] | None:
    """Where the hub's own cache has these files of a commit; None where one is not there, or no commit is named."""
    import huggingface_hub

    if not names or revision is None or not re.fullmatch(r"[0-9a-f]{40}", revision):
        return None
    found = {
        name: huggingface_hub.try_to_load_from_cache(repository, name, revision=revision, repo_type=kind)
        for name in sorted(names)
    }
    whole = {name: Path(path).resolve() for name, path in found.items() if isinstance(path, str)}
    return whole if whole.keys() == found.keys() else None


@contextlib.contextmanager
def _plain_errors(uri: str) -> Iterator[None]:
    """huggingface_hub's many exceptions as one sentence each."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise Unreachable(
            f"{uri} is gated: accept its terms on its page, then log in with `hf auth login` or set HF_TOKEN"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise Unreachable(f"{uri} does not exist, or is private and HF_TOKEN is not set") from error
    except errors.RevisionNotFoundError as error:
        raise Unreachable(f"{uri} has no such revision") from error
    except errors.LocalEntryNotFoundError as error:
        raise Unreachable(f"{uri} cannot be reached: {_first_line(error.__cause__ or error)}") from error
    except errors.EntryNotFoundError as error:
        raise Unreachable(f"{uri} lacks a file: {_first_line(error)}") from error
    except (errors.HfHubHTTPError, ConnectionError, TimeoutError) as error:
        raise Unreachable(f"{uri}: {_first_line(error)}") from error
    except Exception as error:
        # The HTTP library beneath huggingface_hub changes between its versions: tell it by its module.
        if type(error).__module__.partition(".")[0] in {"httpx", "httpx2", "requests", "httpcore", "httpcore2"}:
            raise Unreachable(f"{uri} cannot be reached: {_first_line(error)}") from error
        raise


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
