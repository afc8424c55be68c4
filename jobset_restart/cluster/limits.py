"""How much is taken from a server, a file or a program before it counts as broken or hostile. Each with its reason.

A limit that is hit is an error that names the object; nothing is cut off silently. Bytes are bytes after inflation.
"""

from __future__ import annotations

KIB, MIB = 1024, 1024 * 1024

OBJECT_BYTES = 16 * MIB
"""One object. etcd takes requests of at most 1.5 MiB (--max-request-bytes), and the JSON of one is not ten times as
much."""

PAGE_BYTES = 64 * MIB
"""A page of a list, 500 objects. A Pod is about 10 KB."""

LIST_BYTES = 208 * MIB
"""A whole list; from the watch cache it comes in one piece. 20,000 Pods are 190 MB."""

AT_ONCE_BYTES = OBJECT_BYTES
"""Of answers that are larger, one is read at a time: memory holds one list, however many are asked for."""

ERROR_BYTES = 64 * KIB
"""The body of an error. A Status is 1 KB; a proxy's page of HTML is of no use."""

WATCH_LINE_BYTES = OBJECT_BYTES
"""One event of a watch: one object."""

MESSAGE_CHARACTERS = 2000
"""What is shown of a server's message. Validation of a large object may well say a thousand."""

PAGES = 2_000
"""Pages of one list. 1,000,000 objects; a continue token that never ends is a server's error."""

OBJECTS = 250_000
"""Objects of one list. Kubernetes is built for 150,000 Pods in a cluster."""

FRAME_BYTES = 1 * MIB
"""One WebSocket frame of an exec. The kubelet sends at most 32 KiB at once."""

EXEC_BYTES = 4 * MIB
"""The whole output of one exec. Ours print a line, or stacks."""

EXEC_KEPT_BYTES = 256 * KIB
"""What is kept of one channel of an exec. The stacks of ten processes with thirty threads each are 200 KB."""

KUBECONFIG_BYTES = 8 * MIB
"""One kubeconfig file. A thousand clusters with their certificates are 5 MB."""

KUBECONFIG_NODES = 200_000
"""YAML nodes of a kubeconfig once its aliases are followed. Aliases of aliases grow without end."""

CERTIFICATE_BYTES = 4 * MIB
"""A file of certificates or a key. All public authorities together are 250 KB."""

TOKEN_BYTES = 64 * KIB
"""A token. An API server's whole request header may be 1 MiB, most proxies' 8 to 64 KiB."""

PLUGIN_BYTES = 1 * MIB
"""What a credential plugin prints."""

RETRY_AFTER_SECONDS = 3600.0
"""The longest wait a server is granted; longer ones are taken as this."""

CLOCK_SECONDS = 366 * 86_400.0
"""How far the server's clock may be from this machine's. Drift and time zones are hours; years are an error."""
