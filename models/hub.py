"""Location that a text encoder is loaded from: this machine alone, or Hugging Face's Hub as well.

The Hub's client asks for each of a model's files several times, with pauses between, before it believes that
there is no network: a minute and more for a misspelt name. One question first settles that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def local_only(name: str) -> bool:
    """Whether an encoder has to come from this machine alone, as the Hub does not answer.

    Args:
        name: Of a folder, which may lean on a model of the Hub, or as the Hub knows it.

    Raises:
        ValueError: It is neither a folder nor a name that the Hub could know.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    if not name or not Path(name).is_dir():
        try:
            validate_repo_id(name)
        except HFValidationError as error:
            raise ValueError("no such folder, and no name that the Hub could know") from error
    return not answers()


def answers() -> bool:
    """Whether the Hub (``$HF_ENDPOINT``) answers within ``$HF_HUB_ETAG_TIMEOUT`` seconds, 10 by default.

    Asked through the Hub's own client, and so through the proxies that it would use; whatever it answers, an
    error too, is an answer.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import get_session

    client_error: Any = HfHubHTTPError.__mro__[1]  # of httpx or httpx2, whichever this version is built on
    try:
        get_session().head(constants.ENDPOINT, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    except (client_error, OSError):  # OSError: the client was told to stay offline
        return False
    return True
