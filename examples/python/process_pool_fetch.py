"""Three URLs fetched by a pool of processes (row F2).

The example starts its own HTTP server on 127.0.0.1, so it needs no network.
One of the three URLs does not exist: its future raises, the other two do not
care.  The futures are kept in a dict, so that a result finds its URL again.

There is no ``if __name__ == "__main__":`` guard: workers are given the functions
of this file by value and never run the file a second time.
"""

import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from manyhands.futures import FIRST_COMPLETED, ProcessPoolExecutor, as_completed, wait

PAGES = {"/apples": b"apples " * 100, "/pears": b"pears " * 200}


class Orchard(BaseHTTPRequestHandler):
    """Serves PAGES and answers 404 to everything else."""

    def do_GET(self):
        body = PAGES.get(self.path)
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Keep the example's output to the results."""


def fetch(url, timeout_seconds):
    """Return the body behind `url`; the pool brings any error back to the caller."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=timeout_seconds) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        # An HTTPError holds an open socket, which cannot leave the process.
        raise ConnectionError(f"the server answered {error.code} {error.reason}") from None


server = ThreadingHTTPServer(("127.0.0.1", 0), Orchard)
threading.Thread(target=server.serve_forever, daemon=True).start()
root = f"http://127.0.0.1:{server.server_port}"
urls = [f"{root}/apples", f"{root}/nothing-here", f"{root}/pears"]

with ProcessPoolExecutor(max_workers=3) as executor:
    future_to_url = {executor.submit(fetch, url, 30): url for url in urls}

    first, rest = wait(future_to_url, timeout=60, return_when=FIRST_COMPLETED)
    print(f"at least one of {len(first) + len(rest)} is done: {len(first) >= 1}")

    for future in as_completed(future_to_url, timeout=60):
        path = future_to_url[future].removeprefix(root)
        try:
            body = future.result()
        except ConnectionError as error:
            print(f"{path}: failed, {error}")
        else:
            print(f"{path}: {len(body)} bytes")

    done, not_done = wait(future_to_url, timeout=60)
    print(f"done: {len(done)}, not done: {len(not_done)}")

server.shutdown()
server.server_close()
