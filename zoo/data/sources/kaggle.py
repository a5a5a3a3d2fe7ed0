"""kaggle://owner/model/framework/name/version: files of a Kaggle model.

In comes a handle with its version; out go the files. kagglehub keeps its own cache, so a preset that
keras-hub already brought is taken from there, without a network. Public models need no login.
"""

from __future__ import annotations

import logging
from pathlib import Path

from zoo.data.sources.origin import address
from zoo.data.sources.request import Brought, Request, Unreachable


def bring(request: Request) -> Brought:
    """Download the wanted files of the model's version."""
    import kagglehub
    import requests
    from kagglehub import exceptions

    uri = address(request.origin.uri)
    if uri.revision is None:
        raise Unreachable(f"{request.origin.uri} has no version: append one, as in {request.origin.uri}/1")
    logging.getLogger("kagglehub").setLevel(logging.ERROR)
    try:
        if request.missing:
            for name in sorted(request.missing):
                request.progress(name, 0, None)
                _take(request, uri.name, name, Path(kagglehub.model_download(uri.name, path=name)))
        else:
            request.progress(uri.name, 0, None)
            root = Path(kagglehub.model_download(uri.name))
            for path in sorted(path for path in root.rglob("*") if path.is_file()):
                name = path.relative_to(root).as_posix()
                if request.wants(name):
                    _take(request, uri.name, name, path)
    except (exceptions.UnauthenticatedError, exceptions.CredentialError) as error:
        raise Unreachable(f"{request.origin.uri} asks for a login: set KAGGLE_API_TOKEN ({error})") from error
    except (exceptions.KaggleApiHTTPError, exceptions.NotFoundError) as error:
        raise Unreachable(
            f"{request.origin.uri}: {str(error).splitlines()[0]} (a model with terms of use has to be accepted "
            "on its page first, then set KAGGLE_API_TOKEN)"
        ) from error
    except requests.exceptions.RequestException as error:
        reason = getattr(error.args[0], "reason", error) if error.args else error
        raise Unreachable(f"{request.origin.uri} cannot be reached: {reason}") from error
    return Brought(revision=uri.revision)


def _take(request: Request, handle: str, name: str, shared: Path) -> None:
    import kagglehub

    request.take(name, shared, lambda: Path(kagglehub.model_download(handle, path=name, force_download=True)))
