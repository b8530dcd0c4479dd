//! The mount through its front door: the real program, a real server, real system calls. Scenarios of single operations
//! run on the file system alone as well (`surface`).

mod background;
mod failing;
mod files;
mod harness;
mod hung;
mod life;
mod requests;
mod streaming;
mod surface;
mod trash;
mod workspace;
