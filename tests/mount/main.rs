//! The mount through its front door: the real program, a real server, real system calls.

mod harness;
mod hung;
mod requests;
