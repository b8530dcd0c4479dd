//! The mount through its front door: the real program, a real server, real system calls.

mod failing;
mod harness;
mod hung;
mod life;
mod requests;
mod trash;
