//! The mount through its front door: the real program, a real server, real system calls. Scenarios of single operations
//! run on the file system alone as well (`surface`).

mod attributes;
mod background;
mod breaker;
mod campaign;
mod copies;
mod directory;
mod dropping;
mod ending;
mod failing;
mod files;
mod harness;
mod hung;
mod keep_limit;
mod killed;
mod life;
mod names;
mod provisional;
mod quota;
mod refresh;
mod rename;
mod requests;
mod saving;
mod sealing;
mod space;
mod streaming;
mod surface;
mod trash;
mod unfinished;
mod unlink;
mod unreadable;
mod versions;
mod views;
mod whole;
mod workspace;
mod write_back;
