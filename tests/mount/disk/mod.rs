//! The local disk when it is full, when it fails, and when the process or the power goes in the middle of something.
//!
//! These run on the file system in this process, over a watched disk (`watch`) and a real emulator: `scenario` is what is
//! done, and the model it is compared with.

mod copying;
pub(crate) mod crash;
mod faults;
mod full;
mod image;
mod noting;
pub(crate) mod scenario;
pub(crate) mod watch;
