use super::Violations;
use crate::body::Object;
pub(crate) fn expand(_: &mut Object, _: &mut Violations) {}
