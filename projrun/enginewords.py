"""What container engines say when they refuse, what that means for the user, and what to do."""

from __future__ import annotations

from collections.abc import Sequence

REFUSALS: Sequence[tuple[str, str, str]] = (
    (
        r"permission denied.*(socket|connect)",
        "this user may not use the container engine at {address}",
        "add yourself to the group docker (`sudo usermod -aG docker $USER`) and log in again, "
        "or set DOCKER_HOST to an engine of your own",
    ),
    (
        r"invalid bind address|unable to parse docker host|error during connect.*lookup|failed to resolve",
        "DOCKER_HOST={address} leads to no container engine",
        "write it as unix:///PATH, tcp://HOST:PORT or ssh://USER@HOST",
    ),
    (
        r"https?://\S+/v2/\S*: (dial|net/http|EOF|read|context deadline|x509|tls|remote error|http: server)"
        r"|lookup .* on|TLS handshake|request canceled|x509|server misbehaving",
        "the registry cannot be reached: {said}",
        "check the network and the engine's proxy settings, or `docker load` the image beforehand",
    ),
    (
        r"dial tcp|i/o timeout|cannot connect|connection refused"
        r"|no such file or directory.*sock|docker daemon running|error during connect|connection reset",
        "no container engine answers at {address}",
        "start it (`sudo systemctl start docker`), or set DOCKER_HOST to one that runs",
    ),
    (
        r"no space left|disk quota",
        "the container engine's disk is full",
        "free some space (`projrun env prune`, `docker system df`), then run it again",
    ),
    (
        r"unauthorized|authentication required|denied: requested access|no basic auth|access.*is denied"
        r"|incorrect username or password|pull access denied|login attempt",
        "the registry refuses: {said}",
        "check the image's name, and log in with `docker login REGISTRY` (or docker_auth)",
    ),
    (
        r"no matching manifest|exec format error|does not match the (specified|detected) (host )?platform"
        r"|image operating system",
        "the image is not made for this machine: {said}",
        "use an image for this architecture, or install emulation and `docker pull --platform …` it",
    ),
    (
        r"manifest unknown|manifest for .* not found|no such image|not found: manifest"
        r"|repository .* not found|name unknown|does not exist or may require|invalid reference format",
        "there is no such image: {said}",
        "check its name and tag (docker_env in MLproject, --docker-image, PROJRUN_DOCKER_BASE_IMAGE)",
    ),
    (
        r"container-init binary not found",
        "Podman has no init program for containers",
        "install it (Debian and Ubuntu: apt install catatonit)",
    ),
    (
        r"unable to upgrade to tcp",
        "Podman could not start the container, and does not say why ({said})",
        "without root it may be its network: -A network=host does without, slirp4netns makes one",
    ),
    (
        r"could not select device driver|nvidia-container|gpu",
        "the container engine has no such GPU: {said}",
        "install the NVIDIA container toolkit, or leave -A gpus=… out",
    ),
)
"""Pattern, message and hint; the first found counts. {address}: of the engine, {said}: its own words."""
OTHERWISE = "see what docker_env and -A ask of it; the engine's own log may tell more"
