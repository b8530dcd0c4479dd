//! The mount through its front door: the real program, a real server, real system calls. Scenarios of single operations
//! run on the file system alone as well (`surface`).

mod attributes;
mod background;
mod directory;
mod disk;
mod failing;
mod files;
mod harness;
mod hung;
mod killed;
mod life;
mod names;
mod refresh;
mod rename;
mod requests;
mod saving;
mod streaming;
mod surface;
mod trash;
mod unlink;
mod unreadable;
mod views;
mod whole;
mod workspace;
