//! Names of headers that the proxy reads or writes and that the `http` crate has no constants for.

use http::HeaderName;

macro_rules! names {
    ($($constant:ident = $name:literal;)*) => {
        $(pub(super) const $constant: HeaderName = HeaderName::from_static($name);)*
    };
}

names! {
    KEEP_ALIVE = "keep-alive";
    PROXY = "proxy";
    PROXY_CONNECTION = "proxy-connection";
    X_FORWARDED_FOR = "x-forwarded-for";
    X_FORWARDED_PROTO = "x-forwarded-proto";
    X_FORWARDED_HOST = "x-forwarded-host";
    X_FORWARDED_PORT = "x-forwarded-port";
    X_FORWARDED_PATH = "x-forwarded-path";
    X_FORWARDED_PREFIX = "x-forwarded-prefix";
    X_REAL_IP = "x-real-ip";
    X_KONG_REQUEST_ID = "x-kong-request-id";
    X_KONG_PROXY_LATENCY = "x-kong-proxy-latency";
    X_KONG_UPSTREAM_LATENCY = "x-kong-upstream-latency";
    X_KONG_RESPONSE_LATENCY = "x-kong-response-latency";
    X_KONG_UPSTREAM_STATUS = "x-kong-upstream-status";
    KONG_DEBUG = "kong-debug";
    KONG_ROUTE_ID = "kong-route-id";
    KONG_ROUTE_NAME = "kong-route-name";
    KONG_SERVICE_ID = "kong-service-id";
    KONG_SERVICE_NAME = "kong-service-name";
}
