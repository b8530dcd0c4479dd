//! The mount through its front door: the real program, a real server, real system calls. Scenarios of single operations
//! run on the file system alone as well (`surface`).

mod failing;
mod files;
mod harness;
mod hung;
mod life;
mod requests;
mod surface;
mod trash;
