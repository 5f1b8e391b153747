//! x
pub mod router;
