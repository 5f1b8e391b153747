use super::Violations;
use crate::body::Object;
pub(crate) fn certificate(_: &str) -> Result<(), String> { Ok(()) }
pub(crate) fn private_key(_: &str) -> Result<(), String> { Ok(()) }
pub(crate) fn count_certificates(_: &str) -> usize { 1 }
pub(crate) fn fill_digest(_: &mut Object, _: &mut Violations) {}
