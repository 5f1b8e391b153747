use super::{CheckCx, Violations};
use crate::body::Object;
pub(crate) fn path(_: &str) -> Result<(), String> { Ok(()) }
pub(crate) fn header_name(_: &str) -> Result<(), String> { Ok(()) }
pub(crate) fn prepare(_: &mut Object, _: &mut Violations) {}
pub(crate) fn fits_protocols(_: &CheckCx<'_>, _: &Object, _: &mut Violations) {}
