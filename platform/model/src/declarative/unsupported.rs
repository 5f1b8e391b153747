//! The collections of Kong that this product does not have, so that a file that uses them is told so by name and not
//! that it has unknown fields.

/// Kong's name of a collection, or of the list of it below a parent, and why it is not to be had.
const COLLECTIONS: [(&str, &str); 22] = [
    ("acls", "acl groups are not supported"),
    ("acme_storage", "the acme plugin is not supported"),
    ("basicauth_credentials", "basic-auth credentials are not supported"),
    ("consumer_groups", "consumer groups are not supported"),
    ("custom_entities", "entities of Kong's enterprise plugins are not supported"),
    ("degraphql_routes", "entities of Kong's enterprise plugins are not supported"),
    ("filter_chains", "filter chains (WebAssembly) are not supported"),
    ("graphql_ratelimiting_advanced_cost_decoration", "entities of Kong's enterprise plugins are not supported"),
    ("groups", "consumer groups are not supported"),
    ("hmacauth_credentials", "hmac-auth credentials are not supported"),
    ("licenses", "licenses of Kong's enterprise edition are not supported"),
    ("mtls_auth_credentials", "mtls-auth credentials are not supported"),
    ("oauth2_authorization_codes", "oauth2 entities are not supported"),
    ("oauth2_credentials", "oauth2 entities are not supported"),
    ("oauth2_tokens", "oauth2 entities are not supported"),
    ("parameters", "parameters are not supported"),
    ("partials", "partials are not supported"),
    ("ratelimiting_metrics", "counters are not configuration"),
    ("rbac_roles", "roles of Kong's enterprise edition are not supported"),
    ("service_packages", "service packages of Konnect are not supported"),
    ("sessions", "sessions are not configuration"),
    ("vaults", "vaults are not supported"),
];

/// Why this collection of Kong's is not to be had, if it is one.
pub(super) fn reason(collection: &str) -> Option<&'static str> {
    COLLECTIONS.iter().find(|(name, _)| *name == collection).map(|(_, reason)| *reason)
}
