"""Interceptors for gRPC servers and clients, with threads and with asyncio. They need the extra ``grpc``."""

try:
    import grpc as _grpc  # noqa: F401 - only to say what is missing
except ImportError as error:  # pragma: no cover - the tests have it
    raise ImportError("gRPC's interceptors need grpcio: pip install 'otel-prom-bridge[grpc]'") from error

from otel_prom_bridge.instrument.grpc.aio_client import aio_client_interceptors
from otel_prom_bridge.instrument.grpc.aio_server import AioServerInterceptor
from otel_prom_bridge.instrument.grpc.client import ClientInterceptor
from otel_prom_bridge.instrument.grpc.server import ServerInterceptor
from otel_prom_bridge.instrument.rpc import RpcCall, RpcMetrics

__all__ = [
    "ServerInterceptor",
    "AioServerInterceptor",
    "ClientInterceptor",
    "aio_client_interceptors",
    "RpcMetrics",
    "RpcCall",
]
