"""`ServeOptions`: everything that `trio-h2 serve` was told, checked."""

from __future__ import annotations

import json

import attrs

import trio_h2

__all__ = ["ServeOptions"]

TLS_PORT = 8443
CLEARTEXT_PORT = 8080
HOST = "127.0.0.1"

APP_ONLY = {
    "root_path": "its paths are those of its files",
    "factory": "there is nothing to call",
    "reload": "its files are read anew for every request",
    "max_requests": "there is nothing of an app's in its workers that could grow",
    "forwarded_allow_ips": "nothing in it asks who the client is",
}
"""The options that make no sense for a directory, and why."""

SUPERVISED = {
    "max_requests": "somebody has to replace the process that has served them",
    "max_requests_jitter": "somebody has to replace the process that has served them",
}
"""The options that need a parent process, and why."""


@attrs.frozen(kw_only=True)
class ServeOptions:
    """Everything that `serve` was told. Each field is the option of its name; docs/serving.md says what they do.

    Raises ValueError, naming the options, for those that do not go together.

    Attributes:
        target: a directory, or `module:app`.
        is_directory: which of them.
        host, port: None if nobody has said; see `listening_host` and `listening_port`.
        unix_mode: the socket file's permissions; None leaves them to the umask.
        certificate_pem: key and certificate made for `--self-signed`, in PEM, the same for all processes.
        forwarded_allow_ips, proxy_protocol: addresses and networks, separated by commas; empty for nobody.
        workers: None for one process without a parent.
        max_requests: of one worker; None for no end.
        metrics_port: None for no metrics.
        trace: the file that is to have a recording; None for none.
        grace: seconds.
    """

    target: str
    is_directory: bool = False

    host: str | None = None
    port: int | None = None
    unix: str | None = None
    unix_mode: int | None = None
    fd: int | None = None

    certfile: str | None = None
    keyfile: str | None = None
    self_signed: bool = False
    certificate_pem: str | None = attrs.field(default=None, repr=False)
    ca_certs: str | None = None

    root_path: str = ""
    factory: bool = False
    forwarded_allow_ips: str = ""
    proxy_protocol: str = ""

    workers: int | None = None
    reload: bool = False
    max_requests: int | None = None
    max_requests_jitter: int = 0
    pid_file: str | None = None
    metrics_host: str = HOST
    metrics_port: int | None = None

    access_log: bool = True
    log_format: str = "text"
    log_level: str = "info"
    trace: str | None = None

    max_connections: int = 1_000
    grace: float = 10.0
    config: trio_h2.Config = attrs.field(factory=trio_h2.Config)

    def __attrs_post_init__(self) -> None:
        self._check_address()
        self._check_tls()
        if self.is_directory:
            for name, why in APP_ONLY.items():
                if self._is_given(name):
                    raise ValueError(f"{_option(name)} makes no sense for a directory: {why}")
        if not self.is_supervised:
            for name, why in SUPERVISED.items():
                if self._is_given(name):
                    raise ValueError(f"{_option(name)} needs --workers: {why}")
        if self.trace is not None and self.is_supervised:
            raise ValueError("--trace records one process: it takes no --workers and no --reload")
        if self.reload and self.workers is not None:
            raise ValueError("--reload runs one process: it takes no --workers")
        if self.max_requests_jitter and self.max_requests is None:
            raise ValueError("--max-requests-jitter is added to --max-requests, which is not there")

    def _check_address(self) -> None:
        ways = [name for name in ("unix", "fd") if self._is_given(name)]
        if self.host is not None or self.port is not None:
            ways.insert(0, "host" if self.host is not None else "port")
        if len(ways) > 1:
            raise ValueError(f"{_option(ways[0])} and {_option(ways[1])} do not go together: each says where to listen")
        if self.unix_mode is not None and self.unix is None:
            raise ValueError("--unix-mode is of the file of --unix, which is not there")

    def _check_tls(self) -> None:
        if (self.certfile is None) != (self.keyfile is None):
            raise ValueError("--certfile and --keyfile go together")
        if self.self_signed and self.certfile is not None:
            raise ValueError("--self-signed makes a certificate: it takes no --certfile")
        if self.ca_certs is not None and not self.tls:
            raise ValueError("--ca-certs is for certificates of clients: it needs TLS, by --certfile or --self-signed")

    def _is_given(self, name: str) -> bool:
        return bool(getattr(self, name) != attrs.fields_dict(ServeOptions)[name].default)

    @property
    def tls(self) -> bool:
        """Whether connections are TLS."""
        return self.self_signed or self.certfile is not None

    @property
    def is_supervised(self) -> bool:
        """Whether a parent process starts the ones that serve."""
        return self.workers is not None or self.reload

    @property
    def names_address(self) -> bool:
        """Whether it says where to listen, so that it is not left to the default or to who started the process."""
        return any(each is not None for each in (self.host, self.port, self.unix, self.fd))

    @property
    def listening_host(self) -> str:
        """What `host` is, or its default."""
        return HOST if self.host is None else self.host

    @property
    def listening_port(self) -> int:
        """What `port` is, or its default."""
        if self.port is not None:
            return self.port
        return TLS_PORT if self.tls else CLEARTEXT_PORT

    def to_json(self) -> str:
        """As a text that `from_json` takes, for another process."""
        return json.dumps(attrs.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ServeOptions:
        """What `to_json` was called on."""
        values = json.loads(text)
        return cls(**values | {"config": trio_h2.Config(**values["config"])})


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
