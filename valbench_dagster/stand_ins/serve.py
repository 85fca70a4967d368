"""Serving the stand-ins on loopback, for other processes of this machine.

Here belongs the socket. The app is `server`'s; the command line is `cli`'s.
"""

import socket
import sys

import uvicorn

from valbench_dagster.stand_ins.server import make_app

HOST = "127.0.0.1"


def serve(port: int = 0, latency: float = 0.0) -> None:
    """Serve the stand-ins on 127.0.0.1 until interrupted; port 0 picks a free one.

    Prints one line, `READY http://127.0.0.1:PORT/v1`, once connections are taken. Raises `OSError` with what to do
    when the port is taken, `ValueError` on a negative latency.
    """
    app = make_app(latency)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            raise OSError(
                error.errno, f"port {port} of {HOST} cannot be used ({error.strerror}): give another --port, or 0"
            ) from error
        # From here on the kernel takes connections; they wait the moment until the server accepts them.
        listener.listen(2048)
        sys.stdout.write(f"READY http://{HOST}:{listener.getsockname()[1]}/v1\n")
        sys.stdout.flush()
        config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
        uvicorn.Server(config).run(sockets=[listener])
