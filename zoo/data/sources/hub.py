"""hf://: files of a Hugging Face repository at one commit.

In comes org/name, with a commit or without; out go the files. An open revision is resolved to the commit
that `main` stands at, once: the cache records it and asks for that very commit from then on.
huggingface_hub resumes what was cut, and takes the user's own token where one is set.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from zoo.data.sources.origin import address
from zoo.data.sources.request import Brought, Request, Unreachable

TIMEOUT = 10.0


def bring(request: Request) -> Brought:
    """Download the wanted files at the pinned, recorded or current commit."""
    import huggingface_hub
    from huggingface_hub.utils.tqdm import disable_progress_bars

    uri = address(request.origin.uri)
    kind = "dataset" if uri.name.startswith("datasets/") else "model"
    repository = uri.name.removeprefix("datasets/")
    client = huggingface_hub.HfApi()
    disable_progress_bars()
    with _plain_errors(request.origin.uri):
        # Asked in any case: this call gives up at once where there is no network, a download tries for half a minute.
        info = client.repo_info(repository, repo_type=kind, revision=uri.revision or request.revision, timeout=TIMEOUT)
        revision = info.sha
        if request.missing:
            names = sorted(request.missing)
        else:
            names = [
                n for n in client.list_repo_files(repository, repo_type=kind, revision=revision) if request.wants(n)
            ]
        for name in names:
            request.progress(name, 0, None)
            huggingface_hub.hf_hub_download(
                repository, name, repo_type=kind, revision=revision, local_dir=request.folder, etag_timeout=TIMEOUT
            )
    return Brought(revision=revision)


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
