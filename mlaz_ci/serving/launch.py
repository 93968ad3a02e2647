"""Start Microsoft's inference server for one deployment: detached, on sockets that it is given, and able to take over a port.

It runs in the service's own environment (Python 3.8 to 3.13, gunicorn 22 and later) and imports nothing of mlaz_ci.
azmlinfsrv itself binds 0.0.0.0 and cannot be handed a socket; the WSGI application, worker type and logging here are azmlinfsrv's own.
docs/decisions/0003-port-takeover.md tells how a port changes hands.
"""

from __future__ import annotations

import argparse
import array
import json
import os
import selectors
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

# Only the script's own folder came first because it was started by path: no module of the model may be shadowed by it.
if __name__ == "__main__":
    sys.path[:] = [each for each in sys.path if Path(each).resolve() != Path(__file__).resolve().parent]

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.sock import TCPSocket
from gunicorn.workers.sync import SyncWorker

APPLICATION = "azureml_inference_server_http.server.entry:app"
IDLE_LIMIT_S = 75.0
"""How long a connection may wait before it sends its request."""
IDLE_LIMIT_AT_STOP_S = 2.0
CLIENT_TIMEOUT_S = 30.0
WAITING_LIMIT = 512
LOG_LIMIT_BYTES = 16 * 1024 * 1024
LOG_KEPT_BYTES = 4 * 1024 * 1024


# --- who this process is, for those who look for it later ---------------------------------------------------------


def identity() -> Dict[str, Any]:
    """The same words as mlaz_ci.adapters.local_process.process reads: a pid alone is soon another process's."""
    pid = os.getpid()
    stat = Path("/proc/self/stat")
    if stat.exists():
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return {"pid": pid, "started": stat.read_text().rpartition(")")[2].split()[19], "boot_id": boot_id}
    started = subprocess.check_output(["ps", "-o", "lstart=", "-p", str(pid)], universal_newlines=True)
    boot_time = subprocess.check_output(["sysctl", "-n", "kern.boottime"], universal_newlines=True)
    return {"pid": pid, "started": " ".join(started.split()), "boot_id": boot_time.strip()}


def write_json(path: str, value: Dict[str, Any]) -> None:
    temporary = Path("%s.%d" % (path, os.getpid()))
    with temporary.open("w") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


# --- messages with file descriptors (socket.send_fds is of Python 3.9) ----------------------------------------------


def send_message(channel: socket.socket, text: str, fd: Optional[int] = None) -> None:
    rights = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
    channel.sendmsg([text.encode()], rights)


def receive_message(channel: socket.socket) -> Tuple[str, Optional[int]]:
    descriptors = array.array("i")
    data, ancillary, _, _ = channel.recvmsg(4096, socket.CMSG_SPACE(descriptors.itemsize))
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(payload[: len(payload) - len(payload) % descriptors.itemsize])
    for each in descriptors:
        os.set_inheritable(each, False)
    return data.decode(), descriptors[0] if descriptors else None


# --- the server ------------------------------------------------------------------------------------------------------


class Waiting:
    """An accepted connection that has not sent its request yet. It stands in for its listener, which may be closed by then."""

    def __init__(self, client: socket.socket, address: Any, server_name: Any) -> None:
        self.client = client
        self.address = address
        self.server_name = server_name
        self.since_s = time.monotonic()

    def getsockname(self) -> Any:
        return self.server_name


class Worker(SyncWorker):  # type: ignore[misc]
    """gunicorn's sync worker (one request at a time, `Connection: close`), which is what azmlinfsrv runs, with two changes.

    A connection that is open and silent waits aside and blocks nobody. And it starts and stops accepting from the service's
    socket when the master says so.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.master_end, self.worker_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.master_end.setblocking(False)
        self.worker_end.setblocking(False)
        self.service: Optional[socket.socket] = None
        self.waiting: List[Waiting] = []

    def load_wsgi(self) -> None:
        """Load the model, telling the master meanwhile that this worker lives: a large model may take longer than a request."""
        loaded = threading.Event()

        def beat() -> None:
            while not loaded.wait(1.0):
                self.notify()

        heart = threading.Thread(target=beat, daemon=True)
        heart.start()
        try:
            super().load_wsgi()
        finally:
            loaded.set()
            heart.join()

    def run(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.PIPE[0], selectors.EVENT_READ)
        self.selector.register(self.worker_end, selectors.EVENT_READ)
        for listener in [*self.sockets, *([self.service] if self.service else [])]:
            listener.setblocking(False)
            self.selector.register(listener, selectors.EVENT_READ)
        while self.alive:
            self.notify()
            self.turn(min(1.0, self.timeout or 1.0))
            self.close_idle(IDLE_LIMIT_S)
            if not self.is_parent_alive():
                return
        self.finish()

    def turn(self, timeout_s: float) -> None:
        """One look. What the master says comes before any accept, what was accepted before comes before anything new."""
        ready = [key.fileobj for key, _ in self.selector.select(timeout_s)]
        if self.PIPE[0] in ready:
            os.read(self.PIPE[0], 4096)
        if self.worker_end in ready:
            self.obey()
            return
        accepted = [each for each in self.waiting if each.client in ready]
        for each in accepted:
            self.answer(each)
        if not accepted:
            for listener in self.listeners():
                if listener in ready and self.alive:
                    self.take_one(listener)

    def listeners(self) -> List[Any]:
        return [*self.sockets, *([self.service] if self.service else [])]

    def obey(self) -> None:
        while True:
            try:
                text, fd = receive_message(self.worker_end)
            except BlockingIOError:
                return
            self.leave_service()
            if text == "take" and fd is not None:
                self.service = socket.socket(fileno=fd)
                self.service.setblocking(False)
                self.selector.register(self.service, selectors.EVENT_READ)

    def leave_service(self) -> None:
        if self.service is not None:
            self.selector.unregister(self.service)
            self.service.close()
            self.service = None

    def take_one(self, listener: Any) -> None:
        try:
            client, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # another worker, or another deployment that shares the socket, was quicker
        connection = Waiting(client, address, listener.getsockname())
        self.waiting.append(connection)
        self.selector.register(client, selectors.EVENT_READ)
        if any(key.fileobj is client for key, _ in self.selector.select(0)):
            self.answer(connection)
        elif len(self.waiting) > WAITING_LIMIT:
            self.forget(self.waiting[0]).close()

    def forget(self, connection: Waiting) -> socket.socket:
        self.waiting.remove(connection)
        self.selector.unregister(connection.client)
        return connection.client

    def answer(self, connection: Waiting) -> None:
        client = self.forget(connection)
        client.settimeout(CLIENT_TIMEOUT_S)
        self.notify()
        self.handle(connection, client, connection.address)

    def close_idle(self, limit_s: float) -> None:
        now_s = time.monotonic()
        for each in [each for each in self.waiting if now_s - each.since_s > limit_s]:
            self.forget(each).close()

    def finish(self) -> None:
        """Nothing new is accepted; a connection that is open already may still send its request, for a moment."""
        for listener in self.listeners():
            self.selector.unregister(listener)
        deadline_s = time.monotonic() + IDLE_LIMIT_AT_STOP_S
        while self.waiting and time.monotonic() < deadline_s:
            self.notify()
            ready = [key.fileobj for key, _ in self.selector.select(0.1)]
            if self.PIPE[0] in ready:
                os.read(self.PIPE[0], 4096)
            if self.worker_end in ready:
                receive_message(self.worker_end)
            for each in [each for each in self.waiting if each.client in ready]:
                self.answer(each)
        self.close_idle(-1.0)


class Master(Arbiter):  # type: ignore[misc]
    """gunicorn's master, which is told over a unix socket (run/control, then SIGUSR2) to take, share and release the port."""

    def __init__(self, application: Any, options: argparse.Namespace) -> None:
        self.options = options
        super().__init__(application)
        self.LISTENERS = [TCPSocket((options.host, 0), self.cfg, self.log, fd=options.own_fd)]
        self.service: Optional[socket.socket] = None
        if options.service_fd is not None:
            self.service = socket.socket(fileno=options.service_fd)
            self.service.set_inheritable(False)
        self.is_serving = False
        self.control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def setup(self, app: Any) -> None:
        super().setup(app)
        self.worker_class = Worker  # as a setting it would have to be importable by name, in gunicorn 22

    def start(self) -> None:
        super().start()
        self.control.bind("run/control")
        self.control.listen(8)
        self.control.setblocking(False)

    def handle_usr2(self) -> None:
        while True:
            try:
                peer, _ = self.control.accept()
            except BlockingIOError:
                return
            with peer:
                peer.settimeout(5.0)
                try:
                    self.answer(peer)
                except OSError as error:
                    self.log.warning("control: %s", error)

    def answer(self, peer: socket.socket) -> None:
        request, fd = receive_message(peer)
        reply: Dict[str, Any] = {"ok": True}
        shared = None
        if request == "take":
            reply = self.take(fd)
        elif request == "share" and self.service is not None:
            shared = self.service.fileno()
        elif request == "release":
            self.release()
        elif request != "status":
            reply = {"ok": False, "why": "nothing to " + request}
        send_message(peer, json.dumps({**reply, "serving": self.is_serving}), shared)

    def take(self, fd: Optional[int]) -> Dict[str, Any]:
        """Accept from the service's socket: a given one, or the one held since the start."""
        if fd is not None:
            if self.service is not None:
                self.service.close()
            self.service = socket.socket(fileno=fd)
        if self.service is None:
            return {"ok": False, "why": "nothing to take"}
        try:
            # Not before: of two sockets that are bound with it and do not listen, neither excludes the other.
            self.service.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.service.listen(self.cfg.backlog)
        except OSError as error:
            return {"ok": False, "why": str(error), "errno": error.errno}
        self.is_serving = True
        self.tell_workers("take")
        return {"ok": True}

    def release(self) -> None:
        self.is_serving = False
        self.tell_workers("release")
        if self.service is not None:
            self.service.close()
            self.service = None

    def tell_workers(self, text: str) -> None:
        fd = self.service.fileno() if text == "take" and self.service else None
        for worker in list(self.WORKERS.values()):
            send_message(worker.master_end, text, fd)

    def murder_workers(self) -> None:
        super().murder_workers()
        trim_log()


def trim_log() -> None:
    """Keep the end of the log. It is opened for appending, so the workers go on writing at the new end."""
    if os.fstat(1).st_size <= LOG_LIMIT_BYTES:
        return
    try:
        with Path("log").open("rb+") as file:
            file.seek(-LOG_KEPT_BYTES, os.SEEK_END)
            kept = file.read().partition(b"\n")[2]
            file.seek(0)
            file.write(kept)
            file.truncate()
    except OSError:
        return


def equip_worker(master: Master, worker: Worker) -> None:
    """Before the fork: a worker that is born while the deployment serves inherits the service's socket."""
    if master.is_serving and master.service is not None:
        worker.service = master.service.dup()


def settle_worker(master: Master, _worker: Worker) -> None:
    """After the fork, in the worker: what belongs to the master and the siblings is closed here."""
    for sibling in master.WORKERS.values():
        sibling.master_end.close()
        sibling.worker_end.close()
    master.control.close()
    if master.service is not None:
        master.service.close()


def part_from_worker(_master: Master, worker: Worker) -> None:
    worker.master_end.close()
    worker.worker_end.close()


def mark_ready(_worker: Worker) -> None:
    write_json("run/ready", {"pid": os.getppid()})


class Application(BaseApplication):  # type: ignore[misc]
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        super().__init__()

    def load_config(self) -> None:
        settings = {
            "workers": self.options.workers,
            # The server itself ends a request that takes too long, with an answer; the master's limit stands behind it.
            "timeout": self.options.timeout + int(CLIENT_TIMEOUT_S) + 5,
            "graceful_timeout": self.options.timeout + 5,
            "accesslog": "-",
            "errorlog": os.devnull,  # azmlinfsrv's logging configuration has a handler of its own for it
            "pre_fork": equip_worker,
            "post_fork": settle_worker,
            "child_exit": part_from_worker,
            "post_worker_init": mark_ready,
            "control_socket_disable": True,
        }
        for name, value in settings.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Any:
        from gunicorn.util import import_app

        return import_app(APPLICATION)


def prepare_server() -> None:
    """What azmlinfsrv does before it starts gunicorn."""
    import azureml_inference_server_http as server
    from azureml_inference_server_http.constants import PACKAGE_ROOT
    from azureml_inference_server_http.log_config import load_logging_config

    load_logging_config(PACKAGE_ROOT, silent=True)
    os.environ.setdefault("HTTP_X_MS_SERVER_VERSION", "azmlinfsrv/" + server.__version__)
    os.environ.setdefault("AML_APP_INSIGHTS_ENABLED", "false")


def parse_options(arguments: List[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", required=True, help="the deployment's folder")
    parser.add_argument("--host", required=True)
    parser.add_argument("--own-fd", type=int, required=True, help="a bound socket: the deployment's own address")
    parser.add_argument(
        "--service-fd", type=int, help="a bound socket that is held until the deployment is told to take it"
    )
    parser.add_argument(
        "--lock-fd", type=int, help="the service's lock, which ours keeps locked until we are on record"
    )
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--timeout", type=int, default=60, help="seconds a request may take")
    return parser.parse_args(arguments)


def detach(options: argparse.Namespace) -> None:
    """Become a session of our own that is on record before it does anything; the caller reads our pid until end of file."""
    if os.fork():
        os._exit(0)
    os.setsid()
    os.umask(0o077)
    os.chdir(options.folder)
    with socket.socket(fileno=os.dup(options.own_fd)) as own:
        write_json("run/process.json", {**identity(), "port": own.getsockname()[1]})
    if options.lock_fd is not None:
        os.close(options.lock_fd)
    os.write(1, b"%d\n" % os.getpid())
    log = os.open("log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


def main() -> None:
    options = parse_options(sys.argv[1:])
    detach(options)
    master_pid = os.getpid()
    code: Any = 1
    try:
        prepare_server()
        Master(Application(options), options).run()
        code = 0
    except SystemExit as ending:
        code = 0 if ending.code is None else ending.code
        raise
    finally:
        if os.getpid() == master_pid:  # the workers, which are forks, end here too
            write_json("run/exit.json", {"code": code if isinstance(code, int) else 1})


if __name__ == "__main__":
    main()
