//! The mount through its front door: the real program, a real server, real system calls. Scenarios of single operations
//! run on the file system alone as well (`surface`).

mod attributes;
mod directory;
mod files;
mod harness;
mod names;
mod refresh;
mod rename;
mod requests;
mod saving;
mod surface;
mod unlink;
mod unreadable;
mod views;
mod whole;
