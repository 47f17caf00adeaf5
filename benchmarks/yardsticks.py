"""What the status workers are measured beside: nginx with a static file, and an aiohttp application."""

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiohttp import web

from benchmarks.processes import SERVER_CPU, pin
from pkiserver.status.slow_path import keyless_answer
from pkiserver.web.http_messages import HTTPRequest
from pkiserver.web.ocsp import OCSPResponder
from store.responses import ResponseTableReader

_NGINX = """
worker_processes 1; daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nodelay on; keepalive_requests 100000000; keepalive_timeout 600s;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{port}; root {folder}/www; default_type application/ocsp-response; }}
}}
"""


def _wait(url: str) -> None:
    for _ in range(100):
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"nothing answers at {url}")


@contextmanager
def nginx(folder: Path, port: int, content: bytes) -> Iterator[int]:
    """Run nginx on a static file `/file` of this content, one worker; give its pid."""
    (folder / "www").mkdir(parents=True)
    (folder / "www" / "file").write_bytes(content)
    folder.chmod(0o755)
    configuration = folder / "nginx.conf"
    configuration.write_text(_NGINX.format(folder=folder, port=port))
    process = subprocess.Popen(["nginx", "-c", str(configuration), "-e", str(folder / "error.log")])
    try:
        pin(process.pid, SERVER_CPU)
        _wait(f"http://127.0.0.1:{port}/file")
        yield process.pid
    finally:
        process.terminate()
        process.wait()


@contextmanager
def aiohttp_application(table: Path, port: int, path: str) -> Iterator[int]:
    """Run the same look-up behind an aiohttp application; give its pid."""
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.yardsticks", str(table), str(port)])
    try:
        pin(process.pid, SERVER_CPU)
        _wait(f"http://127.0.0.1:{port}{path}")
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def _serve_aiohttp(table: Path, port: int) -> None:
    responder = OCSPResponder(ResponseTableReader(table), keyless_answer, max_age=timedelta(seconds=60))

    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        fields = {b"content-type": request.headers.get("Content-Type", "").encode()}
        reply = responder.handle(
            HTTPRequest(request.method.encode(), request.raw_path.encode(), fields, body),
            datetime.now(UTC),
        )
        lines = [line.partition(b": ") for line in reply.fields.split(b"\r\n") if line]
        headers = {name.decode(): value.decode() for name, _, value in lines}
        return web.Response(status=int(reply.status[:3]), body=reply.body, headers=headers)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handle)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


if __name__ == "__main__":
    import uvloop

    uvloop.install()
    _serve_aiohttp(Path(sys.argv[1]), int(sys.argv[2]))
