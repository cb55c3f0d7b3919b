"""`vlcal ui`: a trained model at a page in the browser."""

from __future__ import annotations

import socket
import sys
from ipaddress import ip_address
from pathlib import Path

from vlcal.errors import UserError

SHIPPED = "the shipped base, before it is trained"


def ui(
    model: Path | None = None,
    /,
    host: str = "127.0.0.1",
    port: int = 8765,
    config: Path | None = None,
    checkpoint: Path | None = None,
) -> None:
    """Serve a page at which a model is asked: colours by certainty, spoiled images, altered readings.

    Args:
        model: Folder of a run such as runs/demo, an exported checkpoint or an adapter; left out, the shipped base,
            which states random confidences.
        host: Address to listen at; only this machine reaches the default. Whoever reaches another one may ask.
        port: To listen at; 0 takes a free one.
        config: Config of the run, for a folder that does not carry it.
        checkpoint: Checkpoint of a run; left out, the latest.

    Raises:
        UserError: If a library is missing, the address cannot be had, or the folder holds no model.
    """
    check_page(host, port)
    import uvicorn

    from vlcal.demo import BASE
    from vlcal.inference import load
    from vlcal.ui.server import ModelServer

    with _listening(host, port) as listener:
        server = ModelServer(load(model or BASE, config, checkpoint), str(model or SHIPPED), _hosts(host))
        settings = uvicorn.Config(server.app(), log_level="warning", limit_concurrency=64, timeout_keep_alive=5)
        sys.stdout.write(f"The page is at http://{host}:{listener.getsockname()[1]}; Ctrl-C ends it.\n")
        sys.stdout.flush()
        uvicorn.Server(settings).run(sockets=[listener])


def check_page(host: str = "127.0.0.1", port: int = 8765) -> None:
    """Refuse a page that cannot be served, before anything is loaded or trained for it.

    Raises:
        UserError: If a library is missing, or the address cannot be had.
    """
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as error:
        raise UserError(f"`vlcal ui` needs {error.name}; install it with: pip install 'vlcal[ui]'") from error
    _listening(host, port).close()


def _listening(host: str, port: int) -> socket.socket:
    """A socket at the address, taken before a model is loaded."""
    try:
        return socket.create_server((host, port))
    except (OSError, OverflowError) as error:
        raise UserError(
            f"`host` and `port` must be a free IPv4 address of this machine; {host}:{port} is not: {error}. "
            "Name another by --port."
        ) from error


def _hosts(host: str) -> list[str]:
    """Names under which a page at an address may be reached; a loopback address has its own alone."""
    loopback = host == "localhost" or (host.replace(".", "").isdigit() and ip_address(host).is_loopback)
    return ["localhost", host] if loopback else ["*"]
