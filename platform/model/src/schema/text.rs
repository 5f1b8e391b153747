use super::{Rule, Violations};
use crate::body::Object;
pub(crate) const PATH: &[Rule] = &[Rule::StartsWith("/"), Rule::NoEmptySegments];
macro_rules! any { ($($n:ident),*) => {$( pub(crate) fn $n(_: &str) -> Result<(), String> { Ok(()) } )*} }
any!(name, tag, host, route_host, sni, wildcard_host, header_name, cookie_name, ip_or_cidr, target, upstream_name, host_with_optional_port);
pub(crate) fn normalize_target(_: &mut Object, _: &mut Violations) {}
