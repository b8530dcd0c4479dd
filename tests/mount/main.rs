//! The mount through its front door: the real program, a real server, real system calls.

mod background;
mod failing;
mod harness;
mod hung;
mod life;
mod requests;
mod streaming;
mod trash;
mod workspace;
